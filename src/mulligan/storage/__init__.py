"""Files that must not lie: one SQLite file with a single writer and group commit, for queue and ledger alike.

`file` looks at a path before it is opened, `fault` says what an error of SQLite means, `sqlite` owns the connection.
"""
