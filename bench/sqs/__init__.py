"""mulligan on SQS, against every other consumer that there is, on a server that costs next to nothing.

`make bench ARGS=sqs` runs all, `make bench ARGS="sqs.drain sqs.idle"` some. What is measured, and how: bench/README.md.
"""
