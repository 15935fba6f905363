"""What happened, reported: `hub` hands every event to the listeners; `log` is the listener that writes the log.

Nothing here can change what happens to a message: a listener that raises, a full disk or a closed terminal is counted
and passed over. A log line goes `sentence` (words) -> `line` (layout) -> `sink` (stderr, file).
"""
