"""The shell around the core: the only place with an event loop, processes and threads of its own.

A message's way through a worker process: `poller` -> `consumer` -> `runner` -> `recorder` -> `settler`. `process` puts
them together and takes them down; `supervisor` starts processes, and `keeper` keeps their leases from outside.
"""
