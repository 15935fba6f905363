"""Processes that tasks start, and what tasks do to their own: it costs no worker, no message and no quick stop."""

import os
import signal
import time

import pytest

from tests.acceptance.harness.family import end_all, family, workers

LIMIT_S = 15.0
"""What the tests wait for takes a second or two; a machine that is busy with other things takes longer."""
QUICK_S = 5.0
"""A stop with nothing to do takes 0.3 s. One that waits for a child takes until SHUTDOWN_S is over, and longer."""

CODE = """
import atexit, multiprocessing, subprocess
from pathlib import Path

def square(number):
    return number * number

def nap():
    time.sleep(600)

def is_first(data):
    try:
        os.close(os.open(os.environ["EFFECT_LOG"] + "." + data, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True

class Quick(Task):
    def accepts(self, message):
        return message.body.startswith(b"quick")

    async def run(self, data, context: TaskContext):
        with effect(data, context):
            pass

class Started(Task):
    def accepts(self, message):
        return message.body.startswith(b"asyncio")

    async def run(self, data, context: TaskContext):
        with effect(data, context):
            if is_first(data):
                child = await asyncio.create_subprocess_exec("sleep", "600")
                note("begun", data, context)
                await child.wait()

class Shell(Task):
    timeout_s, max_attempts = 1, 1

    def accepts(self, message):
        return message.body.startswith((b"shell", b"hangs"))

    def run(self, data, context: TaskContext):
        with effect(data, context):
            if data.startswith("shell"):
                os.system("sleep 600 &")
            else:
                time.sleep(600)

class Forked(Task):
    def accepts(self, message):
        return message.body.startswith(b"fork")

    async def run(self, data, context: TaskContext):
        with effect(data, context):
            if os.fork() == 0:
                time.sleep(600)
                os._exit(0)

class Dies(Task):
    timeout_s = 600

    def accepts(self, message):
        return message.body.startswith(b"dies")

    async def run(self, data, context: TaskContext):
        with effect(data, context):
            os.system("sleep 600 &")
            os.kill(os.getpid(), signal.SIGKILL)

class DiesOnce(Task):
    def accepts(self, message):
        return message.body.startswith(b"once")

    async def run(self, data, context: TaskContext):
        with effect(data, context):
            if is_first(data):
                os.kill(os.getpid(), signal.SIGKILL)

class Pools(Task):
    timeout_s, max_attempts = 8, 2

    def accepts(self, message):
        return message.body.startswith(b"pool")

    def run(self, data, context: TaskContext):
        with effect(data, context), multiprocessing.get_context("fork").Pool(2) as pool:
            assert pool.map(square, [1, 2, 3]) == [1, 4, 9]

class Terminates(Task):
    timeout_s, max_attempts = 8, 1

    def accepts(self, message):
        return message.body.startswith(b"terminate")

    def run(self, data, context: TaskContext):
        with effect(data, context):
            child = multiprocessing.get_context("fork").Process(target=nap)
            child.start()
            child.terminate()
            child.join(5)
            deadline = time.monotonic() + 5
            while child.exitcode is None and time.monotonic() < deadline:
                time.sleep(0.01)  # `start` of another thread has just waited for it, and will say so
            code = child.exitcode
            child.kill()
            assert code == -signal.SIGTERM, code

class Beside(Task):
    def accepts(self, message):
        return message.body.startswith(b"beside")

    def run(self, data, context: TaskContext):
        path = Path(os.environ["EFFECT_LOG"] + ".child")
        if is_first(data):
            path.write_text(str(subprocess.Popen(["sleep", "600"]).pid))
            note("begun", data, context)
            time.sleep(600)
        stat = Path(f"/proc/{path.read_text()}/stat")
        lives = stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"
        note("beside" if lives else "alone", data, context)

class Moves(Task):
    def accepts(self, message):
        return message.body.startswith((b"chdir", b"remove"))

    def run(self, data, context: TaskContext):
        with effect(data, context):
            folder = Path(os.environ["EFFECT_LOG"]).parent / data
            folder.mkdir()
            os.chdir(folder)
            if data.startswith("remove"):
                folder.rmdir()

class Interrupts(Task):
    max_attempts = 1

    def accepts(self, message):
        return message.body.startswith(b"interrupt")

    def run(self, data, context: TaskContext):
        with effect(data, context):
            with subprocess.Popen(["sleep", "600"]) as child:
                try:
                    child.send_signal(signal.SIGINT)
                    assert child.wait(5) == -signal.SIGINT
                finally:
                    child.kill()

class Waits(Task):
    max_attempts = 1

    def accepts(self, message):
        return message.body.startswith(b"wait")

    def run(self, data, context: TaskContext):
        with effect(data, context):
            go_on = os.environ["EFFECT_LOG"] + ".go"
            subprocess.run(["sh", "-c", f"until [ -e {go_on} ]; do sleep 0.05; done"], check=True)

if os.environ.get("LEAVES_WORD"):
    atexit.register(lambda: Path(os.environ["LEAVES_WORD"]).open("a").write(f"bye {os.getpid()}\\n"))
"""
TASKS = (
    "Quick", "Started", "Shell", "Forked", "Dies", "DiesOnce", "Pools", "Terminates", "Beside",
    "Moves", "Interrupts", "Waits",
)  # fmt: skip


@pytest.fixture
def work(app):
    app.task("work", CODE)
    app.manifest(*(f"work {name}" for name in TASKS))
    app.settings |= {"POOL_SIZE": 1, "SHUTDOWN_S": 12}
    yield app
    end_all(lambda: family(app))


def stopped_after_s(system) -> float:
    """SIGTERM; seconds until the end, with exit code 0."""
    began_at = time.monotonic()
    system.terminate()
    assert system.wait() == 0, system.log()[-3000:]
    return time.monotonic() - began_at


@pytest.mark.parametrize("body", ["asyncio", "shell", "fork"])
def test_killed_worker_is_replaced_and_its_message_runs_on_when_a_child_of_a_task_lives(work, until, body):
    system = work.start().until_up()
    work.send([body])
    until(lambda: work.count(what="begun" if body == "asyncio" else "end", body=body), "the child lives")
    (victim,) = workers(system).values()

    os.kill(victim, signal.SIGKILL)
    work.send(["quick"])

    until(lambda: work.count("Quick", "end", "quick"), "another worker works", timeout_s=LIMIT_S)
    assert f"(pid {victim}) died: signal 9" in system.log()
    until(lambda: work.count(what="end", body=body), "the message of the killed one is done", timeout_s=LIMIT_S)
    assert work.dead() == []


@pytest.mark.parametrize("body", ["shell", "fork"])
def test_stop_is_quick_when_a_child_of_a_task_lives(work, body):
    system = work.start().until_up()
    work.send([body])
    work.until_effect(what="end", body=body)

    took_s = stopped_after_s(system)

    assert took_s < QUICK_S


def test_children_that_tasks_left_end_with_their_worker(work, until):
    system = work.start().until_up()
    work.send(["shell", "fork"])
    until(lambda: work.count(what="end") == 2, "both children live")
    (victim,) = workers(system).values()
    left = {one.pid for one in family(work)} - {system.pid, victim}

    os.kill(victim, signal.SIGKILL)

    assert len(left) >= 2
    until(lambda: not left & {one.pid for one in family(work)}, "they have ended, too", timeout_s=LIMIT_S)


def test_children_of_a_killed_worker_have_ended_before_its_message_begins_again(work, until):
    """A subprocess of the first attempt went on beside the second."""
    system = work.start().until_up()
    work.send(["beside"])
    work.until_effect("Beside", "begun")
    (victim,) = workers(system).values()

    os.kill(victim, signal.SIGKILL)

    until(lambda: work.count("Beside", "alone") + work.count("Beside", "beside"), "it runs again", timeout_s=LIMIT_S)
    assert work.count("Beside", "beside") == 0


def test_worker_with_a_task_beyond_its_timeout_is_replaced_when_a_child_of_a_task_lives(work, until):
    system = work.start(SHUTDOWN_S=2).until_up()

    work.send(["shell", "hangs"])
    work.until_effect("Shell", "end", "shell")
    work.until_effect("Shell", "start", "hangs")
    until(lambda: "is replaced: " in system.log(), "the worker is replaced", timeout_s=LIMIT_S)

    work.send(["quick"])
    until(lambda: work.count("Quick", "end", "quick"), "another worker works", timeout_s=LIMIT_S)
    until(work.dead, "the message that hung is buried", timeout_s=LIMIT_S)


def test_death_of_the_process_of_a_suspect_is_told_at_once_when_a_child_of_its_task_lives(work, until):
    system = work.start().until_up()

    work.send(["dies"])

    until(work.dead, "it is buried after its third death", timeout_s=LIMIT_S)
    assert work.count("Dies", "start") == 3
    log = system.log()  # the first death is the worker's, the third the last attempt
    assert log.count("Dies ended its process (signal 9 (SIGKILL))") == 1
    assert "Dies failed permanently" in log
    assert "timed out" not in log


def test_pool_in_a_task_hangs_no_task_and_stops_no_worker(work):
    bodies = [f"pool-{number}" for number in range(30)]
    work.send(bodies)

    log = work.drain(LIMIT_S, POOL_SIZE=2).log()

    assert sorted(one.body for one in work.effects("Pools", "end")) == sorted(bodies)
    assert work.count("Pools", "start") == len(bodies)
    assert "is replaced" not in log
    assert work.dead() == []


def test_terminate_ends_a_process_that_a_task_has_started_and_not_the_worker(work):
    bodies = [f"terminate-{number}" for number in range(20)]
    work.send(bodies)

    log = work.drain(LIMIT_S).log()

    assert sorted(one.body for one in work.effects("Terminates", "end")) == sorted(bodies)
    assert "is replaced" not in log
    assert work.dead() == []


@pytest.mark.parametrize("kind", ["chdir", "remove"])
def test_suspect_ends_when_tasks_have_changed_the_folder_of_every_worker(work, until, kind):
    system = work.start(POOL_SIZE=2).until_up()
    for number in range(50):
        work.send([f"{kind}-{number}-{place}" for place in range(10)])
        until(lambda: not work.left()["requests"], "they are done", timeout_s=LIMIT_S)
        if len({one.pid for one in work.effects("Moves", "end")}) == 2:
            break

    work.send(["once"])

    until(lambda: work.count("DiesOnce", "end", "once"), "the suspect is done", timeout_s=LIMIT_S)
    assert "there is no folder" not in system.log()
    assert stopped_after_s(system) < QUICK_S


def test_atexit_hooks_of_task_files_run_when_the_system_is_stopped(work):
    word = work.folder / "word.txt"
    work.environment["LEAVES_WORD"] = str(word)
    system = work.start(POOL_SIZE=2).until_up()
    pids = set(workers(system).values())

    stopped_after_s(system)

    assert word.exists(), "no hook has run"
    assert {int(line.split()[1]) for line in word.read_text().splitlines()} >= pids


def test_sigint_ends_a_process_that_a_task_has_started(work):
    work.send(["interrupt"])

    work.drain(LIMIT_S)

    assert work.count("Interrupts", "end") == 1
    assert work.dead() == []


def test_sigterm_to_the_whole_group_burns_no_attempt_of_a_task_that_waits_for_its_child(work):
    system = work.start().until_up()
    work.send(["wait"])
    work.until_effect("Waits", "start")

    os.killpg(system.pid, signal.SIGTERM)
    (work.folder / "effects.log.go").touch()

    assert system.wait() == 0
    assert work.count("Waits", "end") == 1
    assert work.dead() == []
