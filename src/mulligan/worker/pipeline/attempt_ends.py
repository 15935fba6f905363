"""Attempts under way, and those that have just ended: the recorder gets them many at a time."""

import asyncio
import contextvars
import sys

from mulligan.core.outcome import Outcome
from mulligan.worker.pipeline.attempt import Attempt
from mulligan.worker.pipeline.recorder import Recorder

__all__ = ["AttemptEnds"]


class AttemptEnds:
    """Takes each end once. context: the recorder is called in a copy of it, because what an attempt bound is none of
    the business of what runs next.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, context: contextvars.Context, recorder: Recorder) -> None:
        self._loop = loop
        self._context = context
        self._recorder = recorder
        self._recursion_limit = sys.getrecursionlimit()
        self._outcomes: list[tuple[Attempt, Outcome]] = []
        self.running: dict[Attempt, None] = {}
        """Attempts under way, in the order of their starts, so that a simulation can be repeated."""

    def add(self, attempt: Attempt, outcome: Outcome) -> None:
        """An attempt has ended, unless it had before."""
        if attempt.has_ended:
            return
        attempt.has_ended = True
        self.running.pop(attempt, None)
        if not self._outcomes:
            self._loop.call_soon(self._hand_over, context=self._context.copy())
        self._outcomes.append((attempt, outcome))

    def _hand_over(self) -> None:
        if sys.getrecursionlimit() < self._recursion_limit:  # set by a task; all others and we run on it, too
            sys.setrecursionlimit(self._recursion_limit)
        outcomes, self._outcomes = self._outcomes, []
        self._recorder.ended(outcomes)
