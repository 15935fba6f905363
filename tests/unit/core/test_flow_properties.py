"""Random histories of one message, with faults between any two steps of any worker.

The machine below plays the worker's shell in its plainest form (claim, run, save, copy, remove), a broker and a ledger.
Hypothesis deals out receipts, outcomes, crashes, takeovers, twins, shutdowns and changes of the manifest; the asserts
are the invariants that `core.flow` promises. At the end the faults stop and everything has to converge.
"""

import math
from collections import Counter
from collections.abc import Generator
from dataclasses import dataclass, field, replace
from random import Random
from typing import TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from mulligan.core.flow import DEATHS_MAX, begun_alone, mark_buried, next_step, record, settled
from mulligan.core.message import TaskName, Uid
from mulligan.core.move import was_dead
from mulligan.core.outcome import (
    INTERRUPTED,
    SUCCEEDED,
    Died,
    Failed,
    Interrupted,
    Outcome,
    Skipped,
    TimedOut,
)
from mulligan.core.policy import Policy
from mulligan.core.progress import FRESH, Mark, Progress, State, at_rest, is_further, is_suspect, merge
from mulligan.core.retry_state import RetryState, decode, encode
from mulligan.core.route import UNKNOWN_SINCE, Missing, Route, begin, reconcile, reset_for_replay
from mulligan.core.step import Ack, Bury, Reject, Release, Run

TASKS = (TaskName("Jira"), TaskName("Trello"), TaskName("Mail"))
DEFAULTS = (TaskName("Slack"), TaskName("Pager"))
LATE = TaskName("Late")
UID = Uid("018bcfe56800-0b090fd81c3e1612c0f0")
CLAIM_S = 60.0
RANK = {State.PENDING: 0, State.EXHAUSTED: 1, State.DONE: 2}

OUTCOMES: tuple[Outcome, ...] = (
    SUCCEEDED,
    Failed("boom"),
    Failed("boom"),
    Failed("hopeless", is_final=True),
    Failed("busy", retry_after_s=0.0),
    Failed("busy", retry_after_s=100.0),
    TimedOut(60.0),
    Skipped("not mine"),
    INTERRUPTED,
    Died("signal 9"),
    Died("signal 9"),
)
ENDINGS: tuple[Outcome, ...] = (
    SUCCEEDED,
    Failed("boom"),
    TimedOut(60.0),
    Failed("busy", retry_after_s=0.0),
    Skipped("no"),
)
SECONDS = (0.5, 10.0, 30.0, 200.0, 4000.0)
COUNTS = (1, 2, 3, 4, 8)
GRACES_S = (0.0, 100.0, 5000.0)
BEGINS_AT = 1_700_000_000.0


@dataclass(eq=False)
class Copy:
    """One message on a queue. story: None on the requests queue. ended: tasks that ended with it, on record."""

    story: str | None
    hop: int = 0
    visible_at: float = 0.0
    receipt: int = 0
    ended: set[TaskName] = field(default_factory=set)


@dataclass
class Row:
    progress: Progress | None = None
    hop: int = 0
    token: int | None = None
    until: float = 0.0


T = TypeVar("T")
Steps = Generator[str, Outcome, T]
"""A part of a worker's life: it yields where it may die, and is sent the outcome of what runs there."""


@dataclass(eq=False)
class Worker:
    copy: Copy
    token: int
    steps: Steps[None]


class OneMessage(RuleBasedStateMachine):
    @initialize(
        task_count=st.sampled_from([1, 2, 2, 3, 3, 3, 0]),
        default_count=st.sampled_from([1, 2, 0]),
        drops_unrouted=st.booleans(),
        max_attempts=st.lists(st.sampled_from([2, 3, 1]), min_size=6, max_size=6),
        max_delay_s=st.sampled_from([math.inf, 20.0]),
        has_ledger=st.sampled_from([True, True, True, False]),
        is_manifest_fixed=st.sampled_from([True, True, False]),
        endings=st.lists(st.sampled_from(ENDINGS), min_size=1, max_size=7),
        grace_s=st.sampled_from(GRACES_S),
    )
    def begin(
        self,
        task_count: int,
        default_count: int,
        drops_unrouted: bool,
        max_attempts: list[int],
        max_delay_s: float,
        has_ledger: bool,
        is_manifest_fixed: bool,
        endings: list[Outcome],
        grace_s: float,
    ) -> None:
        self.now = BEGINS_AT
        self.grace_s = grace_s
        self.tasks = list(TASKS[:task_count])
        self.defaults = list(DEFAULTS[:default_count])
        self.drops_unrouted = drops_unrouted
        self.policies = {
            name: Policy(attempts) for name, attempts in zip((*TASKS, *DEFAULTS, LATE), max_attempts, strict=True)
        }
        self.max_delay_s = max_delay_s
        self.has_ledger = has_ledger
        self.is_manifest_fixed = is_manifest_fixed
        self.endings = endings
        self.can_run = True
        self.copies = [Copy(None)]
        self.row = Row()
        self.workers: list[Worker] = []
        self.interrupted: set[int] = set()
        self.dead: list[RetryState] = []
        self.tokens = 0
        self.starts: Counter[TaskName] = Counter()
        self.succeeded: set[TaskName] = set()
        self.done_on_record: set[TaskName] = set()
        self.faults = 0  # each may cost every task one start more
        self.restless: Counter[TaskName] = Counter()  # ends that burn no attempt: interrupted, died
        self.manifest_changes = 0
        self.releases: list[float] = []

    # -- what hypothesis plays with -------------------------------------------------------------------------------

    @precondition(lambda self: self.receivable())
    @rule(pick=st.integers(0, 9))
    def receive(self, pick: int) -> None:
        ready = self.receivable()
        self.start(ready[pick % len(ready)])

    @precondition(lambda self: self.workers)
    @rule(pick=st.integers(0, 9), outcome=st.sampled_from(OUTCOMES), count=st.sampled_from(COUNTS))
    def advance(self, pick: int, outcome: Outcome, count: int) -> None:
        worker = self.workers[pick % len(self.workers)]
        for _ in range(count):
            if not self.step(worker, outcome):
                return

    @precondition(lambda self: self.workers)
    @rule(pick=st.integers(0, 9), is_reaped=st.booleans())
    def crash(self, pick: int, is_reaped: bool) -> None:
        """A worker dies. is_reaped: the supervisor is alive to end its claim and to release its message."""
        worker = self.workers.pop(pick % len(self.workers))
        worker.steps.close()
        self.faults += 1
        if is_reaped:
            self.end_claim(worker.token)
            worker.copy.visible_at = self.now
        else:
            self.let_claim_run_out(worker)

    @precondition(lambda self: self.workers)
    @rule(pick=st.integers(0, 9))
    def pause(self, pick: int) -> None:
        """A worker is stopped for longer than its lease and its claim, and goes on later without having noticed."""
        worker = self.workers[pick % len(self.workers)]
        self.faults += 1
        self.let_claim_run_out(worker)
        self.now += CLAIM_S + 1

    @precondition(lambda self: self.copies)
    @rule(pick=st.integers(0, 9))
    def twin(self, pick: int) -> None:
        """The broker delivers one message twice."""
        copy = self.copies[pick % len(self.copies)]
        self.copies.append(Copy(copy.story, copy.hop, self.now))

    @rule(seconds=st.sampled_from(SECONDS))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds

    @rule(can_run=st.sampled_from([True, True, False]))
    def shut_down_or_restart(self, can_run: bool) -> None:
        self.can_run = can_run

    @precondition(lambda self: not self.is_manifest_fixed)
    @rule(name=st.sampled_from((*TASKS, *DEFAULTS, LATE)), is_there=st.booleans())
    def change_manifest(self, name: TaskName, is_there: bool) -> None:
        self.manifest_changes += 1
        self.tasks = [task for task in self.tasks if task != name]
        self.defaults = [task for task in self.defaults if task != name]
        if is_there:
            (self.defaults if name in DEFAULTS else self.tasks).append(name)

    # -- the shell ------------------------------------------------------------------------------------------------

    def start(self, copy: Copy) -> Worker:
        self.tokens += 1
        copy.receipt += 1
        copy.visible_at = math.inf  # leased, as long as somebody extends it
        worker = Worker(copy, self.tokens, self.process(copy, self.tokens, copy.receipt))
        self.workers.append(worker)
        self.step(worker, None)
        return worker

    def step(self, worker: Worker, outcome: Outcome | None) -> bool:
        """Let a worker go on to its next point where it may die. False: its delivery is over."""
        try:
            worker.steps.send(outcome)  # type: ignore[arg-type] # None starts a generator
        except StopIteration:
            self.workers.remove(worker)
            return False
        return True

    def process(self, copy: Copy, token: int, receipt: int) -> Steps[None]:
        claimed = self.claim(copy, token, receipt)
        if claimed is None:
            return
        carried, newest, missing = claimed
        progress: Progress | None = newest
        yield "claimed"
        while progress is not None:
            can_run = self.can_run and token not in self.interrupted
            step = next_step(self.route(), carried, progress, self.now, can_run=can_run, missing=missing)
            match step:
                case Run(tasks):
                    assert can_run, "something is started after a shutdown"
                    assert not missing.tasks & set(tasks), "a task is started that is not there"
                    progress = yield from self.run(copy, token, progress, tasks)
                case Bury():
                    progress = yield from self.bury(copy, token, progress)
                case Ack():
                    self.check_ack(progress)
                    yield from self.finish(copy, token, progress)
                    return
                case Reject(delay_s):
                    self.check_wait(progress, missing, delay_s)
                    assert is_further(progress, carried)
                    yield from self.reject(copy, token, progress, delay_s)
                    return
                case Release(delay_s):
                    self.check_wait(progress, missing, delay_s)
                    self.releases.append(delay_s)
                    if self.row.token == token:
                        self.row.token = None
                        self.row.progress = at_rest(self.row.progress) if self.row.progress else None
                    yield "given back"
                    self.release(copy, receipt, delay_s)
                    return

    def run(self, copy: Copy, token: int, progress: Progress, tasks: tuple[TaskName, ...]) -> Steps[Progress | None]:
        if not self.holds(token):
            return None  # the lease keeper told it: nothing new is started
        is_alone = is_suspect(progress.deaths)
        if is_alone:
            marks = progress.alerts if progress.is_buried else progress.marks
            tasks = (min(tasks, key=lambda task: marks[task].due_at),)
            if progress.deaths >= DEATHS_MAX:
                progress = self.recorded(progress, tasks[0], Died("no word"))
                return progress if self.save(token, progress) else None
            progress = begun_alone(progress)
            if not self.save(token, progress):
                return None
            yield "on record that it is about to start"
        self.check_run(copy, progress, tasks)
        self.starts.update(tasks)
        for task in tasks:
            outcome = yield f"{task} runs"
            if isinstance(outcome, Died) and not is_alone:
                outcome = SUCCEEDED
            if isinstance(outcome, Interrupted | Died):
                self.restless[task] += 1
            if isinstance(outcome, Interrupted):
                self.interrupted.add(token)
            progress = self.recorded(progress, task, outcome)
            yield "not yet saved"
            if not self.save(token, progress):
                return None
            if not isinstance(outcome, Interrupted | Died):
                copy.ended.add(task)
            yield "saved"
        return progress

    def bury(self, copy: Copy, token: int, progress: Progress) -> Steps[Progress | None]:
        self.check_bury(progress, token)
        yield "about to bury"
        self.dead.append(decode(encode(RetryState(UID, 0, copy.hop, 0.0, progress))))
        assert was_dead(self.dead[-1]), "moved to rejects it would be removed as a twin, if an older version wrote it"
        replayed = RetryState(UID, 1, 0, 0.0, reset_for_replay(progress, self.route().tasks))
        assert not was_dead(replayed), "a replay is taken for a letter that was moved, and gets another generation"
        yield "dead letter confirmed"
        progress = mark_buried(progress, self.route())
        if not self.save(token, progress):
            return None
        yield "burial saved"
        return progress

    def reject(self, copy: Copy, token: int, progress: Progress, delay_s: float) -> Steps[None]:
        yield "about to copy"
        hop = copy.hop + 1
        story = encode(RetryState(UID, 0, hop, 0.0, settled(progress)))
        assert not was_dead(decode(story)), "a copy for rejects is taken for a dead letter that was moved"
        self.copies.append(Copy(story, hop, self.now + min(delay_s, self.max_delay_s)))
        yield "copy confirmed"
        yield from self.finish(copy, token, progress, hop)

    def finish(self, copy: Copy, token: int, progress: Progress, hop: int = 0) -> Steps[None]:
        if not self.save(token, settled(progress), hop=hop, is_final=True):
            return
        assert not self.has_ledger or self.row.progress == replace(progress, deaths=0)
        yield "about to remove"
        self.remove(copy)

    def claim(self, copy: Copy, token: int, receipt: int) -> tuple[Progress, Progress, Missing] | None:
        """What the copy carries, the newest known, and what is missing; None when it is over before it began."""
        row = self.row
        known: Progress | None = None
        if self.has_ledger:
            if copy.hop < row.hop:
                self.remove(copy)
                return None
            if row.token is not None and row.until > self.now:
                self.release(copy, receipt, row.until - self.now if row.until < math.inf else 5.0)
                return None
            if row.token is not None:
                before = row.progress or Progress({})
                row.progress = replace(before, deaths=abs(before.deaths) or -1)
            row.token, row.until = token, math.inf
            known = row.progress
        deaths = known.deaths if known else 0
        if copy.story is not None:
            carried = decode(copy.story).progress
        elif known and (known.marks or known.is_buried):
            # the route was fixed at the first claim, whatever the manifest says today
            carried = Progress(dict.fromkeys(known.marks, FRESH))
        else:
            carried = begin(self.route())
        newest = merge(known, carried) if known else carried
        assert newest.marks.keys() == carried.marks.keys() | (known.marks.keys() if known else set())
        since_at = BEGINS_AT if copy.story is not None else self.now
        progress, missing = reconcile(
            replace(newest, deaths=deaths), self.known_tasks(), self.now, grace_s=self.grace_s, since_at=since_at
        )
        self.check_fit(newest, progress, missing)
        if progress.marks != newest.marks or progress.alerts != newest.alerts:
            # what the manifest took away is kept before it is acted upon, like any end of an attempt
            self.save(token, progress)
        return carried, progress, missing

    def recorded(self, progress: Progress, task: TaskName, outcome: Outcome) -> Progress:
        after = record(progress, task, outcome, self.policies[task], self.now, 0.5)

        for before_marks, after_marks in ((progress.marks, after.marks), (progress.alerts, after.alerts)):
            assert list(after_marks) == list(before_marks)
            for name, mark in after_marks.items():
                assert is_not_behind(mark, before_marks[name])
                assert mark == before_marks[name] or name == task
                assert mark.attempts <= self.policies[name].max_attempts
        assert after.is_buried == progress.is_buried
        if isinstance(outcome, Died):
            is_last = max(progress.deaths + 1, -progress.deaths) >= DEATHS_MAX
            assert ({**after.marks, **after.alerts}[task].state is State.EXHAUSTED) == is_last
        assert after.deaths < DEATHS_MAX == 3
        if outcome in (SUCCEEDED, Skipped("not mine"), Skipped("no")):
            self.succeeded.add(task)
            assert {**after.marks, **after.alerts}[task].state is State.DONE
        return after

    # -- the ledger and the broker --------------------------------------------------------------------------------

    def save(self, token: int, progress: Progress, hop: int = 0, *, is_final: bool = False) -> bool:
        if not self.has_ledger:
            return True
        row = self.row
        if row.token != token:
            return False
        assert row.progress is None or not is_further(row.progress, progress), "the record went backwards"
        row.progress = progress
        row.hop = max(row.hop, hop)
        row.token = None if is_final else token
        self.done_on_record |= {
            name for name, mark in {**progress.marks, **progress.alerts}.items() if mark.state is State.DONE
        }
        return True

    def holds(self, token: int) -> bool:
        return not self.has_ledger or self.row.token == token

    def end_claim(self, token: int) -> None:
        if self.row.token == token:
            known = self.row.progress or Progress({})
            self.row.progress = replace(known, deaths=max(1, abs(known.deaths)))
            self.row.token = None

    def let_claim_run_out(self, worker: Worker) -> None:
        worker.copy.visible_at = self.now + CLAIM_S
        if self.row.token == worker.token:
            self.row.until = self.now + CLAIM_S

    def receivable(self) -> list[Copy]:
        return [copy for copy in self.copies if copy.visible_at <= self.now]

    def release(self, copy: Copy, receipt: int, delay_s: float) -> None:
        if copy.receipt == receipt:
            copy.visible_at = self.now + min(delay_s, self.max_delay_s)

    def remove(self, copy: Copy) -> None:
        """A late removal works, as it does on SQS."""
        if copy in self.copies:
            self.copies.remove(copy)

    # -- the invariants -------------------------------------------------------------------------------------------

    def check_run(self, copy: Copy, progress: Progress, tasks: tuple[TaskName, ...]) -> None:
        marks = progress.alerts if progress.is_buried else progress.marks
        assert tasks
        for task in tasks:
            assert marks[task].state is State.PENDING
            assert marks[task].due_at <= self.now
            assert marks[task].attempts < self.policies[task].max_attempts
            if progress.is_buried:
                assert self.dead, "a default task runs before the dead letter is there"
            if self.has_ledger:
                assert task not in self.done_on_record, "a task starts after its recorded completion"
                assert task not in copy.ended, "a task runs twice with one copy"
                most = self.policies[task].max_attempts + self.faults + self.restless[task]
                assert self.starts[task] < most, "more starts than attempts and faults"

    def check_fit(self, before: Progress, after: Progress, missing: Missing) -> None:
        for name, mark in (*after.marks.items(), *after.alerts.items()):
            known = {**before.marks, **before.alerts}[name]
            if known.state is not State.PENDING or name in self.known_tasks():
                assert mark is known
                assert name not in missing.tasks
            elif name in missing.tasks:
                assert mark == replace(known, due_at=mark.due_at), "a missing task's mark is touched"
                assert known.due_at in (0.0, mark.due_at)
                assert self.now - mark.due_at < self.grace_s
            else:
                assert mark.state is State.EXHAUSTED
                assert mark.attempts == known.attempts
                assert mark.reason is not None
                assert mark.reason.startswith(UNKNOWN_SINCE)
                assert mark.reason.endswith(known.reason or "tasks.xml"), "the last error is lost"
                assert not self.grace_s or not known.due_at or self.now - known.due_at >= self.grace_s

    def check_wait(self, progress: Progress, missing: Missing, delay_s: float) -> None:
        marks = progress.alerts if progress.is_buried else progress.marks
        waits_s = [
            max(0.0, (missing.again_at(mark, self.now) if is_missing else mark.due_at) - self.now)
            for task, mark in marks.items()
            if mark.state is State.PENDING
            for is_missing in [task in missing.tasks and mark.due_at <= self.now]
        ]
        assert delay_s == min(waits_s), "wakes before or after the earliest task is due"
        assert delay_s <= 900.0 or not any(
            task in missing.tasks and mark.due_at <= self.now for task, mark in marks.items()
        )

    def check_bury(self, progress: Progress, token: int) -> None:
        states = [mark.state for mark in progress.marks.values()]
        assert not progress.is_buried, "buried twice"
        assert State.PENDING not in states
        assert State.EXHAUSTED in states or (not states and not self.drops_unrouted)
        if self.has_ledger and self.row.token == token:
            assert self.row.progress is None or not self.row.progress.is_buried

    def check_ack(self, progress: Progress) -> None:
        states = {mark.state for mark in progress.marks.values()}
        if progress.is_buried:
            assert self.dead
            assert State.PENDING not in {mark.state for mark in progress.alerts.values()}
        else:
            assert states == {State.DONE} or (not states and self.drops_unrouted), "removed unfinished"

    def teardown(self) -> None:
        if not hasattr(self, "copies"):
            return  # hypothesis gave up before it began
        self.stop_faults()
        self.converge()
        self.check_end()

    def stop_faults(self) -> None:
        for worker in list(self.workers):
            self.let_claim_run_out(worker)
            worker.steps.close()
            self.faults += 1
        self.workers.clear()
        self.can_run = True
        self.releases.clear()

    def converge(self) -> None:
        attempts = sum(policy.max_attempts for policy in self.policies.values())
        looks = 20 * (len(self.copies) + 1) if self.manifest_changes else 0  # at those that wait for a missing task
        most = 10 * (
            len(self.copies) * (attempts if not self.has_ledger else 1) + attempts + looks * len(self.policies)
        )
        deliveries = turn = 0
        while self.copies:
            copy = min(self.copies, key=lambda one: one.visible_at)
            self.now = max(self.now, copy.visible_at)
            deliveries += 1
            assert deliveries <= most, "deliveries do not end"
            worker = self.start(copy)
            last_turn = turn + 500
            while worker in self.workers:
                turn += 1
                assert turn <= last_turn, "a delivery does not end"
                self.step(worker, self.endings[turn % len(self.endings)])
        assert all(delay_s > 0 for delay_s in self.releases), "a release without a wait spins"

    def check_end(self) -> None:
        for story in self.dead:
            assert State.PENDING not in {mark.state for mark in story.progress.marks.values()}
        if not self.has_ledger:
            # at least once a task: nothing else is promised without a record
            assert self.manifest_changes or self.dead or set(self.tasks) <= self.succeeded
            return
        progress = self.row.progress
        assert progress is not None
        has_exhausted = any(mark.state is State.EXHAUSTED for mark in progress.marks.values())
        is_unrouted = not progress.marks and not self.drops_unrouted
        assert State.PENDING not in {mark.state for mark in (*progress.marks.values(), *progress.alerts.values())}
        assert progress.is_buried == (has_exhausted or is_unrouted)
        # a burial without tasks has nothing to record before it; another manifest may then find some
        is_open = self.manifest_changes and any(not story.progress.marks for story in self.dead)
        assert progress.is_buried == bool(self.dead) or is_open
        for name, mark in progress.marks.items():
            assert mark.state is State.EXHAUSTED or name in self.succeeded
        for name in DEFAULTS:
            alert = progress.alerts.get(name)
            if alert is None:
                assert self.starts[name] == 0
            else:
                assert self.starts[name] >= 1 or (alert.reason or "").startswith(UNKNOWN_SINCE)
        if not self.manifest_changes and progress.is_buried:
            assert list(progress.alerts) == self.defaults
        if not self.faults:
            assert len(self.dead) == int(progress.is_buried)

    # -- the manifest ---------------------------------------------------------------------------------------------

    def route(self) -> Route:
        return Route(tuple(self.tasks), tuple(self.defaults), self.drops_unrouted)

    def known_tasks(self) -> set[TaskName]:
        return {*self.tasks, *self.defaults}


def is_not_behind(after: Mark, before: Mark) -> bool:
    return (RANK[after.state], after.attempts) >= (RANK[before.state], before.attempts)


def play(rand: Random) -> None:
    """One history that is denser in faults than those that hypothesis likes to make."""
    machine = OneMessage()
    machine.begin(
        task_count=rand.randint(0, 9) and rand.randint(1, 3),
        default_count=rand.randint(0, 2),
        drops_unrouted=rand.random() < 0.5,
        max_attempts=[rand.randint(1, 3) for _ in range(6)],
        max_delay_s=rand.choice([math.inf, 20.0]),
        has_ledger=rand.random() < 0.9,
        is_manifest_fixed=rand.random() < 0.6,
        endings=[rand.choice(ENDINGS) for _ in range(7)],
        grace_s=rand.choice(GRACES_S),
    )
    for _ in range(rand.randint(5, 80)):
        pick = rand.randint(0, 9)
        choice = rand.random()
        if choice < 0.55 and machine.workers:
            machine.advance(pick, rand.choice(OUTCOMES), rand.choice(COUNTS))
        elif choice < 0.80 and machine.receivable():
            machine.receive(pick)
        elif choice < 0.85 and machine.workers:
            machine.crash(pick, rand.random() < 0.5)
        elif choice < 0.87 and machine.workers:
            machine.pause(pick)
        elif choice < 0.89 and machine.copies:
            machine.twin(pick)
        elif choice < 0.92:
            machine.shut_down_or_restart(rand.random() < 0.7)
        elif choice < 0.94 and not machine.is_manifest_fixed:
            machine.change_manifest(rand.choice((*TASKS, *DEFAULTS, LATE)), rand.random() < 0.5)
        else:
            machine.pass_time(rand.choice(SECONDS))
    machine.teardown()


def test_flow_keeps_its_invariants_and_converges_whatever_happens_between_two_steps():
    run_state_machine_as_test(
        OneMessage, settings=settings(max_examples=200, stateful_step_count=60, deadline=None, print_blob=True)
    )


@pytest.mark.parametrize("block", range(8))
def test_flow_keeps_its_invariants_and_converges_in_histories_dense_with_faults(block: int):
    for seed in range(block * 500, block * 500 + 500):
        try:
            play(Random(seed))
        except BaseException as exc:
            exc.add_note(f"replay it with play(Random({seed}))")
            raise
