"""`tools/interpreters.sh`: which interpreters it finds, and what it runs on them. They are played by scripts."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]
TOOLS = ("awk", "bash", "dirname", "git", "grep", "mktemp", "rm", "sh", "sort")
PYTHON = """#!{python}
import os, sys, sysconfig
sys.version = "{version} (main) [GCC]"
sys.version_info = type("Version", (tuple,), {{"releaselevel": "{level}"}})({numbers})
sys.implementation.name = "{name}"
sys.executable = os.path.realpath(__file__)
sysconfig.get_config_var = lambda name: {is_free_threaded}
exec(sys.argv[2])
"""
MAKE = """#!/bin/sh
echo "$*" >>"{asked}"
case "$*" in *{red}*) exit 2 ;; esac
"""


class Machine:
    """A repository whose .venv is of 3.11.7, and folders with interpreters."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.repository = folder / "repository"
        (self.repository / "tools").mkdir(parents=True)
        shutil.copy(REPOSITORY / "tools" / "interpreters.sh", self.repository / "tools")
        for arguments in (["init"], ["add", "tools"], ["-c", "user.name=a", "-c", "user.email=a", "commit", "-m", "a"]):
            subprocess.run(["git", *arguments], cwd=self.repository, check=True, capture_output=True)
        (folder / "bin").mkdir()
        for name in TOOLS:
            (folder / "bin" / name).symlink_to(str(shutil.which(name)))
        self.install("repository/.venv/bin/python", "3.11.7")

    def install(
        self, path: str, version: str, level: str = "final", name: str = "cpython", *, is_free_threaded: bool = False
    ) -> None:
        """An interpreter, below the folder of all."""
        numbers = tuple(map(int, version.split(".")))
        text = PYTHON.format(
            python=sys.executable, version=version, numbers=numbers, level=level, name=name,
            is_free_threaded=is_free_threaded,
        )  # fmt: skip
        self.write(path, text)

    def run(self, *arguments: str, red: str = "nothing") -> tuple[int, list[str], str]:
        """Its exit code, what it asked `make` for without the folder, and its words."""
        asked = self.folder / "asked"
        self.write("bin/make", MAKE.format(asked=asked, red=red))
        done = subprocess.run(
            [self.repository / "tools" / "interpreters.sh", *arguments],
            env={"PATH": str(self.folder / "bin"), "HOME": str(self.folder)},
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        lines = asked.read_text().splitlines() if asked.exists() else []
        return done.returncode, [line.partition(" -C ")[2].partition(" ")[2] for line in lines], done.stderr

    def write(self, path: str, text: str) -> None:
        program = self.folder / path
        program.parent.mkdir(parents=True, exist_ok=True)
        program.write_text(text)
        program.chmod(0o755)


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


def test_interpreters_are_each_release_but_that_of_venv_and_the_newest_is_first(machine):
    machine.install("bin/python3", "3.11.7")
    machine.install("bin/python3.11", "3.11.2")
    machine.install(".pyenv/versions/3.9.18/bin/python3", "3.9.18")
    machine.install(".pyenv/versions/3.12.1/bin/python3", "3.12.1")
    machine.install(".pyenv/versions/3.13.0/bin/python3", "3.13.0")
    (machine.folder / ".pyenv/versions/3.13.0/bin/python3.13").symlink_to("python3")

    code, asked, _ = machine.run("unit")

    assert code == 0
    assert asked == [
        f"unit PYTHON={machine.folder}/.pyenv/versions/3.13.0/bin/python3",
        f"unit PYTHON={machine.folder}/.pyenv/versions/3.12.1/bin/python3",
        f"unit PYTHON={machine.folder}/bin/python3.11",
    ]


@pytest.mark.parametrize(
    "kind", [{"is_free_threaded": True}, {"level": "candidate"}, {"name": "pypy"}, {"version": "3.10.13"}]
)
def test_interpreters_that_no_package_is_built_for_are_left_out(machine, kind):
    machine.install("bin/python3", **{"version": "3.13.0"} | kind)

    code, asked, words = machine.run("unit")

    assert (code, asked) == (0, [])
    assert "no CPython but 3.11.7 on this machine" in words


def test_interpreter_that_is_broken_is_passed_over(machine):
    machine.install("bin/python3.12", "3.12.1")
    machine.write("bin/python3.13", "#!/bin/sh\necho 'python3.13: command not found'; exit 127\n")

    code, asked, _ = machine.run("unit")

    assert code == 0
    assert asked == [f"unit PYTHON={machine.folder}/bin/python3.12"]


def test_first_interpreter_that_is_red_is_named_and_the_last(machine):
    machine.install("bin/python3.12", "3.12.1")
    machine.install("bin/python3.13", "3.13.0")

    code, asked, words = machine.run("unit", red="python3.13")

    assert code == 1
    assert asked == [f"unit PYTHON={machine.folder}/bin/python3.13"]
    assert f"'make unit' is red on CPython 3.13.0 ({machine.folder}/bin/python3.13)" in words


def test_interpreters_without_a_target_say_what_is_expected(machine):
    code, asked, words = machine.run()

    assert (code, asked) == (2, [])
    assert "expected a target of make: tools/interpreters.sh unit" in words
