"""Messages that were in flight when a worker died. With real child processes, so in real time."""

import asyncio
from pathlib import Path
from textwrap import dedent

import pytest

from mulligan.clock import SystemClock
from mulligan.core import fingerprint
from mulligan.core.event import (
    LeaseLost,
    MessageDeadLettered,
    MessageDone,
    MessageRejected,
    MessageReleased,
    SuspectDied,
    SuspectIsolated,
    TaskExhausted,
    TaskSkipped,
)
from mulligan.core.message import TaskName
from mulligan.core.progress import DONE_AT_FIRST_TRY, FRESH, Mark, Progress
from mulligan.ledger.base import Claim, Granted, Record
from mulligan.ledger.none import NoLedger
from mulligan.settings.model import Settings
from mulligan.worker.ipc.channel import Isolate, Isolated, Setup
from mulligan.worker.ipc.lease_table import Counter, SlotState
from mulligan.worker.isolation.gate import Gate
from tests.integration.worker.service import QUEUES, Recording, Service, task

REAL_TIME = True


@pytest.fixture
async def service():
    made = Service(SystemClock())
    await made.broker.declare(QUEUES, create=True)
    yield made
    await made.close()


@pytest.fixture
def app(tmp_path, monkeypatch):
    """Write the tasks that the child loads, and count their runs in files."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tasks").mkdir()

    def app(code):
        head = "import os, time\nfrom mulligan import Task\n"
        (tmp_path / "tasks" / "one.py").write_text(head + dedent(code))

    return app


def starts(folder, name):
    file = folder / name
    return len(file.read_bytes()) if file.exists() else 0


async def suspect(service, *bodies):
    """Messages whose worker died while their tasks ran, as the supervisor's sweep leaves them."""
    bodies = bodies or ("hello",)
    await service.send(*bodies)
    found = await service.broker.receive(QUEUES.requests, 100, wait_s=0, lease_s=60)
    now = service.clock.now()
    for delivery in found[-len(bodies) :]:
        uid = fingerprint.uid("t", delivery.id, delivery.body, delivery.sent_at)
        await service.ledger.claim([Claim(uid, 0, 0, "dead", now + 60)], now)
        await service.ledger.end([(uid, 0, "dead")])
    await service.broker.release(QUEUES.requests, [(one.receipt, 0.0) for one in found])


def worker(service, *tasks, **more):
    settings = Settings(log_file=None, **more.pop("settings", {}))
    return service.worker(*tasks, setup=Setup(0, settings.for_worker(), 1, 1, 10, str(Path.cwd())), keeps=False, **more)


def unseen(message, context):
    raise AssertionError("a suspect's task must not run in the worker")


async def test_suspect_runs_alone_and_is_done_when_it_was_innocent(service, app, tmp_path):
    app("""
        class One(Task):
            def run(self, body):
                open("one", "a").write(".")
    """)
    one = worker(service, task("One", unseen), starts=False)
    await suspect(service)

    one.start()
    await service.until_empty(within_s=60)

    assert starts(tmp_path, "one") == 1
    assert [event.deaths for event in service.told(SuspectIsolated)] == [1]
    assert len(service.told(MessageDone)) == 1
    assert one.table.used == 0


async def test_suspect_is_buried_after_three_starts_without_an_end_and_its_neighbours_are_done(service, app, tmp_path):
    app("""
        class Kills(Task):
            def run(self, body):
                open("kills", "a").write(".")
                os._exit(0)
        class Good(Task):
            def run(self, body):
                open("good", "a").write(".")
    """)

    async def kills(message, context):
        assert message.text == "innocent"

    good, alert = Recording(), Recording()
    one = worker(service, task("Kills", kills), task("Good", good), task("Alert", alert, is_default=True), starts=False)
    await suspect(service, "poison")
    await service.send("innocent")

    one.start()
    await service.until_empty(within_s=60)

    # one death more was before: in the worker that died
    assert starts(tmp_path, "kills") == 2
    assert starts(tmp_path, "good") == 1
    assert [event.how for event in service.told(SuspectDied)] == ["exit code 0"]
    (exhausted,) = service.told(TaskExhausted)
    assert (exhausted.task, exhausted.error) == ("Kills", "kills its worker (exit code 0)")
    assert [event.failed for event in service.told(MessageDeadLettered)] == [("Kills",)]
    assert [context.message.text for context in alert.contexts] == ["poison"]
    assert good.runs == [("innocent", 1)]
    assert len(service.told(MessageDone)) == 1


async def test_suspect_without_a_ledger_is_what_comes_again(service, app, tmp_path):
    app("""
        class One(Task):
            def run(self, body):
                open("one", "a").write(".")
    """)
    one = worker(service, task("One", unseen), ledger=NoLedger(), starts=False)
    await service.send("hello")
    (delivery,) = await service.broker.receive(QUEUES.requests, 1, wait_s=0, lease_s=60)
    await service.broker.release(QUEUES.requests, [(delivery.receipt, 0.0)])

    one.start()
    await service.until_empty(within_s=60)

    assert starts(tmp_path, "one") == 1
    assert len(service.told(SuspectIsolated)) == 1


async def test_alert_that_kills_its_worker_runs_alone_when_its_message_comes_again_without_a_ledger(
    service, app, tmp_path
):
    """It killed one worker after the other, and there was a dead letter more each time."""
    app("""
        class One(Task):
            def run(self, message):
                return False

        class Alert(Task):
            def run(self, message):
                with open("starts", "a") as file:
                    file.write(".")
                os._exit(7)
    """)
    service.ledger = NoLedger()
    await service.send("hello")
    (found,) = await service.broker.receive(QUEUES.requests, 1, wait_s=0, lease_s=60)
    await service.broker.release(QUEUES.requests, [(found.receipt, 0.0)])  # its worker died

    worker(service, task("One", unseen, attempts=1), task("Alert", unseen, is_default=True, attempts=1))
    await service.until_empty(within_s=60)

    assert starts(tmp_path, "starts") == 2  # one death more was before
    assert await service.totals() == (0, 0, 1)


async def test_suspect_is_not_shown_to_accepts_in_the_worker(service, app, tmp_path):
    """An `accepts` that ends its process ended one worker after the other."""
    app("""
        class Picky(Task):
            def accepts(self, message):
                return False
            def run(self, body):
                open("picky", "a").write(".")
        class One(Task):
            def run(self, body):
                open("one", "a").write(".")
    """)
    asked = []
    one = worker(service, task("Picky", unseen, accepts=asked.append), task("One", unseen), starts=False)
    await suspect(service)

    one.start()
    await service.until_empty(within_s=60)

    assert asked == []
    assert (starts(tmp_path, "picky"), starts(tmp_path, "one")) == (0, 1)
    assert [event.task for event in service.told(TaskSkipped)] == ["Picky"]


async def test_suspect_that_no_task_takes_is_buried(service, app):
    app("""
        class Picky(Task):
            def accepts(self, message):
                return False
            def run(self, body):
                pass
    """)
    one = worker(service, task("Picky", unseen, accepts=lambda _: True), starts=False)
    await suspect(service)

    one.start()
    await service.until_empty(within_s=60)

    assert len(service.told(MessageDeadLettered)) == 1
    assert service.told(MessageDone) == []


async def test_message_is_a_suspect_while_accepts_is_asked(service):
    standings = []

    def accepts(message):
        standings.extend(holding.standing for holding in one.table.holdings())
        return True

    one = worker(service, task("One", Recording(), accepts=accepts), stages=(0,), starts=False)
    await service.send("hello")

    one.start()
    await service.until_empty(within_s=60)

    assert standings[0] is SlotState.RUNNING


async def test_worker_goes_on_when_accepts_exits(service):
    def accepts(message):
        raise SystemExit(3)

    one = worker(service, task("One", Recording(), accepts=accepts, backoff_s=0.01))
    await service.send("hello")

    await service.until_empty(within_s=60)

    assert service.told(TaskExhausted)[0].error.startswith("SystemExit: 3")
    assert one.failed == []


async def test_suspects_attempt_is_ended_when_its_lease_is_lost(service, app, tmp_path):
    app("""
        class One(Task):
            def run(self, body):
                open("begun", "w").close()
                time.sleep(100)
    """)
    one = worker(service, task("One", unseen, timeout_s=200.0), stages=(0,), starts=False)
    await suspect(service)
    one.start()
    await service.until((tmp_path / "begun").exists, within_s=30)
    (holding,) = one.table.holdings()

    one.pipelines[0].dispatcher.lose(holding.slot, holding.sequence)
    async with asyncio.timeout(10):
        await service.until(lambda: one.table.used == 0)

    assert len(service.told(LeaseLost)) == 1
    assert one.in_flight == 0
    assert service.told(SuspectDied, TaskExhausted) == []
    assert [name for name, _ in one.network.calls if name in ("ack", "release", "send")] == []


async def test_suspect_whose_turn_comes_after_the_end_of_its_claim_is_not_started(service, app, tmp_path):
    app("""
        class One(Task):
            def run(self, body):
                with open("begun", "a") as file:
                    file.write(body)
                while not os.path.exists("go"):
                    time.sleep(0.01)
    """)
    one = worker(service, task("One", unseen, timeout_s=200.0), stages=(0,), starts=False, lease_s=3.0)
    one.network.faults["receive"] = [None, *[asyncio.Event().wait] * 50]
    await suspect(service, "a")
    await suspect(service, "b")
    one.start()
    await service.until((tmp_path / "begun").exists, within_s=30)
    watch = one.pipelines[0].watch
    await service.until(lambda: not any(watch.holds(flight) for flight in one.flights), within_s=30)

    (tmp_path / "go").touch()
    await service.until(lambda: service.told(LeaseLost), within_s=10)

    assert (tmp_path / "begun").read_text() == "a"
    assert service.told(LeaseLost)[0].reason == "its claim had run out before its tasks could start"


async def silent(service, body, *, deaths=None, marks=()):
    """A message whose claim has run out: nothing was heard again of who had it."""
    await service.send(body)
    found = await service.broker.receive(QUEUES.requests, 100, wait_s=0, lease_s=60)
    delivery = found[-1]
    uid = fingerprint.uid("t", delivery.id, delivery.body, delivery.sent_at)
    now = service.clock.now()
    await service.ledger.claim([Claim(uid, 0, 0, "silent", now - 1)], now)
    if deaths is not None:
        progress = Progress(dict(marks), deaths=deaths)
        await service.ledger.save([Record(uid, 0, "silent", progress)])
    await service.broker.release(QUEUES.requests, [(one.receipt, 0.0) for one in found])


async def test_messages_of_a_dead_host_run_side_by_side_among_others(service, app):
    """They were taken over one at a time, alone: 300 attempts of 3 s took four workers six minutes."""
    together = asyncio.Event()
    one = Recording()

    async def meets(message, context):
        await one(message, context)
        if len(one.runs) == 3:
            together.set()
        await together.wait()

    for body in ("a", "b", "c"):
        await silent(service, body)

    worker(service, task("One", meets))
    await service.until_empty(within_s=60)

    assert sorted(one.runs) == [("a", 1), ("b", 1), ("c", 1)]
    assert [context.may_repeat for context in one.contexts] == [True] * 3
    assert service.told(SuspectIsolated) == []
    assert len(service.told(MessageDone)) == 3


async def test_message_whose_claims_ran_out_twice_runs_alone(service, app, tmp_path):
    app("""
        class One(Task):
            def run(self, body):
                open("one", "a").write(".")
    """)
    await silent(service, "hello", deaths=-1)

    worker(service, task("One", unseen))
    await service.until_empty(within_s=60)

    assert starts(tmp_path, "one") == 1
    assert len(service.told(SuspectIsolated)) == 1


async def test_poison_is_buried_when_nothing_was_heard_of_its_host_for_the_third_time_it_was_counted(
    service, app, tmp_path
):
    """It took one host down after the other, for ever."""
    app("""
        class Good(Task):
            def run(self, body):
                open("good", "a").write(".")
        class Kills(Task):
            def run(self, body):
                open("kills", "a").write(".")
    """)
    # of two that were due, the one that was due first had begun
    marks = {TaskName("Good"): Mark(due_at=2.0), TaskName("Kills"): Mark(due_at=1.0)}
    await silent(service, "poison", deaths=-3, marks=marks.items())

    worker(service, task("Good", unseen), task("Kills", unseen))
    await service.until_empty(within_s=60)

    (exhausted,) = service.told(TaskExhausted)
    assert exhausted.task == "Kills"
    assert exhausted.error == "kills its worker (nothing was heard of it again, nor of its worker)"
    assert (starts(tmp_path, "kills"), starts(tmp_path, "good")) == (0, 1)
    assert [event.failed for event in service.told(MessageDeadLettered)] == [("Kills",)]


async def test_start_of_a_suspect_is_on_record_before_it_is_made_and_its_end_takes_it_back(service, app, tmp_path):
    app("""
        class One(Task):
            def run(self, body):
                open("begun", "w").close()
                while not os.path.exists("go"):
                    time.sleep(0.01)
                raise ValueError("no")
    """)
    one = worker(service, task("One", unseen, backoff_s=300.0), starts=False)
    await suspect(service)
    one.start()
    await service.until((tmp_path / "begun").exists, within_s=30)
    ((uid, generation),) = [(flight.message.uid, flight.generation) for flight in one.flights]
    (at_work,) = await service.ledger.look([(uid, generation)])

    (tmp_path / "go").touch()
    await service.until(lambda: service.told(MessageRejected), within_s=30)

    assert at_work.progress.deaths == -2
    (after,) = await service.ledger.look([(uid, generation)])
    assert after.progress.deaths == 0
    assert one.table.used == 0


async def test_start_of_a_suspect_counts_as_no_death_when_its_worker_ends_in_order(service, app, tmp_path):
    app("""
        class One(Task):
            def run(self, body):
                open("begun", "w").close()
                time.sleep(100)
    """)
    one = worker(service, task("One", unseen, timeout_s=200.0), starts=False)
    await suspect(service)
    one.start()
    await service.until((tmp_path / "begun").exists, within_s=30)
    ((uid, generation),) = [(flight.message.uid, flight.generation) for flight in one.flights]

    await one.drain(0.0)

    now = service.clock.now()
    (answer,) = await service.ledger.claim([Claim(uid, generation, 0, "next", now + 60)], now)
    assert answer == Granted(Progress({TaskName("One"): FRESH}, deaths=1))


async def test_suspects_beyond_the_line_of_one_worker_are_run_by_another(service, app, tmp_path):
    """The last ones stood in line at one worker, for minutes, while the others had nothing to do."""
    app("""
        class One(Task):
            def run(self, body):
                open(f"by{os.getppid()}", "a").write(".")
                time.sleep(0.3)
    """)
    await suspect(service, *[f"message {number}" for number in range(12)])
    first, second = (worker(service, task("One", unseen), stages=(0,), starts=False, capacity=20) for _ in range(2))
    first.start()
    await service.until(lambda: first.in_flight, within_s=30)

    second.start()
    await service.until_empty(within_s=120)

    assert len(service.told(MessageDone)) == 12
    assert {event.reason for event in service.told(MessageReleased)} == {"another worker may run it alone sooner"}
    ran = [worker.table.count(Counter.DONE) for worker in (first, second)]
    assert sum(ran) == 12
    assert min(ran) >= 3


async def test_suspects_stay_in_line_when_their_queue_would_move_them_away(service, app, tmp_path):
    app("""
        class One(Task):
            def run(self, body):
                open("one", "a").write(".")
                time.sleep(0.3)
    """)
    await suspect(service, *[f"message {number}" for number in range(5)])

    worker(service, task("One", unseen), stages=(0,), receives=4)
    await service.until_empty(within_s=60)

    assert starts(tmp_path, "one") == 5
    assert service.told(MessageReleased) == []


async def test_middleware_is_around_the_attempt_of_a_suspect_too(service, app, tmp_path):
    """It was around every attempt but those in a process of their own."""
    app("""
        class One(Task):
            def run(self, body):
                open("order", "a").write("run ")
    """)
    (tmp_path / "around_each.py").write_text(
        dedent("""
            async def outer(call_next, context):
                open("order", "a").write(f"outer {context.attempt} ")
                return await call_next()

            async def inner(call_next, context):
                open("order", "a").write("inner ")
                return await call_next()
        """)
    )
    settings = {"middleware": ("around_each:outer", "around_each:inner")}
    one = worker(service, task("One", unseen), stages=(0,), starts=False, settings=settings)
    await suspect(service)

    one.start()
    await service.until_empty(within_s=30)

    assert (tmp_path / "order").read_text() == "outer 1 inner run "


async def test_gate_is_left_when_the_end_of_a_suspects_task_is_on_record_and_not_before(service, app):
    """The next one may take the host down, and the one that had ended would be held to have done so."""
    app("""
        class One(Task):
            def run(self, body): ...
    """)
    sent, is_recorded = [], asyncio.Event()
    gate = Gate(sent.append)
    one = worker(service, task("One", unseen), stages=(0,), starts=False, gate=gate)
    one.ledger.faults["save"] = [None, is_recorded.wait]
    await suspect(service)
    one.start()
    await service.until(lambda: sent, within_s=30)
    gate.granted(1)
    await service.until(lambda: one.ledger.count("save") == 2, within_s=30)
    before = list(sent)

    is_recorded.set()
    await service.until_empty(within_s=30)

    assert before == [Isolate(1, False)]
    assert sent == [Isolate(1, False), Isolated(1)]


async def test_suspect_is_held_to_have_started_nothing_while_it_waits_for_its_next_task(service, app):
    """Its host may die of another one meanwhile, and it was blamed for that."""
    app("""
        class One(Task):
            def run(self, body): ...
        class Two(Task):
            def run(self, body): ...
    """)
    sent = []
    gate = Gate(sent.append)
    one = worker(service, task("One", unseen), task("Two", unseen), stages=(0,), starts=False, gate=gate)
    await suspect(service)
    one.start()
    await service.until(lambda: sent, within_s=30)

    gate.granted(1)
    await service.until(lambda: sent[1:] == [Isolate(2, False), Isolated(1)], within_s=30)

    ((uid, generation),) = [(flight.message.uid, flight.generation) for flight in one.flights]
    (known,) = await service.ledger.look([(uid, generation)])
    assert known.progress == Progress({TaskName("One"): DONE_AT_FIRST_TRY, TaskName("Two"): FRESH}, deaths=1)


@pytest.mark.parametrize(("deaths", "is_last"), [(1, False), (2, True)])
async def test_gate_is_asked_for_a_start_without_others_when_it_is_the_last_one(service, app, deaths, is_last):
    app("""
        class One(Task):
            def run(self, body): ...
    """)
    sent = []
    one = worker(service, task("One", unseen), stages=(0,), starts=False, gate=Gate(sent.append))
    await silent(service, "hello", deaths=-deaths)

    one.start()
    await service.until(lambda: sent, within_s=30)

    assert sent == [Isolate(1, is_last)]


async def test_gate_is_left_by_all_of_a_suspect_whose_claim_is_lost_between_two_tasks(service, app):
    """A worker on which that had happened held up every last start on its host until it ended."""
    app("""
        class One(Task):
            def run(self, body): ...
        class Two(Task):
            def run(self, body): ...
    """)
    sent, may_answer = [], asyncio.Event()
    gate = Gate(sent.append)
    one = worker(service, task("One", unseen), task("Two", unseen), stages=(0,), starts=False, gate=gate)
    one.ledger.faults["save"] = [None, may_answer.wait]
    await suspect(service)
    one.start()
    await service.until(lambda: sent, within_s=30)
    gate.granted(1)
    await service.until(lambda: len(sent) == 2, within_s=30)
    gate.granted(2)
    await service.until(
        lambda: any(flight.alone is not None and flight.alone.start for flight in one.flights), within_s=30
    )
    (flight,) = one.flights

    one.pipelines[0].dispatcher.lose(flight.slot, one.table.sequence(flight.slot))
    await service.until(lambda: Isolated(2) in sent, within_s=30)
    may_answer.set()
    await service.until(lambda: one.table.used == 0, within_s=30)

    assert sorted(message.number for message in sent if isinstance(message, Isolated)) == [1, 2]


async def test_suspect_is_not_started_when_its_worker_stood_still_once_its_start_was_on_record(service, app, tmp_path):
    """Another worker had it by then, and both ran it."""
    app("""
        class One(Task):
            def run(self, body):
                open("one", "a").write(".")
    """)
    one = worker(service, task("One", unseen), stages=(0,), starts=False)

    async def stand_still():
        (flight,) = one.flights
        flight.claimed_until = 0.0

    one.ledger.faults["save"] = [stand_still]
    await suspect(service)

    one.start()
    await service.until(lambda: service.told(LeaseLost), within_s=30)

    assert starts(tmp_path, "one") == 0
    assert [event.reason for event in service.told(LeaseLost)] == ["its claim had run out before its tasks could start"]
