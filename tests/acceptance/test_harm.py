"""What a task does to its own process ends that one at most: never the system, never a message."""

import os
import subprocess
import sys

from tests.acceptance.harness.app import App, until

LIMITED = """
import resource

class Limits(Task):
    max_attempts = 2

    def run(self, data, context: TaskContext):
        with effect(data, context):
            if data == "limits":
                resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
"""


def test_task_that_limits_the_size_of_files_ends_its_worker_and_not_the_system(app: App):
    """A disk that failed was told, all workers ended, and again at every start, for the message came back."""
    app.task("limits", LIMITED)
    app.manifest("limits Limits")
    app.send(["limits", "other"])

    system = app.drain(POOL_SIZE=2)

    log = system.log()
    assert "this worker ends, for a task has limited the size of files to 1000 bytes (RLIMIT_FSIZE)" in log
    assert "the storage is broken" not in log
    assert {one.body for one in app.effects("Limits", "end")} == {"limits", "other"}
    assert app.left() == {"requests": 0, "rejects": 0}


CANCELS = """
class Cancels(Task):
    async def run(self, data, context: TaskContext):
        with effect(data, context):
            if data == "cancels" and not os.path.exists("cancelled"):
                open("cancelled", "w").close()
                for one in asyncio.all_tasks():
                    if WHOM in repr(one.get_coro()):
                        one.cancel()
"""


def test_task_that_cancels_a_poller_ends_its_worker_which_is_replaced(app: App):
    """The worker lived on and took nothing any more, without a line of log."""
    app.task("cancels", CANCELS.replace("WHOM", "'Pollers._poll'"))
    app.manifest("cancels Cancels")
    app.settings |= {"POOL_SIZE": 1}
    system = app.start().until_up()

    app.send(["cancels"])
    until(lambda: "a poller was cancelled by a task, and can't continue" in system.log(), "the worker ends")
    app.send(["other"])

    app.until_effect("Cancels", "end", "other")
    system.terminate()
    assert system.wait() == 0


def test_log_whose_reader_stands_still_holds_up_neither_messages_nor_a_stop(app: App):
    """The supervisor hung in writing a line: no lease was extended, SIGTERM did nothing."""
    code = """
    class Talks(Task):
        async def run(self, data, context: TaskContext):
            with effect(data, context):
                pass
    """
    app.task("talks", code)
    app.manifest("talks Talks")
    app.send([f"{number}" for number in range(800)])  # a line each and more, beyond the 64 KiB of a pipe
    reading, writing = os.pipe()
    with subprocess.Popen(
        [sys.executable, "main.py"], cwd=app.folder, env=app._environment({"POOL_SIZE": 1}), stderr=writing,
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
    ) as popen:  # fmt: skip
        os.close(writing)
        try:
            until(lambda: app.count("Talks", "end") == 800, "all are done")
            popen.terminate()
            assert popen.wait(60) == 0
        finally:
            popen.kill()
            os.close(reading)
