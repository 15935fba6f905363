"""`python -m mulligan`, and the command `mulligan`: the command line."""

import sys

__all__ = ["start"]


def start() -> int:
    """Run the command line; the exit code. Ctrl-C while its modules are imported is not a traceback."""
    try:
        from mulligan.cli.app import main
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return main(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(start())
