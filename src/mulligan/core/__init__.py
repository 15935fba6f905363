"""The decisions: pure functions over values. No clock, random, file, socket, log or event loop is used here.

Read in the order of a message's life: `message`, `delivery`, `fingerprint`, `route`, `progress`, `admission`, `step`,
`flow`, `queue_role`, `decision`, `lifecycle`, `retry_state`.
"""
