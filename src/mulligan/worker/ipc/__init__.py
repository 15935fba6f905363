"""What the supervisor and its child processes share: messages, the lease table, how a child ends."""
