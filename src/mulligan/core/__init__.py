"""The decisions: pure functions over values. No clock, random, file, socket, log or event loop is used here.

Read in the order of a message's life: `message`, `delivery`, `fingerprint`, `route`, `progress`, `step`, `flow`,
`retry_state`.
"""
