"""`make simulate SEEDS=n [SEED=k]`: run histories, print what was wrong, or the story of one seed."""

import argparse
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from tests.simulation.history import Result, run

_SHOWN = 40


def main() -> int:
    """0: nothing was wrong. 1: something was; the first violations and how to see their stories are printed."""
    parser = argparse.ArgumentParser(prog="make simulate", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000, help="how many histories")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--seed", type=int, help="one seed only, and its story")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--until-failure", action="store_true", help="stop at the first violation")
    parser.add_argument("--digest", action="store_true", help="print what a repetition must print, too")
    given = parser.parse_args()
    if given.seed is not None:
        return _one(given.seed)
    return _many(range(given.first, given.first + given.seeds), given)


def _one(seed: int) -> int:
    result = run(seed, is_telling=True)
    print("\n".join(result.story))
    for violation in result.violations:
        print(f"seed {seed}: {violation}")
    return 1 if result.violations else 0


def _many(seeds: range, given: argparse.Namespace) -> int:
    began, messages, wrong, seen = time.monotonic(), 0, 0, 0
    try:
        for result in _results(seeds, given.processes):
            seen += 1
            messages += result.messages
            if given.digest:
                print(result.seed, result.digest)
            if result.violations:
                wrong += 1
                if wrong <= _SHOWN:
                    _tell(result)
                if given.until_failure:
                    break
    finally:
        took_s = time.monotonic() - began
    print(
        f"{seen} seeds, {messages} histories of messages, {wrong} seeds with violations, "
        f"{took_s:.0f} s, {seen / max(took_s, 0.001):.1f} seeds/s",
        file=sys.stderr,
    )
    return 1 if wrong else 0


def _results(seeds: range, processes: int):  # type: ignore[no-untyped-def]
    if processes == 1:
        yield from map(run, seeds)
        return
    with ProcessPoolExecutor(processes, mp_context=get_context("fork")) as pool:
        try:
            yield from pool.map(run, seeds, chunksize=8)
        finally:
            pool.shutdown(cancel_futures=True)


def _tell(result: Result) -> None:
    for violation in result.violations[:3]:
        print(f"seed {result.seed}: {violation}")
    print(f"  its story: make simulate SEED={result.seed}")


if __name__ == "__main__":
    sys.exit(main())
