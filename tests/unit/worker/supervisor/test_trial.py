"""A start on trial, with real processes: what a task's file does when it is imported."""

import pytest

from mulligan.settings.model import Settings
from mulligan.worker.supervisor.trial import trial

REAL_TIME = True

TASK = "from mulligan import Task\n\nclass One(Task):\n    def run(self, data):\n        pass\n"


@pytest.fixture
def tried(tmp_path):
    """Try an application whose only task file begins with some code."""

    async def tried(code: str = "", name: str = "One"):
        (tmp_path / "tasks").mkdir()
        (tmp_path / "tasks" / "one.py").write_text(code + TASK)
        (tmp_path / "tasks.xml").write_text(
            f"<tasks><task><filename>one</filename><classname>{name}</classname><default>false</default></task></tasks>\n"
        )
        return await trial(Settings(pool_size=2, log_file=None), tmp_path)

    return tried


async def test_trial_finds_nothing_where_the_tasks_can_be_loaded(tried):
    assert await tried() == []


async def test_trial_finds_the_problem_of_a_manifest_once_for_both_workers(tried):
    (problem,) = await tried(name="Two")

    assert "Two" in problem


async def test_trial_finds_a_file_that_ends_its_process(tried):
    (problem,) = await tried("import os\nos._exit(3)\n")

    assert problem.startswith("a worker that was to load the tasks died meanwhile (exit code 3)")
    assert "Import the files of the folder tasks one by one" in problem
