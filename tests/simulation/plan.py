"""What each task does with each message: drawn by seed, message, task and generation, so that a repeat repeats it."""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from mulligan.core.message import Message, TaskName
from mulligan.core.policy import Backoff, Policy
from mulligan.tasks.exceptions import GiveUp, Retry, Skip
from mulligan.tasks.registry import LoadedTask, TaskRegistry
from tests.simulation.loop import PROCESS

__all__ = ["Act", "Plan", "Spec", "fate", "number_of"]


@dataclass(frozen=True)
class Spec:
    """One task. share: of the messages that it accepts; None when it has no `accepts`."""

    name: TaskName
    policy: Policy
    is_default: bool
    is_async: bool
    share: float | None


@dataclass(frozen=True)
class Act:
    """kind: see `_do`. times: how often it goes wrong. takes_s: until it ends. extra: of the kind's own."""

    kind: str
    times: int
    takes_s: float
    extra: float


_KINDS = {
    "ok": 60, "fail": 12, "give up": 3, "skip": 2, "retry": 5, "time out": 4, "swallow": 2, "hang": 1, "kill": 2,
    "exit": 1, "block": 2,
}  # fmt: skip
_ALERT_KINDS = {"ok": 70, "fail": 20, "time out": 3, "kill": 1, "skip": 1}
_FOR_GOOD = 99


class Plan:
    """The tasks of one seed. is_calm: nothing goes wrong but what the tasks do themselves."""

    def __init__(self, world: Any, dice: random.Random) -> None:
        self._world = world
        self._acts: dict[tuple[int, str, int], Act] = {}
        self.is_wild = dice.random() < 0.5
        self.has_middleware = dice.random() < 0.15
        self.drops_unrouted = dice.random() < 0.3
        self.specs = [self._spec(dice, f"Task{number}", False) for number in range(dice.randint(1, 4))]
        self.specs += [self._spec(dice, f"Alert{number}", True) for number in range(dice.randint(1, 2))]
        self.past: dict[str, Spec] = {spec.name: spec for spec in self.specs}
        # dice of its own: the other histories are as they would be
        own = random.Random(f"lacking/{world.seed}")
        own_too = random.Random(f"host killer/{world.seed}")
        works = [spec for spec in self.specs if not spec.is_default and (spec.is_async or not self.has_middleware)]
        is_there = world.seed % 7 == 2 and not world.is_calm and works
        self.host_killer = (own_too.randrange(4), own_too.choice(works).name) if is_there else None
        """Number and task of a message that takes down the whole host, each time that it is run there."""
        self.lacking = own.choice([*names(self.specs), None]) if world.seed % 9 == 5 else None
        """A task that the second host doesn't have, another version of the application."""

    def _spec(self, dice: random.Random, name: str, is_default: bool) -> Spec:
        policy = Policy(
            dice.choice((1, 2, 2, 3, 4)),
            Backoff(dice.choice((0.0, 0.5, 3.0, 10.0, 30.0)), 2.0, 60.0),
            dice.choice((5.0, 15.0, 60.0, 100.0)),
        )
        share = dice.choice((0.5, 0.8)) if dice.random() < 0.2 else None
        return Spec(TaskName(name), policy, is_default, dice.random() < 0.7, share)

    def change(self, dice: random.Random) -> str:
        """A new tasks.xml: a task is removed, added, or both (a rename)."""
        told = []
        works = [spec for spec in self.specs if not spec.is_default]
        if len(works) > 1 and dice.random() < 0.6:
            gone = dice.choice(works)
            self.specs.remove(gone)
            told.append(f"without {gone.name}")
        if dice.random() < 0.6:
            new = self._spec(dice, f"Task{len(self.past)}", False)
            self.past[new.name] = new
            self.specs.insert(0, new)
            told.append(f"with {new.name}")
        return f"tasks.xml {' '.join(told) or 'as it was'}"

    def registry(self, *, is_alone: bool = False, host: int = 0) -> TaskRegistry:
        """The present tasks. is_alone: for an isolated process, in which a sync task holds nobody up but itself."""
        specs = [spec for spec in self.specs if not (host and spec.name == self.lacking)]
        return TaskRegistry(
            {spec.name: self._loaded(spec, is_alone) for spec in specs}, drops_unrouted=self.drops_unrouted
        )

    def _loaded(self, spec: Spec, is_alone: bool) -> LoadedTask:
        is_async = spec.is_async or is_alone

        async def run(message: Message, context: Any) -> None:
            process = PROCESS.get()
            assert process is not None
            act = self._world.watch.started(process, message, context, spec)
            try:
                await _do(self._world, process, act, spec, context, self._world.watch.runs(message, context))
            except BaseException as exc:
                self._world.watch.left(process, message, context, type(exc).__name__)
                raise
            self._world.watch.left(process, message, context, None)

        def call(message: Message, context: Any) -> Any:
            if is_async:
                return run(message, context)
            process = PROCESS.get()
            assert process is not None
            act = self._world.thread_act = self._world.watch.started(process, message, context, spec)
            if self.has_middleware:  # in a thread of the executor: what it does takes no time
                self._world.watch.left(process, message, context, act.kind)
                raise_for(act, context.attempt)
                self._world.watch.left(process, message, context, None)
            return None

        return LoadedTask(
            spec.name, spec.policy, spec.is_default, is_async, True, call,
            accepts=None if spec.share is None else lambda message: self._accepts(number_of(message.body), spec),
        )  # fmt: skip

    def _accepts(self, number: int, spec: Spec) -> bool:
        if self.raises(number, spec):
            raise SystemExit("no") if number % 2 else ValueError("no")
        return self.takes(number, spec)

    def raises(self, number: int, spec: Spec) -> bool:
        """Whether the task's `accepts` raises at the message."""
        return spec.share is not None and number % 7 == 5

    def takes(self, number: int, spec: Spec) -> bool:
        """Whether the task accepts the message."""
        return (
            spec.share is None or random.Random(f"{self._world.seed}/takes/{number}/{spec.name}").random() < spec.share
        )

    def act(self, number: int, spec: Spec, generation: int) -> Act:
        """What the task does with the message."""
        key = (number, spec.name, generation)
        if key not in self._acts:
            self._acts[key] = self._drawn(random.Random(f"{self._world.seed}/act/{key}"), spec, generation)
            if self._is_host_killer(number, spec, generation):
                self._acts[key] = replace(self._acts[key], kind="kill host", times=_FOR_GOOD)
        return self._acts[key]

    def _is_host_killer(self, number: int, spec: Spec, generation: int) -> bool:
        return (number, spec.name) == self.host_killer and not generation

    def _drawn(self, dice: random.Random, spec: Spec, generation: int) -> Act:
        kinds = _ALERT_KINDS if spec.is_default else _KINDS
        kind = dice.choices(list(kinds), list(kinds.values()))[0]
        if generation and dice.random() < 0.7:
            kind = "ok"  # somebody mended the task
        if not self.is_wild and kind in ("hang", "kill", "exit", "block", "swallow"):
            kind = "ok"
        if self.has_middleware and not spec.is_async and kind not in ("fail", "give up", "retry"):
            kind = "ok"
        if kind == "hang" and spec.is_async:
            kind = "swallow"
        timeout_s = spec.policy.timeout_s
        takes_s = dice.choice((0.0, 0.0, 0.01, 0.5, 2.0, 0.8 * timeout_s))
        return Act(kind, dice.choice((1, 1, 2, _FOR_GOOD)), takes_s, dice.choice((0.0, 2.0, 20.0)))


def number_of(body: bytes) -> int:
    """Which message a body is of."""
    return int(body.split(b" ", 1)[0])


def fate(act: Act, spec: Spec) -> str | None:
    """How the task ends for the message: "done", "exhausted", or None where that is open."""
    most = spec.policy.max_attempts
    match act.kind:
        case "ok" | "skip":
            return "done"
        case "fail" | "retry" | "time out":
            return "done" if act.times < most else "exhausted"
        case "give up" | "kill host":
            return "exhausted"
        case "kill" | "exit":
            # one death is forgiven, unless it is the third of its message
            return "exhausted" if act.times == _FOR_GOOD else None
        case _:
            return None


async def _do(world: Any, process: Any, act: Act, spec: Spec, context: Any, runs: int) -> None:
    if act.kind in ("kill", "exit") and runs <= act.times:
        await asyncio.sleep(act.takes_s / 4)
        process.end(0 if act.kind == "exit" else -9)
        await asyncio.Event().wait()
    if act.kind == "kill host":
        await asyncio.sleep(act.takes_s / 4)
        world.lose_host(process, context)
        await asyncio.Event().wait()
    if act.kind == "block" and runs <= act.times:
        world.stop(process, act.extra or spec.policy.timeout_s + 40.0)
        await asyncio.sleep(0)
    is_bad = context.attempt <= act.times
    if act.kind == "time out" and is_bad:
        await asyncio.sleep(1e6)
    if act.kind in ("swallow", "hang") and is_bad:
        await _swallow(spec.policy.timeout_s + act.extra)
    if act.takes_s:
        await asyncio.sleep(act.takes_s)
    raise_for(act, context.attempt)


async def _swallow(seconds: float) -> None:
    loop = asyncio.get_running_loop()
    until = loop.time() + seconds
    while loop.time() < until:
        try:
            await asyncio.sleep(until - loop.time())
        except asyncio.CancelledError:
            continue
    raise ValueError("late")


def raise_for(act: Act, attempt: int) -> None:
    """The error that the attempt ends with, if it does."""
    is_bad = attempt <= act.times
    match act.kind:
        case "fail" if is_bad:
            raise ValueError(f"it fails at attempt {attempt}" + " and says a lot about it" * int(act.extra * 2))
        case "retry" if is_bad:
            raise Retry(after_s=act.extra)
        case "give up" if attempt >= act.times or act.times == _FOR_GOOD:
            raise GiveUp("not with me")
        case "give up":
            raise ValueError("not yet")
        case "skip":
            raise Skip("none of my business")
        case "time out" | "hang" if is_bad:
            raise ValueError("late")


def names(specs: Sequence[Spec]) -> list[str]:
    """Of the tasks."""
    return [spec.name for spec in specs]
