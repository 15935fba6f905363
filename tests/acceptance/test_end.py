"""How the system ends, and how parts of it end: in order, at once, by force."""

import os
import signal
import sys
import time

import pytest

WORK = """
    class Quick(Task):
        async def run(self, data, context: TaskContext):
            with effect(data, context):
                await asyncio.sleep(float(os.environ.get("QUICK_S", "0")))

    class Slow(Task):
        async def run(self, data, context: TaskContext):
            with effect(data, context):
                await asyncio.sleep(float(os.environ.get("SLOW_S", "0")))
"""


@pytest.fixture
def work(app):
    app.task("work", WORK)
    app.manifest("work Quick", "work Slow")
    return app


def test_ctrl_c_lets_running_tasks_end_and_exits_0(work):
    work.environment["SLOW_S"] = "1.5"
    work.publish("m1")
    system = work.start().until_up()
    work.until_effect("Slow", "start")

    system.interrupt()

    assert system.wait() == 0
    assert "stopping (SIGINT): the tasks of 1 message have 7 s to end; Ctrl-C again ends at once" in system.log()
    assert "stopped: 1 done" in system.log()
    assert work.count("Slow", "end") == 1
    assert work.waiting("requests") == work.waiting("rejects") == 0
    assert system.group() == []


def test_second_ctrl_c_ends_at_once_and_loses_nothing(work, until):
    work.environment["SLOW_S"] = "600"
    work.publish("m1")
    system = work.start(SHUTDOWN_S=600).until_up()
    work.until_effect("Quick", "end")
    work.until_effect("Slow", "start")
    until(work.finished, "the end of Quick is recorded")

    system.interrupt()
    until(lambda: "stopping" in system.log(), "the end begins")
    system.interrupt()

    system.wait(60)
    assert system.group() == []
    assert "Traceback" not in system.log()
    assert (
        "info    ending at once (SIGINT again): workers are killed, the tasks of 1 message are cut short, and what is "
        "held is given back"
    ) in system.log()
    assert " error " not in system.log(), "an end that was asked for is not a fault"
    assert " died" not in system.log()
    work.environment["SLOW_S"] = "0"
    again = work.drain()
    assert (work.count("Quick", "end"), work.count("Slow", "end")) == (1, 1)
    assert work.dead() == []
    assert "run in isolation" not in again.log(), "no task is to blame for that end"


def test_worker_that_is_told_to_stop_is_replaced_and_nothing_is_lost(work, until):
    work.environment["SLOW_S"] = "0.05"
    bodies = [f"m{number}" for number in range(300)]
    work.send(bodies)
    system = work.start("--drain").until_up()
    work.until_effect("Slow", "end")

    (stopped, other) = system.workers()
    os.kill(stopped, signal.SIGTERM)

    until(lambda: "is replaced: it received a stop signal of its own" in system.log(), "the worker is replaced")
    assert system.wait() == 0
    assert sorted(one.body for one in work.effects("Slow", "end")) == sorted(bodies)
    assert sorted(one.body for one in work.effects("Quick", "start")) == sorted(bodies)
    assert other != stopped


def test_message_of_a_killed_worker_runs_again_long_before_its_lease_ends(work, until):
    work.environment["SLOW_S"] = "600"
    work.publish("m1")
    system = work.start("--drain", LEASE_S=600).until_up()
    work.until_effect("Slow", "start")
    until(work.finished, "the end of Quick is recorded")
    (start,) = work.effects("Slow", "start")

    os.kill(start.pid, signal.SIGKILL)
    killed_at = time.monotonic()
    until(lambda: work.count("Slow", "start") == 2, "the task begins again")

    print(f"the message of a killed worker ran again after {work.effects('Slow', 'start')[1].at - killed_at:.1f} s")
    assert work.count("Quick", "start") == 1
    assert "was in flight at 1 death of a worker or its host: its tasks run in isolation now" in system.log()
    system.terminate()
    assert system.wait() == 0
    assert work.waiting("requests") + work.waiting("rejects") == 1


def test_workers_end_by_themselves_within_the_lease_when_the_supervisor_is_killed(work, until):
    work.environment["SLOW_S"] = "600"
    work.publish("m1")
    system = work.start(LEASE_S=10).until_up()
    work.until_effect("Quick", "end")
    work.until_effect("Slow", "start")
    until(work.finished, "the end of Quick is recorded")

    system.kill()
    killed_at = time.monotonic()
    until(lambda: not system.group(), "the workers have ended", timeout_s=30)
    took_s = time.monotonic() - killed_at

    print(f"the workers ended {took_s:.1f} s after their supervisor, with a lease of 10 s")
    assert took_s < 10
    work.environment["SLOW_S"] = "0"
    work.drain(LEASE_S=10)
    assert (work.count("Quick", "start"), work.count("Slow", "end")) == (1, 1)
    assert work.waiting("requests") == work.waiting("rejects") == work.waiting("dead") == 0


def test_system_ends_by_itself_after_the_time_that_for_gives(work):
    system = work.start("--for", "0.5")

    assert system.wait() == 0
    assert "stopping (0.5 s are over)" in system.log()


def test_drain_of_an_empty_queue_ends_with_exit_code_0(work):
    system = work.start("--drain")

    assert system.wait() == 0
    assert "stopping (the queues are empty)" in system.log()
    assert "stopped: 0 done, 0 rejected, 0 buried" in system.log()


def test_drain_waits_for_a_message_that_is_delayed(work):
    work.cli("send", "--delay", "2", "later")

    work.drain()

    assert work.count("Slow", "end", "later") == 1


def test_idle_system_with_five_consumers_uses_next_to_no_cpu(work):
    system = work.start(POOL_SIZE=5).until_up()
    time.sleep(1.0)  # let the start settle: what is measured is a time, not a state to wait for
    before_s = sum(process.cpu_s for process in system.group())

    time.sleep(10.0)
    used = (sum(process.cpu_s for process in system.group()) - before_s) / 10.0

    print(f"idle: {used:.2%} of a core in 6 processes")
    system.terminate()
    assert system.wait() == 0
    assert used < 0.03


def test_stop_of_an_idle_system_on_sqs_says_that_it_waits_for_a_receive_and_ends_at_once_when_asked_again(
    work, sqs, until
):
    sqs.point(work)
    system = work.start(SHUTDOWN_S=30).until_up()
    until(lambda: system.log().count("is up:") == 2, "both workers ask for messages")

    system.interrupt()
    told = "stopping (SIGINT): a receive under way can't be cut and ends within 20 s; Ctrl-C again ends at once"
    until(lambda: told in system.log(), "it says what it waits for")
    system.interrupt()

    assert system.wait() == 0
    assert "ending at once (SIGINT again): workers are killed, and what is held is given back" in system.log()
    assert " error " not in system.log()
    assert system.log().rstrip().endswith("stopped: 0 done, 0 rejected, 0 buried")


@pytest.mark.usefixtures("at_terminal")
@pytest.mark.parametrize("command", [["main.py"], ["publisher.py", "s1"], ["-m", "mulligan", "status"]])
def test_ctrl_c_while_the_program_is_imported_is_one_word_and_no_traceback(work, tmp_path, command):
    early = tmp_path / "early"
    early.mkdir()
    # in the place of a package that every command imports
    (early / "typer.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    work.environment["PYTHONPATH"] = str(early)

    told = work.run(sys.executable, *command)

    assert (told.returncode, told.stdout, told.stderr) == (130, "", "interrupted\n")
