"""`make soak BROKER=sqlite|sqs|rabbitmq MINUTES=30 [SEED=k]`: rounds of faults on real processes."""

import argparse
import random
import shutil
import signal
import sys
import tempfile
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

from tests.acceptance.conftest import App, System
from tests.soak.broker import SqliteBroker, running
from tests.soak.page import summary, write_page
from tests.soak.plan import BROKER_FAULTS, Plan, plan
from tests.soak.round import Outcome, carry_out
from tests.soak.steady import Steady, slopes

MESSAGES = 4_000
KILLS = 40


def main() -> int:
    """0: the promise was kept. 1: not; the folder of each such round is kept, and how to repeat it is printed."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # whatever was started is ended with us
    given = _arguments()
    seed = given.seed if given.seed is not None else random.SystemRandom().randrange(2**31)
    began, began_at = datetime.now(UTC), time.monotonic()
    root = Path(tempfile.mkdtemp(prefix=f"mulligan-soak-{given.broker}-"))
    print(f"seed {seed}, {given.minutes:g} minutes on {given.broker}, in {root}", flush=True)
    rounds: list[Outcome] = []
    systems: list[System] = []
    with ExitStack() as stack:
        stack.callback(lambda: [one.end() for one in systems])
        broker = stack.enter_context(running(given.broker))
        steady = None
        if given.one is None:
            calm = stack.enter_context(running(given.broker))
            app = App(root / "steady", systems).lay_out()
            calm.point(app)
            steady = Steady(app)
            steady.start()
        while True:
            number = seed + len(rounds) if given.one is None else given.one
            rounds.append(_round(root, broker, plan(number, given.broker, given.messages, given.kills), systems))
            if given.one is not None or time.monotonic() - began_at >= 60 * given.minutes:
                break
        if steady is not None:
            steady.end()
    growth = slopes(steady.samples) if steady is not None else []
    figures = summary(
        given.broker, began.strftime("%Y-%m-%d %H:%M UTC"), seed, time.monotonic() - began_at, rounds, growth
    )
    for name, item in figures.items():
        print(f"{name}: {item}")
    if given.keep:
        write_page(figures)
    if figures["violations"]:
        return 1
    shutil.rmtree(root, ignore_errors=True)
    return 0


def _round(root: Path, broker: SqliteBroker, chosen: Plan, systems: list[System]) -> Outcome:
    folder = root / f"round-{chosen.seed}"
    app = App(folder, systems).lay_out()
    try:
        outcome = carry_out(app, broker, chosen)
    except BaseException:
        print(f"round {chosen.seed} ({', '.join(chosen.faults)}) did not end as it must; see {folder}", flush=True)
        raise
    finally:
        while systems and systems[-1].stderr.parent == folder:
            systems.pop().end()
    print(
        f"round {outcome.seed}: {outcome.took_s:.0f} s, {outcome.kills} kills, {outcome.repeated} repeated, "
        f"faults: {', '.join(outcome.faults) or 'none'}"
        + (f"; WRONG: {outcome.violations}" if outcome.violations else ""),
        flush=True,
    )
    if outcome.violations:
        print(
            f"  its folder is kept: {folder}; again: make soak ARGS='--one {chosen.seed}' and its BROKER=", flush=True
        )
    else:
        shutil.rmtree(folder, ignore_errors=True)
    return outcome


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__)
    parser.add_argument("--broker", choices=sorted(BROKER_FAULTS), default="sqlite")
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--seed", type=int, help="of the first round; printed, and by chance, without it")
    parser.add_argument("--one", type=int, metavar="SEED", help="the round of this seed only")
    parser.add_argument("--messages", type=int, default=MESSAGES, help="a round")
    parser.add_argument("--kills", type=int, default=KILLS, help="of workers in a round that is not calm")
    parser.add_argument("--keep", action="store_true", help="write docs/soak.md anew with this run")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
