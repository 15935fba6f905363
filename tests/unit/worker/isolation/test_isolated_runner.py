"""With real child processes, so in real time."""

import asyncio
import os
import resource
from pathlib import Path
from textwrap import dedent

import pytest

from mulligan.core.lifecycle import Phase, Report
from mulligan.core.message import Message, TaskName, Typed
from mulligan.core.outcome import INTERRUPTED, SUCCEEDED, Died, Failed, Interrupted, Skipped, TimedOut
from mulligan.core.policy import Policy
from mulligan.core.progress import Progress, at_rest
from mulligan.settings.model import Settings
from mulligan.tasks.registry import LoadedTask
from mulligan.worker.ipc import build
from mulligan.worker.ipc.channel import OtherVersion, Setup
from mulligan.worker.isolation.gate import Gate
from mulligan.worker.isolation.isolated_handle import isolated_handles
from mulligan.worker.isolation.isolated_runner import IsolatedRunner
from mulligan.worker.reports import Reports
from mulligan.worker.system_host import SystemHost

REAL_TIME = True
CANT = "it was in flight when a worker died, and can't be run alone:"


class Ends:
    """Acts as the dispatcher and the recorder do: notes ends, and says at once that a start is on record."""

    def __init__(self, gate):
        self.gate = gate
        self.ends = []
        self.starts = []
        self.changed = asyncio.Event()
        self.records_starts = True

    def handle(self, report, flights):
        (flight,) = flights
        if report is Report.STARTING:
            self.starts.append(flight)
            if self.records_starts:
                self.record(flight)
        else:
            assert report is Report.ENDED_ALONE
            result, flight.alone.result = flight.alone.result, None
            self.gate.ended(flight.alone)
            flight.progress = flight.saved = at_rest(flight.progress)
            self.gate.let_others(flight)
            self.ends.append((str(result.task.name), result.outcome, result.is_last))
        self.changed.set()

    def record(self, flight):
        flight.saved = flight.progress
        flight.alone.answer(may_start=True)

    async def until(self, count):
        return await self._until(lambda: self.ends, count)

    async def until_starting(self, count):
        return await self._until(lambda: self.starts, count)

    async def _until(self, found, count):
        async with asyncio.timeout(30):
            while len(found()) < count:
                self.changed.clear()
                await self.changed.wait()
        return found()


@pytest.fixture
async def gate():
    return Gate()


@pytest.fixture
async def ends(gate):
    return Ends(gate)


@pytest.fixture
def app(tmp_path, monkeypatch):
    """Write the application's one task file, which the child loads from its current folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tasks").mkdir()

    def app(code):
        head = "import asyncio, os, signal, sys, time\nfrom mulligan import GiveUp, Message, Retry, Skip, Task\n"
        (tmp_path / "tasks" / "one.py").write_text(head + dedent(code))

    return app


@pytest.fixture
async def make_runner(ends, gate, events, watch, failed):
    made = []

    def make(isolated=1, changed=lambda _: None):
        setup = Setup(0, Settings(log_file=None).for_worker(), 1, 1, 10, str(Path.cwd()), isolated=isolated)
        reports = Reports()
        reports.connect(ends.handle)
        processes = isolated_handles(SystemHost(), setup, events.append, changed=changed)
        made.append(IsolatedRunner(processes, reports, gate, watch, failed.append))
        return made[-1]

    yield make
    for runner in made:
        await runner.close()
    assert failed == []


@pytest.fixture
async def runner(make_runner):
    return make_runner()


@pytest.fixture
def make_suspect(make_flight):
    def make_suspect(*tasks):
        """A flight that a worker died with, so that each start of its tasks is recorded."""
        flight = make_flight(*tasks)
        flight.progress = flight.carried = flight.saved = Progress(flight.progress.marks, deaths=1)
        return flight

    return make_suspect


def named(*names, timeout_s=20.0, **more):
    """What the worker knows of the tasks; their code is run in the child only."""
    policy = Policy(timeout_s=timeout_s)
    return [LoadedTask(TaskName(name), policy, False, False, True, lambda *_: 1 / 0, **more) for name in names]


async def test_runner_runs_one_task_after_the_other_in_one_child(app, runner, ends, make_flight, tmp_path):
    app("""
        class A(Task):
            def run(self, body, context):
                open("log", "a").write(f"A {body} {context.attempt} {os.getpid()}\\n")
        class B(Task):
            async def run(self, body, context):
                await asyncio.sleep(0)
                open("log", "a").write(f"B {body} {context.attempt} {os.getpid()}\\n")
    """)

    runner.put(make_flight("A", "B"), named("A", "B"))

    assert await ends.until(2) == [("A", SUCCEEDED, False), ("B", SUCCEEDED, True)]
    first, second = ((tmp_path / "log").read_text()).splitlines()
    assert first.startswith("A hello 1 ")
    assert second.startswith("B hello 1 ")
    assert first.split()[-1] == second.split()[-1]


@pytest.mark.parametrize(
    ("code", "how"),
    [
        ("os._exit(0)", "exit code 0"),
        ("os._exit(7)", "exit code 7"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", "signal 11 (SIGSEGV)"),
        ("os.abort()", "signal 6 (SIGABRT)"),
    ],
)
async def test_runner_tells_how_a_task_ended_its_process(app, runner, ends, make_flight, code, how):
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    app(f"""
        class Kills(Task):
            def run(self, body):
                {code}
        class Good(Task):
            def run(self, body):
                pass
    """)

    runner.put(make_flight("Kills", "Good"), named("Kills", "Good"))

    assert await ends.until(1) == [("Kills", Died(how), True)]


async def test_runner_starts_no_task_of_a_message_whose_claim_has_run_out(app, runner, ends, make_flight, tmp_path):
    app("""
        class A(Task):
            def run(self, body):
                open("started", "w").close()
    """)
    flight = make_flight("A", "B")
    flight.claimed_until = asyncio.get_running_loop().time()

    runner.put(flight, named("A", "B"))

    assert await ends.until(1) == [("A", INTERRUPTED, True)]
    assert not (tmp_path / "started").exists()


async def test_runner_starts_no_task_whose_claim_ran_out_while_its_start_was_recorded(
    app, runner, ends, make_suspect, tmp_path
):
    app("""
        class A(Task):
            def run(self, body):
                open("started", "w").close()
    """)
    ends.records_starts = False
    suspect = make_suspect("A")
    runner.put(suspect, named("A"))
    await ends.until_starting(1)

    suspect.claimed_until = asyncio.get_running_loop().time()
    ends.record(suspect)

    assert await ends.until(1) == [("A", INTERRUPTED, True)]
    assert not (tmp_path / "started").exists()


async def test_runner_starts_no_task_that_left_tasks_xml_since_the_worker_started_and_blames_nobody(
    app, runner, ends, make_flight
):
    app("""
        class Good(Task):
            def run(self, body):
                pass
    """)

    runner.put(make_flight("Gone", "Good"), named("Gone", "Good"))

    assert await ends.until(2) == [
        ("Gone", Interrupted(lacks_task=True), False),
        ("Good", SUCCEEDED, True),
    ]


async def test_runner_runs_as_many_suspects_side_by_side_as_it_may_have_processes(app, make_runner, ends, make_flight):
    """The messages of a dead worker were taken over one at a time."""
    app("""
        class Meets(Task):
            def run(self, body, context):
                open(f"here{os.getpid()}", "w").close()
                while len([name for name in os.listdir() if name.startswith("here")]) < 2:
                    time.sleep(0.01)
    """)
    runner = make_runner(isolated=2)

    runner.put(make_flight("Meets"), named("Meets"))
    runner.put(make_flight("Meets"), named("Meets"))

    assert await ends.until(2) == [("Meets", SUCCEEDED, True), ("Meets", SUCCEEDED, True)]


async def test_runner_starts_no_task_before_it_is_on_record_that_it_may(app, runner, ends, make_suspect, tmp_path):
    app("""
        class One(Task):
            def run(self, body):
                open("started", "a").write(body)
    """)
    ends.records_starts = False
    runner.put(make_suspect("One"), named("One"))
    runner.put(make_suspect("One"), named("One"))
    (lost,) = await ends.until_starting(1)
    lost.alone.answer(may_start=False)
    _, second = await ends.until_starting(2)
    assert not (tmp_path / "started").exists()

    ends.record(second)

    assert await ends.until(2) == [("One", INTERRUPTED, True), ("One", SUCCEEDED, True)]
    assert (tmp_path / "started").read_text() == "hello"


async def test_runner_is_closed_while_a_start_waits_for_its_record(app, runner, ends, make_suspect):
    app("""
        class One(Task):
            def run(self, body): ...
    """)
    ends.records_starts = False
    runner.put(make_suspect("One"), named("One"))
    await ends.until_starting(1)

    async with asyncio.timeout(20):
        await runner.close()

    assert ends.ends == [("One", INTERRUPTED, True)]


async def test_rest_is_asked_for_what_is_beyond_the_line_and_nothing_before(make_runner, make_flight):
    runner = make_runner(isolated=2)
    rests = []

    for _ in range(9):
        rests.append(runner.rest_s())
        runner.put(make_flight("One"), named("One"))

    # two begin at once, four wait in line; an attempt is taken to last a second
    assert rests == [0.0] * 6 + [2.0, 2.5, 3.0]


async def test_runner_starts_another_child_after_a_death(app, runner, ends, make_flight):
    app("""
        class One(Task):
            def run(self, body, context):
                if context.attempt == 1 and not os.path.exists("died"):
                    open("died", "w").close()
                    os._exit(1)
    """)
    flight = make_flight("One")

    runner.put(flight, named("One"))
    await ends.until(1)
    runner.put(flight, named("One"))

    assert await ends.until(2) == [("One", Died("exit code 1"), True), ("One", SUCCEEDED, True)]


async def test_runner_kills_a_task_that_hangs_at_its_timeout(app, runner, ends, make_flight):
    app("""
        class Hangs(Task):
            def run(self, body):
                signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
                while True:
                    pass
    """)

    runner.put(make_flight("Hangs"), named("Hangs", timeout_s=0.5))

    assert await ends.until(1) == [("Hangs", TimedOut(0.5), True)]


async def test_runner_does_not_count_the_childs_start_as_time_of_the_task(app, runner, ends, make_flight):
    """A task with a timeout below the time that the tasks take to load timed out whatever it did."""
    app("""
        time.sleep(1.0)
        class Quick(Task):
            def run(self, body):
                pass
    """)

    runner.put(make_flight("Quick"), named("Quick", timeout_s=0.5))

    assert await ends.until(1) == [("Quick", SUCCEEDED, True)]


async def test_runner_waits_for_a_file_that_somebody_is_just_writing(
    app, runner, ends, events, make_flight, monkeypatch
):
    monkeypatch.setattr("mulligan.worker.isolation.isolated_handle._AGAIN_S", 0.01)
    app("class One(Task:\n")
    runner.put(make_flight("One"), named("One"))
    async with asyncio.timeout(30):
        while not events:
            await asyncio.sleep(0)

    app("class One(Task):\n    def run(self, body):\n        pass\n")

    assert await ends.until(1) == [("One", SUCCEEDED, True)]


async def test_runner_ends_the_attempt_of_a_suspect_whose_file_can_not_be_loaded_for_good(
    app, runner, ends, events, make_flight, monkeypatch
):
    """It went round for ever: neither done nor dead, without an alert, its attempts not counted."""
    monkeypatch.setattr("mulligan.worker.isolation.isolated_handle._AGAIN_S", 0.01)
    app("class One(Task:\n")

    runner.put(make_flight("One"), named("One"))

    [(_, outcome, is_last)] = await ends.until(1)
    assert isinstance(outcome, Failed)
    assert outcome.error.startswith(f"{CANT} tasks/one.py line 3: ")
    assert is_last
    assert [event.tries_left for event in events] == [3, 2, 1, 0]


async def test_runner_understands_failures_retry_give_up_and_skip(app, runner, ends, make_flight):
    app("""
        class Fails(Task):
            def run(self, body):
                raise ValueError("no")
        class Retries(Task):
            def run(self, body):
                raise Retry(after_s=5, reason="busy")
        class GivesUp(Task):
            async def run(self, body):
                raise GiveUp("no such customer")
        class Skips(Task):
            def run(self, body):
                raise Skip("not ours")
        class Exits(Task):
            def run(self, body):
                sys.exit(3)
    """)
    names = ("Fails", "Retries", "GivesUp", "Skips", "Exits")

    runner.put(make_flight(*names), named(*names))

    outcomes = {name: outcome for name, outcome, _ in await ends.until(5)}
    assert outcomes["Fails"].error.startswith("ValueError: no\n  tasks/one.py line 6 in run")
    assert outcomes["Retries"] == Failed("busy", retry_after_s=5.0)
    assert outcomes["GivesUp"] == Failed("no such customer", is_final=True)
    assert outcomes["Skips"] == Skipped("not ours")
    assert outcomes["Exits"].error.startswith("SystemExit: 3")


async def test_runner_asks_a_tasks_own_backoff_function(app, runner, ends, make_flight):
    app("""
        class One(Task):
            def backoff(attempts):
                return attempts * 100
            backoff = staticmethod(backoff)
            def run(self, body):
                return False
    """)

    runner.put(make_flight("One"), named("One"))

    assert await ends.until(1) == [("One", Failed("returned False", retry_after_s=100.0), True)]


async def test_runner_does_not_take_odd_characters_in_an_error_for_a_death(app, runner, ends, make_flight):
    app("""
        class One(Task):
            def run(self, body):
                raise ValueError("half a pair: \\ud83d")
    """)

    runner.put(make_flight("One"), named("One"))

    ((_, outcome, _),) = await ends.until(1)
    assert isinstance(outcome, Failed)
    assert outcome.error.startswith("ValueError: half a pair: ")


async def test_runner_hands_the_task_the_whole_message(app, runner, ends, make_flight):
    app("""
        class One(Task):
            def run(self, message: Message):
                assert message.body == b"\\xff\\x00body", message.body
                names = {name: getattr(one, "value", one) for name, one in message.attributes.items()}
                assert names == {"text": "\\u00fc", "bytes": b"\\xff", "number": "1.50", "half": "\\ud83d"}, names
                assert message.attributes["number"].kind == "Number"
                assert message.sent_at == 12.5
    """)
    flight = make_flight("One")
    attributes = {"text": "ü", "bytes": b"\xff", "number": Typed("Number", "1.50"), "half": "\ud83d"}
    flight.message = Message(flight.message.uid, b"\xff\x00body", attributes, 12.5)

    runner.put(flight, named("One"))

    assert await ends.until(1) == [("One", SUCCEEDED, True)]


async def test_runner_interrupts_what_runs_and_what_waits(app, runner, ends, make_flight, tmp_path):
    os.mkfifo(tmp_path / "begun")
    app("""
        class Slow(Task):
            def run(self, body):
                open("begun", "w").close()
                time.sleep(100)
    """)
    runner.put(make_flight("Slow"), named("Slow", timeout_s=200.0))
    runner.put(make_flight("Slow"), named("Slow", timeout_s=200.0))
    # opening it ends when the task opens its own end
    await asyncio.to_thread((tmp_path / "begun").read_bytes)

    await runner.close()

    assert ends.ends == [("Slow", INTERRUPTED, True), ("Slow", INTERRUPTED, True)]


async def test_runner_interrupts_what_has_not_been_started(app, runner, ends, make_flight):
    app("""
        class One(Task):
            def run(self, body):
                time.sleep(100)
    """)
    runner.put(make_flight("One"), named("One", timeout_s=60.0))
    await asyncio.sleep(0)

    async with asyncio.timeout(20):
        await runner.close()

    assert ends.ends == [("One", INTERRUPTED, True)]


async def test_runner_passes_over_a_flight_that_was_lost_while_it_waited(app, runner, ends, make_flight):
    app("""
        class One(Task):
            def run(self, body):
                pass
    """)
    flight = make_flight("One")
    flight.phase = Phase.LOST

    runner.put(flight, named("One"))

    assert await ends.until(1) == [("One", INTERRUPTED, True)]


async def test_runner_goes_on_when_no_child_could_be_started(app, runner, ends, make_flight, monkeypatch):
    """No more processes or memory: the message was never spoken of again, and kept its slot."""
    app("""
        class One(Task):
            def run(self, body):
                pass
    """)
    monkeypatch.setattr("mulligan.worker.isolation.isolated_handle._AGAIN_S", 0.01)
    monkeypatch.setattr("sys.executable", "/no/such/python")

    runner.put(make_flight("One"), named("One"))

    [(_, outcome, _)] = await ends.until(1)
    assert "no process can be started: [Errno 2] No such file or directory: '/no/such/python'" in outcome.error


async def test_runner_ends_its_child_when_it_is_closed(app, runner, ends, make_flight):
    app("""
        class One(Task):
            def run(self, body):
                pass
    """)
    runner.put(make_flight("One"), named("One"))
    await ends.until(1)
    child = runner._processes[0]._child

    await runner.close()

    assert child.returncode is not None


async def test_runner_tells_that_its_child_is_of_another_build_and_burns_no_attempt(
    app, make_runner, ends, make_flight, monkeypatch
):
    """A suspect went to a program that was installed meanwhile."""
    app("""
        class A(Task):
            def run(self, body): ...
    """)
    told = []
    monkeypatch.setattr(build, "OURS", "0" * 16)
    made = make_runner(changed=told.append)

    made.put(make_flight("A"), named("A"))
    (end,) = await ends.until(1)
    await made.close()

    assert end == ("A", INTERRUPTED, True)
    assert [type(one) for one in told] == [OtherVersion]


async def test_runner_runs_a_suspect_in_a_fresh_child_when_the_one_before_left_a_thread_in_its_own(
    app, runner, ends, make_flight
):
    """A timer of the guilty one ended the innocent one's process, which became a dead letter for it."""
    app("""
        import threading
        class Arms(Task):
            def run(self, body):
                threading.Timer(0.5, os._exit, (3,)).start()
        class Innocent(Task):
            def run(self, body):
                time.sleep(1.0)
    """)

    runner.put(make_flight("Arms"), named("Arms"))
    runner.put(make_flight("Innocent"), named("Innocent"))

    assert await ends.until(2) == [("Arms", SUCCEEDED, True), ("Innocent", SUCCEEDED, True)]
