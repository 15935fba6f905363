"""`make simulate SEEDS=n [SEED=k]`: run histories, print what was wrong, or the story of one seed."""

import argparse
import contextlib
import os
import signal
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from tests.simulation.history import Result, run

_SHOWN = 40
_TOLD_EVERY_S = 60.0


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
    began = told_at = time.monotonic()
    messages = wrong = seen = 0
    with contextlib.suppress(KeyboardInterrupt):  # Ctrl-C: what was seen until then
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
            if time.monotonic() - told_at > _TOLD_EVERY_S:
                told_at = time.monotonic()
                _sum_up(seen, messages, wrong, began)
    _sum_up(seen, messages, wrong, began)
    return 1 if wrong or seen < len(seeds) else 0


def _sum_up(seen: int, messages: int, wrong: int, began: float) -> None:
    took_s = time.monotonic() - began
    print(
        f"{seen} seeds, {messages} histories of messages, {wrong} seeds with violations, "
        f"{took_s:.0f} s, {seen / max(took_s, 0.001):.1f} seeds/s",
        file=sys.stderr,
        flush=True,
    )


def _results(seeds: range, processes: int):  # type: ignore[no-untyped-def]
    if processes == 1:
        yield from map(run, seeds)
        return
    with ProcessPoolExecutor(processes, get_context("fork"), signal.signal, (signal.SIGINT, signal.SIG_IGN)) as pool:
        try:
            yield from pool.map(run, seeds, chunksize=8)
        finally:
            pool.shutdown(cancel_futures=True)


def _tell(result: Result) -> None:
    for violation in result.violations[:3]:
        print(f"seed {result.seed}: {violation}", flush=True)
    print(f"  its story: make simulate SEED={result.seed}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
