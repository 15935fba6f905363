"""`python -m mulligan`: the command line."""

import sys

from mulligan.cli.app import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
