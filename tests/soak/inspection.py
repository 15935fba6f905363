"""What has to be true of a system besides its effects: of its workers, its suspects, and what it leaves behind."""

import re
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress

from tests.acceptance.harness.app import App, System, until
from tests.acceptance.harness.family import Relative, end_all, family, workers

__all__ = ["LIFE", "going_round", "left_behind", "missing_workers", "suspect_turns"]

LIFE = "SOAK_LIFE"
"""The variable that tells under which supervisor a process was started, by whomever; one that has no environment has
`life-N` in its command.
"""
MISSING_S = 90.0
"""A worker that has to be replaced is there by then: 30 s is the longest pause, and as many may be needed to drain."""
SUSPECT_S = 240.0
"""When all has been sent and the disturbances are over, each suspect has ended by then: done, or dead."""
STAYED = "could not end what its tasks had started: "
LEFT_S = 3.0
"""What is killed needs a moment to be gone."""


def missing_workers(system: System, count: int, within_s: float = MISSING_S) -> list[str]:
    """What is said when the system does not come to have so many living workers in time; [] when it does."""
    with suppress(AssertionError):
        until(lambda: len(workers(system)) == count, "no worker is missing", timeout_s=within_s)
        return []
    return [f"{count - len(workers(system))} of {count}; alive: {sorted(workers(system).items())}; {system.stderr}"]


def suspect_turns(log: str) -> Counter[str]:
    """How often each suspect, by uid, was taken up to be run alone."""
    return Counter(re.findall(r" (\S+) was in flight at \d+ deaths? of a worker", log))


def going_round(
    turns: Callable[[], Counter[str]], unended: Callable[[Iterable[str]], list[str]], within_s: float = SUSPECT_S
) -> list[str]:
    """What is said of each suspect that has not ended in time, neither done nor dead.

    turns: as `suspect_turns` gives it by now. unended: those of some uids that have not ended.
    """
    with suppress(AssertionError):
        until(lambda: not unended(turns()), "every suspect has ended", timeout_s=within_s)
        return []
    last = turns()
    return [f"{uid} was taken up {last[uid]} times and has not ended" for uid in unended(last)]


def left_behind(app: App, life: str, system: System, within_s: float = LEFT_S) -> tuple[list[str], int]:
    """What outlives a supervisor that ended in order, and how many more do that its log says it could not end.

    All of them are ended here.

    The program says: what a dead worker's tasks leave behind is ended with it, or, where that can't be, named. So what
    is named is exempt. What a killed supervisor leaves behind is not to be asked for: nobody was there to do it.
    """

    def left() -> list[Relative]:
        return [one for one in family(app) if one.environment.get(LIFE) == life or f"life-{life} " in one.command]

    with suppress(AssertionError):
        until(lambda: not left(), "nothing is left", timeout_s=within_s)
    found = left()
    named = set(re.findall(r"\((\d+)\)", " ".join(re.findall(f"{STAYED}.*", system.log()))))
    unnamed = [one for one in found if str(one.pid) not in named]
    end_all(left)
    return [f"{one.command.strip()} (pid {one.pid}), {system.stderr}" for one in unnamed], len(found) - len(unnamed)
