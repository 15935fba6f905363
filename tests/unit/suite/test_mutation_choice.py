"""Which mutations `make test` takes."""

import subprocess
from pathlib import Path

import pytest

from tests.mutation.choice import ALWAYS, FEW, changed_files, few
from tests.mutation.mutation import Change, Mutation, load


class Clone:
    """A repository whose branch main has two files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.git("init", "--initial-branch=main")
        self.write("a.py", "b.py")
        self.commit()

    def git(self, *arguments: str) -> None:
        command = ["git", "-c", "user.name=a", "-c", "user.email=a", *arguments]
        subprocess.run(command, cwd=self.folder, check=True, capture_output=True)

    def write(self, *names: str) -> None:
        for name in names:
            path = self.folder / "src" / "mulligan" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("a") as file:
                file.write("x\n")

    def commit(self) -> None:
        self.git("add", ".")
        self.git("commit", "-m", "a change")


@pytest.fixture
def clone(tmp_path):
    return Clone(tmp_path)


def mutation(name: str, file: str) -> Mutation:
    return Mutation(name, "a safety", (0,), (), (Change(file, "x", "y"),))


def test_short_run_takes_the_main_safeties_and_those_of_changed_files():
    main = [mutation(name, "core/flow.py") for name in ALWAYS]
    other, same = mutation("other", "ledger/none.py"), mutation("same", "core/step.py")

    assert few([other, *main, same], {"ledger/none.py"}) == [*main, other]
    assert few([other, *main, same], set()) == main


def test_short_run_has_an_end_when_everything_has_changed():
    many = [mutation(f"m{number}", "core/flow.py") for number in range(100)]

    assert few(many, {"core/flow.py"}) == many[:FEW]


def test_main_safeties_exist():
    assert set(ALWAYS) <= {one.name for one in load()}


def test_changed_files_are_those_of_the_branch_and_of_the_working_tree(clone):
    clone.git("switch", "--create", "work")
    clone.write("core/new.py")
    clone.commit()
    clone.write("b.py")

    assert changed_files(clone.folder) == {"core/new.py", "b.py"}


def test_changed_files_are_none_where_main_has_moved_alone_or_there_is_no_main(clone, tmp_path_factory):
    clone.git("branch", "work")
    clone.write("a.py")
    clone.commit()
    clone.git("switch", "work")

    assert changed_files(clone.folder) == set()
    assert changed_files(tmp_path_factory.mktemp("no-repository")) == set()
