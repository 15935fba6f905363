"""An SQS-compatible server: a front for the embedded queue in development, and the double that our tests run against.

It is strict: what Amazon SQS refuses is refused here, with the same codes and, where they are known, the same words. A
request goes one way:

    http       bytes to whole requests and back, bounded in size and time
    front      who asks (signature), may they (rights), what goes wrong on purpose (fault), counters
    waiting    long polls, and the move tasks' pace
    backend    one action at a time: `MemoryBackend` at once, `embedded` in a transaction of the queue's database
    engine     the action's rules: sending, receiving, settling, directory, move; no socket, loop or clock
    store      where messages lie: `memory`, or `table` beside the main job's own tables

`server.serve` starts one in the running loop, `server.run_server` as a program.
"""
