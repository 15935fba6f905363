"""The command line: `mulligan run | send | status | peek | dead | check | settings | init`.

`app` declares the commands and nothing else; what they do is in a module each. Data goes to stdout, talk to stderr;
every error ends in `ending`, the one place that knows exit codes. Brokers, ledgers and tasks are met by their seams.
"""
