"""What a task does to its own process ends that one at most: never the system, never a message."""

from tests.acceptance.app import App

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
