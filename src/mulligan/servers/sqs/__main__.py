"""`python -m mulligan.servers.sqs`: the server as a program."""

import argparse
import sys
from pathlib import Path

from mulligan.core.error import ConfigurationError, StorageBroken


def main() -> int:
    """Run the server; returns 2 for a usage or configuration error."""
    parser = argparse.ArgumentParser(
        prog="python -m mulligan.servers.sqs",
        description="An SQS-compatible server on the embedded queue, or in memory.",
        epilog="Example: python -m mulligan.servers.sqs --port 9324 --db sqlite:///var/mulligan.db",
    )
    parser.add_argument("--port", type=int, default=9324, help="0 for any free one (default: %(default)s)")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--db", help="URL of the embedded queue; without it messages are in memory")
    parser.add_argument("--fault-script", type=Path, help="JSON file with faults to inject")
    parser.add_argument("--control", action="store_true", help="let HTTP requests change the faults: /_mulligan/faults")
    parser.add_argument(
        "--keys", type=Path, help='JSON file: [{"id": ..., "secret": ..., "actions": [...] or "policy": {...}}]'
    )
    parser.add_argument("--allow-remote", action="store_true", help="listen on an address that other hosts can reach")
    parser.add_argument(
        "--lenient", action="store_true", help="let a queue be created again, and purged again, within 60 s"
    )
    parser.add_argument(
        "--also-host", action="append", default=[], metavar="NAME", help="another name that a Host header may have"
    )
    parser.add_argument("--no-verify", action="store_true", help="accept unsigned requests (benchmarks)")
    given = parser.parse_args()
    try:
        # imported here, so that a missing extra is reported like any other mistake
        from mulligan.servers.sqs.auth.key import read
        from mulligan.servers.sqs.server import run_server

        return run_server(
            port=given.port,
            host=given.host,
            db=given.db,
            fault_script=given.fault_script,
            keys=read(given.keys) if given.keys else None,
            allows_remote=given.allow_remote,
            verifies=not given.no_verify,
            has_control=given.control,
            is_lenient=given.lenient,
            also_hosts=given.also_host,
        )
    except ConfigurationError as error:
        for problem in error.problems:
            sys.stderr.write(problem + "\n")
        return 2
    except StorageBroken as error:
        sys.stderr.write(f"{error}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main())
