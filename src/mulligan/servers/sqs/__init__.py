"""An SQS-compatible server: for development in front of the embedded queue, and the server that the tests run against.

It is strict: it refuses what Amazon SQS refuses, with the same codes and, where they are known, the same texts. A
request goes one way:

    wire/http           bytes to whole requests and back, bounded in size and time
    handler             who asks (`auth/`), and is it an action; `faults/` wraps the handling of actions
    long_poll           receives that wait, and the pace of move tasks
    dispatch, embedded  one action at a time: directly in memory, or in a transaction of the embedded queue's database
    actions/            the rules of the actions: send, receive, settle, queues, move; no socket, loop or clock
    store/              where messages are: in memory, or beside the main job's own tables

`server.serve` starts a server in the running loop, `server.run_server` as a program.
"""
