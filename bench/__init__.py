"""Speed and memory of mulligan, as ratios against other programs in the same run.

`make bench` runs all and prints a table; `make bench ARGS="embedded core"` runs some. The machines that this runs on
are shared and noisy, so absolute figures say little: read the ratios.
"""
