"""The shell around the core: the event loop, the processes and the threads in which tasks run.

A message's way through a worker process: `poller` -> `consumer` -> `runner` -> `recorder` -> `settler`. `process` puts
them together and takes them down; `supervisor` starts processes, and `keeper` keeps their leases from outside.
"""
