"""`make check` compares the repository's own application with the one that `mulligan init` lays out."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]
TEMPLATE = "src/mulligan/template"


@pytest.fixture
def repository(tmp_path):
    """A repository with an application, the template and the tool."""
    for name in ("tools", "tasks", "config", TEMPLATE):
        shutil.copytree(REPOSITORY / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("tasks.xml", "main.py", "publisher.py"):
        shutil.copy(REPOSITORY / name, tmp_path)
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", "tasks", "config", TEMPLATE)
    return tmp_path


def git(folder: Path, *arguments: str) -> None:
    subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True)


def compared(folder: Path) -> tuple[int, list[str]]:
    done = subprocess.run(
        [sys.executable, "tools/template.py"], cwd=folder, check=False, capture_output=True, text=True
    )
    return done.returncode, done.stderr.splitlines()


def test_template_is_the_application_of_this_repository():
    assert compared(REPOSITORY) == (0, [])


def test_comparison_leaves_alone_what_git_does_not_know(repository):
    (repository / "tasks/greet.py").write_text("")

    assert compared(repository) == (0, [])


def test_comparison_names_a_sample_that_was_changed_in_one_place_only(repository):
    (repository / "tasks/task3.py").write_text("changed\n")

    assert compared(repository) == (
        1,
        [
            "tasks/task3.py is not what mulligan init lays out. Copy the right one over the other: "
            f"{TEMPLATE}/tasks/task3.py"
        ],
    )


def test_comparison_names_a_task_of_ones_own_that_was_added_to_the_repository(repository):
    (repository / "tasks/greet.py").write_text("")
    git(repository, "add", "tasks/greet.py")

    code, (line,) = compared(repository)

    assert code == 1
    assert line.startswith(f"tasks/greet.py is in the repository, and not in {TEMPLATE}.")


def test_comparison_names_a_file_of_the_template_that_init_leaves_out(repository):
    (repository / TEMPLATE / "tasks/task9.py").write_text("")
    git(repository, "add", TEMPLATE)

    code, (line,) = compared(repository)

    assert code == 1
    assert "mulligan init leaves it out" in line
