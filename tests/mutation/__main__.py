"""`python -m tests.mutation [NAME ...]`: apply mutations, all or those named, and print what notices each.

`--table` prints them as docs/simulation.md lists them.
"""

import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.mutation.mutation import Mutation, MutationError, load, noticed, table


def main() -> int:
    """0: each was noticed."""
    if sys.argv[1:] == ["--table"]:
        print(table(load()))
        return 0
    chosen = [one for one in load() if not sys.argv[1:] or one.name in sys.argv[1:]]
    with ThreadPoolExecutor(2) as pool:
        return max(pool.map(_tell, chosen), default=2)


def _tell(mutation: Mutation) -> int:
    began = time.monotonic()
    try:
        with tempfile.TemporaryDirectory() as folder:
            found = noticed(mutation, Path(folder))
    except MutationError as exc:
        found, told = None, str(exc)
    else:
        told = f"{found.by}: {found.how}" if found else "NOTHING NOTICES IT"
    print(f"{mutation.name} ({time.monotonic() - began:.1f} s): {told}", flush=True)
    return 0 if found else 1


if __name__ == "__main__":
    sys.exit(main())
