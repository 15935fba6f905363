"""The embedded queue: three queues in one SQLite file, for any number of processes of one host.

`broker` is the seam's side, `store` the statements, `bell` wakes waiting processes, `attribute` makes a text of
attributes.
"""

from mulligan.brokers.sqlite.broker import SqliteBroker

__all__ = ["SqliteBroker"]
