"""The shell around the core: the event loop, the processes and the threads in which tasks run.

pipeline/    a message's way through a worker: poller -> intake -> dispatcher -> runner -> recorder -> settler
process/     the worker process, which puts the pipelines of its queues together and takes them down
isolation/   tasks of crash suspects, each alone in a process
supervisor/  starts the workers and extends their leases from outside
ipc/         what these processes say to each other, and the lease table that they share
"""
