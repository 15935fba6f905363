"""`make soak BROKER=sqlite|sqs|rabbitmq MINUTES=30 [SEED=k]`: rounds of faults on real processes."""

import argparse
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

from tests.acceptance.harness.app import REPOSITORY, App, System
from tests.soak.broker import SqliteBroker, running
from tests.soak.ledger import FileLedger
from tests.soak.ledger import running as running_ledgers
from tests.soak.page import summary, write_page
from tests.soak.plan import BROKER_FAULTS, LEDGERS, Plan, plan
from tests.soak.round import Outcome, carry_out
from tests.soak.steady import Steady, growing, slopes

MESSAGES = 3_500
KILLS = 60
HANGS = 3
"""Rounds that hang: after so many no more are begun."""
IN_TIME = "when its time was over"


def main() -> int:
    """0: the promise was kept. 1: not; the folder of each such round is kept, and how to repeat it is printed."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # whatever was started is ended with us
    given = _arguments()
    seed = given.seed if given.seed is not None else random.SystemRandom().randrange(2**31)
    commit, began, began_at = _commit(), datetime.now(UTC), time.monotonic()
    root = Path(tempfile.mkdtemp(prefix=f"mulligan-soak-{given.broker}-"))
    print(f"seed {seed}, {given.minutes:g} minutes on {given.broker}, in {root}", flush=True)
    rounds: list[Outcome] = []
    systems: list[System] = []
    with ExitStack() as stack:
        stack.callback(lambda: _end_all(systems))
        broker = stack.enter_context(running(given.broker))
        ledgers = stack.enter_context(running_ledgers(set(LEDGERS[given.broker])))
        steady = None if given.one is not None else _begin_steady(stack, given.broker, App(root / "steady", systems))
        ended = _carry_out(given, seed, rounds, lambda chosen: _round(root, broker, ledgers, chosen, systems))
        wrong = steady.end() if steady is not None else []
        growth = slopes(steady.samples) if steady is not None else []
        figures = summary(
            given.broker, commit, began.strftime("%Y-%m-%d %H:%M UTC"), seed, time.monotonic() - began_at, ended,
            rounds, growth, [*wrong, *growing(growth)],
        )  # fmt: skip
        for name, item in figures.items():
            print(f"{name}: {item}", flush=True)
        if given.keep:
            write_page(figures)
    if figures["violations"] or ended != IN_TIME:
        return 1
    shutil.rmtree(root, ignore_errors=True)
    return 0


def _commit() -> str:
    """What is checked out, with a + when something was changed."""
    told = subprocess.run(
        ["git", "describe", "--always", "--dirty=+", "--exclude=*"],
        check=False, cwd=REPOSITORY, capture_output=True, text=True,
    )  # fmt: skip
    return told.stdout.strip() or "unknown"


def _begin_steady(stack: ExitStack, broker: str, app: App) -> Steady:
    stack.enter_context(running(broker)).point(app.lay_out())
    steady = Steady(app)
    steady.start()
    return steady


def _carry_out(
    given: argparse.Namespace, seed: int, rounds: list[Outcome], carry_out_one: Callable[[Plan], Outcome]
) -> str:
    """Rounds, until the time is over; how it ended. What there is by then is kept, however it ends."""
    until = time.monotonic() + 60 * given.minutes
    try:
        while True:
            number = seed + len(rounds) if given.one is None else given.one
            rounds.append(carry_out_one(plan(number, given.broker, given.messages, given.kills)))
            if given.one is not None or time.monotonic() >= until:
                return IN_TIME
            if sum("did not end" in one.violations for one in rounds) == HANGS:
                return f"after {HANGS} rounds that hung"
    except (KeyboardInterrupt, SystemExit):
        return "it was told to, in the middle of a round"


def _round(
    root: Path, broker: SqliteBroker, ledgers: Mapping[str, FileLedger], chosen: Plan, systems: list[System]
) -> Outcome:
    folder = root / f"round-{chosen.seed}"
    app = App(folder, systems).lay_out()
    try:
        outcome = carry_out(app, broker, ledgers[chosen.ledger], chosen)
    finally:
        _end_all(systems, folder)
    print(
        f"round {outcome.seed}: {outcome.took_s:.0f} s, {outcome.kills} kills, {outcome.repeated} repeated, "
        f"ledger: {outcome.ledger}, faults: {', '.join(outcome.faults) or 'none'}"
        + (f", wild tasks, at import: {outcome.wild}" if outcome.wild else "")
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


def _end_all(systems: list[System], folder: Path | None = None) -> None:
    """End what was started, in one folder or in all."""
    for one in [one for one in systems if folder in (None, one.stderr.parent)]:
        one.end()
        systems.remove(one)


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
