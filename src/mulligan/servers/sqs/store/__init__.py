"""Where queues and messages are kept: one protocol, in memory or in SQLite."""
