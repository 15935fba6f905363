"""The pipeline of one queue in a worker: receive, claim, decide, run, record, settle."""
