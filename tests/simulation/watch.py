"""The checker: it sees what reaches the queues and the ledger and what tasks start, and holds it against the promise.

At each event: nothing is removed before its record and its copy; a copy is never ahead of the record, and the record
never ahead of the copies; a recorded completion is never forgotten and its task never starts again; attempts <= max,
and one a copy; nothing runs without a claim; default tasks run after a burial only. At the end: `Watch.settled`.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

from mulligan.core import event
from mulligan.core.message import Message
from mulligan.core.progress import FRESH, Mark, Progress, State, is_further, is_refused, merge
from mulligan.core.route import UNKNOWN_SINCE
from mulligan.ledger.base import Answer, Claim, Granted, Record
from tests.simulation.loop import Process
from tests.simulation.newer import FIRST
from tests.simulation.plan import Act, Spec, fate, number_of
from tests.simulation.turn import whose_turn

__all__ = ["Watch"]

Key = tuple[str, int]

HOSTS_MAX = 4
"""So many hosts may be lost to one message: the first two times it runs among others, then alone."""


class Watch:
    """violations: sentences, in the order in which they were seen."""

    def __init__(self, world: Any) -> None:
        self.world = world
        self.violations: list[str] = []
        self.accepted: dict[str, int] = {}
        self.first_generation: dict[str, int] = {}
        self.sent_at: dict[str, float] = {}
        self.copied: dict[Key, int] = {}
        self.carried: dict[tuple[str, int, int], Progress] = {}
        self.dead: Counter[Key] = Counter()
        self.recorded: set[tuple[Any, ...]] = set()
        self.granted: set[tuple[str, str, int]] = set()
        self.base: dict[str, Progress] = {}
        self.begun: Counter[tuple[str, int, str]] = Counter()
        self.effects: Counter[tuple[str, int, str]] = Counter()
        self.running: dict[tuple[Any, ...], float] = {}
        self.places: dict[str, int] = {}
        self.innocent: set[tuple[str, str, int]] = set()
        self.disturbed: set[tuple[str, int, str]] = set()
        self.unrouted: set[Key] = set()
        self.registries: dict[str, set[str]] = {}
        """Names of tasks, by process."""
        self.unknown: set[tuple[str, int, str]] = set()
        """Tasks that were exhausted by a process whose tasks.xml does not have them, before or after a change of it."""
        self.taken_over: Counter[Key] = Counter()
        """How often a claim that had run out was taken over."""
        self.told_dead: set[Key] = set()
        """Messages that a supervisor told a worker's death of."""
        self.hosts_lost: Counter[Key] = Counter()
        """How many hosts a message took down since it was last settled."""
        self.strayed: set[str] = set()
        """Uids of messages that lay on rejects without a retry state."""
        self.events: Counter[str] = Counter()

    def wrong(self, text: str) -> None:
        self.violations.append(text)
        self.world.loop.told("CHECKER", text)

    def known(self, key: Key) -> Any:
        return self.world.rows._rows.get(key)

    # -- queues

    def put(self, queue: str, stored: Any, *, is_ours: bool) -> None:
        """A message is on a queue."""
        queues, key = self.world.queues, (stored.uid, stored.generation)
        if is_ours and stored.uid in self.world.newer.uids:
            self.wrong(f"{stored.uid}, which a newer version left, is copied to {queue}")
            return
        if not is_ours:
            if queue == queues.dead:
                self.wrong(f"a dead letter without a retry state: {stored.delivery.id}")
            if queue == queues.rejects:
                self.strayed.add(stored.uid)
            self.accepted.setdefault(stored.uid, number_of(stored.delivery.body))
            self.sent_at.setdefault(stored.uid, self.world.clock.now())
            return
        if queue == queues.rejects:
            self.copied[key] = max(self.copied.get(key, 0), stored.hop)
            self.carried[(*key, stored.hop)] = stored.progress
            if stored.hop == 0:
                return  # a replay
        elif any(mark.state is State.PENDING for mark in stored.progress.marks.values()):
            self.wrong(f"{stored.uid} is buried while a task is pending")
        elif not is_refused(stored.progress.marks) and not any(
            mark.state is State.EXHAUSTED for mark in stored.progress.marks.values()
        ):
            self.wrong(f"{stored.uid} is buried though every task is done")
        row = self.known(key)
        known = row.progress if row is not None and row.progress is not None else None
        base = self.carried.get((*key, 0))
        known = merge(known, base) if known and base else known or base or Progress({})
        known = merge(known, Progress(dict.fromkeys(stored.progress.marks, FRESH)))  # what never ran needs no record
        if stored.progress.marks and is_further(stored.progress, known):
            self.wrong(f"a copy of {stored.uid} on {queue} is ahead of its record")
        if queue == queues.dead:
            self.dead[key] += 1
            if not stored.progress.marks:
                self.unrouted.add(key)

    def replayed(self, key: Key, progress: Progress) -> None:
        """A dead letter lies where it is its own replay."""
        self.copied.setdefault(key, 0)
        self.carried[(*key, 0)] = progress

    def acked(self, queue: str, stored: Any) -> None:
        """A message is removed for good."""
        key = (stored.uid, stored.generation)
        if self.world.newer.is_one(stored.delivery):
            self.wrong(f"{stored.uid}, which a newer version left on {queue}, is removed")
        if queue == self.world.queues.dead or self.copied.get(key, -1) > stored.hop:
            return
        row = self.known(key)
        progress = row.progress if row is not None else None
        if progress is None:
            progress = stored.progress or Progress({})
        problem = self.unfinished(key, progress)
        if problem is not None:
            self.wrong(f"{stored.uid} generation {stored.generation} is removed from {queue} though {problem}")

    def unfinished(self, key: Key, progress: Progress) -> str | None:
        states = [mark.state for mark in progress.marks.values()]
        if State.PENDING in states:
            return "a task is pending"
        if not states and not progress.is_buried:
            if self.world.plan.drops_unrouted:
                return None
            return "nothing of it is recorded"
        if State.EXHAUSTED in states or not states:
            if not progress.is_buried:
                return "it is not recorded as buried"
            if not self.dead[key]:
                return "there is no dead letter"
            if any(mark.state is State.PENDING for mark in progress.alerts.values()):
                return "a default task is pending"
        return None

    def released(self, stored: Any, process: Process | None) -> None:
        """A message is given back."""
        if process is None or not process.name.startswith("s"):
            return
        row, taker = self.known((stored.uid, stored.generation)), stored.taker
        if row is None or row.claimed is None or row.claimed.until <= self.world.true_now():
            return  # a claim that has run out holds nothing up
        if taker is not None and taker.is_dead and row.claimed.token.rpartition("-")[0] == taker.name:
            self.wrong(f"{stored.uid} is released by {process} while the claim of dead {taker} goes on")

    def redriven(self, queue: str, stored: Any) -> None:
        """A queue moves a message away after so many receives, and a person puts it back."""
        # a twin that somebody has made waits for the other, and each look is a receive
        if self.world.is_calm and not self.world.plan.is_wild and not self.world.mover.is_there:
            self.wrong(f"{stored.uid} is moved away by {queue}, after {stored.count} receives")

    # -- ledger

    def row(self, claim: Claim) -> Any:
        """Who held the key before a claim."""
        row = self.known((claim.uid, claim.generation))
        return row.claimed if row is not None else None

    def claimed(
        self, process: Process, claims: Sequence[Claim], answers: Sequence[Answer], before: Sequence[Any], now: float
    ) -> None:
        """A batch of claims has reached the ledger."""
        for claim, answer, held in zip(claims, answers, before, strict=True):
            key = (claim.uid, claim.generation)
            if claim.uid in self.world.newer.uids:
                self.wrong(f"the ledger is asked for {claim.uid}, which a newer version left")
            if not isinstance(answer, Granted):
                continue
            if held is not None and held.token != claim.token:
                self.taken_over[key] += 1
            self.granted.add((process.name, *key))
            carried = self.carried.get((*key, claim.hop), Progress({}))
            self.base[claim.token] = merge(answer.progress, carried) if answer.progress else carried

    def saved(self, process: Process, records: Sequence[Record], kept: Sequence[bool]) -> None:
        """A batch of records has reached the ledger."""
        for record, is_kept in zip(records, kept, strict=True):
            if is_kept:
                self._saved(process, record)
            else:
                self.world.loop.told(process, f"its record of {record.uid} is refused")

    def _saved(self, process: Process, record: Record) -> None:
        key = (record.uid, record.generation)
        if record.hop is not None and record.hop > self.copied.get(key, 0):
            self.wrong(f"hop {record.hop} of {record.uid} is recorded before there is such a copy")
        if record.is_final:
            del self.hosts_lost[key]
        base = self.base.get(record.token, Progress({}))
        for in_alerts, marks, old in (
            (False, record.progress.marks, base.marks),
            (True, record.progress.alerts, base.alerts),
        ):
            for task, mark in marks.items():
                name = (*key, task)
                if mark.state is State.DONE:
                    self.recorded.add(name)
                    if not in_alerts:
                        self.recorded.add((record.uid, task))
                elif name in self.recorded:
                    self.wrong(f"the recorded completion of {task} on {record.uid} is forgotten")
                is_unknown = mark.state is State.EXHAUSTED and (mark.reason or "").startswith(UNKNOWN_SINCE)
                if is_unknown and (*key, task) not in self.unknown:
                    self._given_up(process, key, task, old.get(task))
                before = old[task].attempts if task in old else 0
                if mark.attempts > before + 1:
                    self.wrong(f"{task} was tried twice on one copy of {record.uid}")
                spec = self.world.plan.past.get(task)
                if spec is not None and mark.attempts > spec.policy.max_attempts:
                    self.wrong(f"{task} on {record.uid} has {mark.attempts} attempts")

    def _given_up(self, process: Process, key: Key, task: str, before: Mark | None) -> None:
        """A process has exhausted a task that it doesn't know."""
        self.unknown.add((*key, task))
        if task in self.registries[process.name]:
            self.wrong(f"{process} does not know {task}, which is in its tasks.xml")
        since_at = max(before.due_at if before is not None else 0.0, self.sent_at.get(key[0], 0.0))
        waited_s, grace_s = self.world.clock.now() - since_at, self.world.settings.task_missing_grace_s
        is_right = not self.world.has_jumped and not any(self.world.ahead_s)  # a clock that is ahead gives up early
        if grace_s and waited_s < grace_s - 1.0 and is_right:
            self.wrong(f"{task} on {key[0]} is given up by {process} after {waited_s:.0f} s, for it is missing there")

    # -- tasks

    def started(self, process: Process, message: Message, context: Any, spec: Spec) -> Act:
        """A task starts; what it will do."""
        uid, generation = message.uid, context.generation
        key = (uid, generation)
        number = number_of(message.body)
        if number >= FIRST:
            self.wrong(f"{spec.name} starts on message {number} in {process}, which a newer version left")
        name: tuple[Any, ...] = (*key, spec.name) if spec.is_default else (uid, spec.name)
        self.begun[(*key, spec.name)] += 1
        # one that was to start when its process stood still has been running for longer than anybody sees
        is_late = self.world.loop.time() - process.stopped_until < 0.01
        self.running[(process, *key, spec.name)] = 0.0 if is_late else self.world.loop.time()
        world = self.world
        if world.loop.story is not None:
            world.loop.told(process, f"starts {spec.name} on {uid} (message {number}, attempt {context.attempt})")
        if message.body != world.body(number):
            self.wrong(f"{spec.name} gets another body than message {number} had")
        if is_late:
            self.disturbed.add((*key, spec.name))
        if name in self.recorded and not (world.has_changed and key[1] and (uid, 0) in self.unrouted):
            self.wrong(f"{spec.name} starts again on {uid} in {process} after its recorded completion")
        if spec.is_default and not self.dead[key]:
            self.wrong(f"default task {spec.name} starts on {uid}, which is not buried")
        if context.attempt > spec.policy.max_attempts:
            self.wrong(f"{spec.name} starts attempt {context.attempt} on {uid}")
        worker = process.name.partition("/")[0]
        if (worker, *key) not in self.granted:
            self.wrong(f"{spec.name} starts on {uid} in {process}, which has no claim")
        self._isolated(process, key)
        if (holder := self._other_holder(process, key)) is not None:
            self.wrong(f"{spec.name} starts on {uid} in {process}, though {holder} has claimed it meanwhile")
        if (at_work := self._at_work(worker)) > self.places[worker]:
            self.wrong(
                f"{spec.name} starts on {uid} in {process}, with {at_work} of {self.places[worker]} places taken"
            )
        if (before := whose_turn(self, key)) is not None:
            self.wrong(f"{spec.name} starts on {uid}, though it is the turn of {before} of its group")
        return world.plan.act(number, spec, generation)

    def _isolated(self, process: Process, key: Key) -> None:
        """Whether what starts alone does so with reason."""
        if "/" in process.name and self.taken_over[key] < 2 and key not in self.told_dead:
            self.wrong(f"{key[0]} runs alone, though no death was told, and at most one claim of it ran out")

    def _at_work(self, worker: str) -> int:
        """How many messages a worker, with its isolated processes, works on now."""
        return len(
            {
                (uid, generation)
                for who, uid, generation, _ in self.running
                if not who.is_dead and who.name.partition("/")[0] == worker
            }
        )

    def _other_holder(self, process: Process, key: Key) -> str | None:
        row = self.known(key)
        if row is None or row.claimed is None or row.claimed.until <= self.world.clock.now() or self.world.has_jumped:
            return None
        holder = str(row.claimed.token.rpartition("-")[0])
        return None if holder == process.name.partition("/")[0] else holder

    def runs(self, message: Message, context: Any) -> int:
        """How often the task has begun on the message."""
        return self.begun[(message.uid, context.generation, context.task)]

    def blamed(self, host: int) -> None:
        """A host is gone, and no task that runs alone there has done it: their starts are held against them."""
        for who, uid, generation, task in self.running:
            if "/" in who.name and who.name.startswith(f"w{host}."):
                self.disturbed.add((uid, generation, task))

    def worker_ended(self, worker: Process) -> None:
        """One that was killed from outside may have been by what runs alone beside it: those starts are counted."""
        for who, uid, generation, task in self.running:
            if worker.returncode == -9 and who.name.startswith(f"{worker.name}/"):
                self.disturbed.add((uid, generation, task))

    def host_lost(self, key: Key) -> bool:
        """A message takes its host down; False when that is one too many."""
        self.hosts_lost[key] += 1
        if self.hosts_lost[key] > HOSTS_MAX:
            self.wrong(f"{key[0]} takes down host after host, {self.hosts_lost[key]} by now")
        return self.hosts_lost[key] <= HOSTS_MAX

    def left(self, process: Process, message: Message, context: Any, error: str | None) -> None:
        """A task has ended."""
        key = (message.uid, context.generation, context.task)
        self.running.pop((process, *key), None)
        if self.world.loop.story is not None:
            self.world.loop.told(process, f"ends {context.task} on {message.uid} {error or 'well'}")
        if error in (None, "Skip"):
            self.effects[key] += 1

    def disturb(self, process: Process) -> None:
        """Time passes for what runs in the process, without its doing: it may time out."""
        for who, uid, generation, task in self.running:
            if who is process or who.name.partition("/")[0] == process.name:
                self.disturbed.add((uid, generation, task))

    def heard(self, process: object, one: event.Event) -> None:
        """An event of the worker."""
        self.events[type(one).__name__] += 1
        if isinstance(one, event.LeaseLost) and self.world.is_calm and not self.world.plan.is_wild:
            self._lost(process, one)
        if isinstance(one, event.WorkerBlocked):
            self._blocked(one.pid)
        if self.world.loop.story is not None:
            self.world.loop.told(process, repr(one))

    def _lost(self, process: object, one: event.LeaseLost) -> None:
        """Where nothing takes leases away, none is given up; but for a claim that ran out while the ledger was away,
        before anything had begun.
        """
        cut = [task for who, uid, _, task in self.running if who is process and uid == one.uid]
        if cut or "could not be extended" in one.reason:
            self.wrong(f"{cut} on {one.uid} are cut in {process}, which has lost nothing: {one.reason}")

    def _blocked(self, pid: int) -> None:
        """A worker is going to be killed for a task that holds it: what is within its time is not to blame."""
        now, late = self.world.loop.time(), set()
        running = [(who, uid, generation, task) for who, uid, generation, task in self.running if who.pid == pid]
        for who, uid, generation, task in running:
            if now - self.running[(who, uid, generation, task)] >= self.world.plan.past[task].policy.timeout_s:
                late.add((who.name, uid, generation))
        self.innocent.update({(who.name, uid, generation) for who, uid, generation, _ in running} - late)

    def ended(self, tokens: Sequence[tuple[str, int, str]]) -> None:
        """Claims of a dead worker are ended as those of suspects."""
        for uid, generation, token in tokens:
            self.told_dead.add((uid, generation))
            worker = token.rpartition("-")[0]
            if (worker, uid, generation) in self.innocent:
                self.wrong(f"{uid} is a suspect, though another message's task had {worker} killed")

    # -- the end

    def settled(self) -> None:
        """Every accepted message has ended, as its tasks were to end."""
        world = self.world
        generations: dict[str, list[int]] = defaultdict(list)
        for uid in self.accepted:
            generations[uid].append(0)
        for uid, generation in self.copied:
            if generation not in generations[uid]:
                generations[uid].append(generation)
        for uid, some in generations.items():
            for generation in some:
                self._settled(uid, generation)
        for key, row in world.rows._rows.items():
            if row.claimed is not None and key not in self.taken_over and not self._was_removed_by_another(row):
                self.wrong(f"the claim of {row.claimed.token} on {key} never ended")
        world.newer.settled()
        for name in (world.queues.requests, world.queues.rejects):
            for stored in world.stored.queues[name].stored.values():
                if not world.newer.is_one(stored.delivery):
                    self.wrong(f"{stored.uid} is still on {name}")

    def _was_removed_by_another(self, row: Any) -> bool:
        """Where old receipts still remove messages, one may be gone before the claim of its killed holder is ended; and
        where somebody moves them, it may be of another generation when it comes again.
        """
        name = row.claimed.token.rpartition("-")[0]
        return (self.world.is_lenient or self.world.mover.is_there) and any(
            one.name == name and one.returncode for one in self.world.workers
        )

    def _settled(self, uid: str, generation: int) -> None:
        key, number = (uid, generation), self.accepted.get(uid, -1)
        if number < 0:
            self.wrong(f"{uid} was never sent by anybody")
            return
        row = self.known(key)
        if row is None:
            self.wrong(f"message {number} ({uid}, generation {generation}) is lost: nobody ever claimed it")
            return
        # a replay with nothing left to do is removed as it came
        progress = row.progress or self.carried.get((*key, 0)) or Progress({})
        problem = self.unfinished(key, progress)
        if problem is not None:
            self.wrong(f"message {number} ({uid}, generation {generation}) is lost: {problem}")
            return
        is_exhausted = any(mark.state is State.EXHAUSTED for mark in progress.marks.values())
        is_unrouted = is_refused(progress.marks) and not self.world.plan.drops_unrouted
        # a burial without tasks has nothing to record before it; a new tasks.xml may then find some
        is_open = self.world.has_changed and key in self.unrouted
        if bool(self.dead[key]) != (is_exhausted or is_unrouted) and not is_open:
            self.wrong(f"{uid} has {self.dead[key]} dead letters")
        self._raised(uid, number, progress)
        self._as_planned(uid, generation, number, progress)

    def _raised(self, uid: str, number: int, progress: Progress) -> None:
        plan = self.world.plan
        for spec in plan.specs if progress.is_buried and not self.world.has_changed else ():
            is_asked = spec.is_default and plan.takes(number, spec) and not plan.raises(number, spec)
            if is_asked and spec.name not in progress.alerts:
                self.wrong(f"{uid} is buried, and default task {spec.name} was never raised")

    def _as_planned(self, uid: str, generation: int, number: int, progress: Progress) -> None:
        key = (uid, generation)
        plan = self.world.plan
        for in_alerts, marks in ((False, progress.marks), (True, progress.alerts)):
            for task, mark in marks.items():
                spec = plan.past.get(task)
                if spec is None:
                    continue
                runs = sum(self.effects[(uid, one, task)] for one in range(generation + 1))
                raises = plan.raises(number, spec)
                # a suspect is routed to all tasks, and each asks again
                has_refused = raises or not plan.takes(number, spec)
                if mark.state is State.DONE and not runs and not has_refused:
                    self.wrong(f"{task} is recorded as done on {uid}, and never ran to its end")
                is_missing = (*key, task) in self.unknown  # of a process that lacks it
                if in_alerts and not self.begun[(*key, task)] and not (has_refused or is_missing):
                    self.wrong(f"default task {task} never ran on {uid}")
                was_done = not in_alerts and any((uid, one, task) in self.recorded for one in range(generation))
                if self.world.is_calm and not plan.is_wild and not has_refused and not was_done:
                    begun = self.begun[(*key, task)]
                    if begun != mark.attempts:
                        self.wrong(f"{task} on {uid} started {begun} times for {mark.attempts} attempts")
                planned = {"done"} if was_done else self._planned(key, number, spec)
                if mark.state.name.lower() not in planned:
                    told = f"{task} on {uid} is {mark.state.name.lower()} ({mark.reason})"
                    self.wrong(f"{told}, planned for generation {generation}: {planned}")

    def _planned(self, key: Key, number: int, spec: Spec) -> set[str]:
        """How a task may have ended for a message."""
        plan = self.world.plan
        if plan.raises(number, spec):
            expected: str | None = "exhausted"
        elif not plan.takes(number, spec):
            expected = "done"
        else:
            expected = fate(plan.act(number, spec, key[1]), spec)
        if expected is None:
            return {"done", "exhausted"}
        if key[0] in self.strayed and not key[1] and self.world.settings.unknown_on_rejects == "dead":
            return {expected, "exhausted"}  # unless somebody had begun with it on requests
        # time that passed without its doing may have used up attempts
        may_fail = (*key, spec.name) in self.disturbed | self.unknown
        return {expected, "exhausted"} if may_fail else {expected}
