"""`python -m tests.mutation [NAME ...]`: apply mutations, all or those named, and print what notices each.

`--renew` also writes the seed that noticed into the files of those whose known seeds do not any more: each of them
costs a run of the tests minutes. `--table` prints all as docs/simulation.md lists them.
"""

import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from tests.mutation.mutation import Mutation, MutationError, load, noticed, renew, table


def main() -> int:
    """0: each was noticed."""
    if sys.argv[1:] == ["--table"]:
        print(table(load()))
        return 0
    is_renewing = "--renew" in sys.argv[1:]
    names = [name for name in sys.argv[1:] if name != "--renew"]
    chosen = [one for one in load() if not names or one.name in names]
    with ThreadPoolExecutor(2) as pool:
        return max(pool.map(partial(_tell, is_renewing=is_renewing), chosen), default=2)


def _tell(mutation: Mutation, *, is_renewing: bool) -> int:
    began = time.monotonic()
    try:
        with tempfile.TemporaryDirectory() as folder:
            found = noticed(mutation, Path(folder))
    except MutationError as exc:
        found, told = None, str(exc)
    else:
        told = f"{found.by}: {found.how}" if found else "NOTHING NOTICES IT"
    if is_renewing and found and found.seed not in {None, *mutation.seeds}:
        renew(mutation.name, found.seed)
        told += f"; its seeds were {mutation.seeds}"
    print(f"{mutation.name} ({time.monotonic() - began:.1f} s): {told}", flush=True)
    return 0 if found else 1


if __name__ == "__main__":
    sys.exit(main())
