"""`tools/chroot.sh` where it has nothing to do, or can't do it."""

import os
import platform
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]


@pytest.fixture
def run(tmp_path):
    """Run it as a user who is not root and may not become it."""
    for name, line in (("id", "echo 1000"), ("sudo", "exit 1")):
        (tmp_path / name).write_text(f"#!/bin/sh\n{line}\n")
        (tmp_path / name).chmod(0o755)

    def _run(*arguments, ci=""):
        return subprocess.run(
            [REPOSITORY / "tools" / "chroot.sh", *arguments],
            env=os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "CI": ci},
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip

    return _run


def test_chroot_is_skipped_loudly_where_there_is_no_root(run):
    done = run("bullseye", "make", "unit")

    assert done.returncode == 0
    assert "SKIPPED: nothing was run on Debian bullseye" in done.stderr


def test_chroot_fails_in_ci_where_there_is_no_root(run):
    done = run("bullseye", "make", "unit", ci="true")

    assert done.returncode == 1
    assert "With CI set that is a failure" in done.stderr


def test_chroot_of_this_very_release_is_not_made(run):
    system = platform.freedesktop_os_release()
    if system["ID"] != "debian":
        pytest.skip("this is not Debian")

    done = run(system["VERSION_CODENAME"], "make", "unit", ci="true")

    assert done.returncode == 0
    assert f"this is Debian {system['VERSION_CODENAME']} itself" in done.stderr


@pytest.mark.parametrize("arguments", [[], ["trixie"], ["13", "make"]])
def test_chroot_says_what_it_expects_when_it_is_asked_for_something_else(run, arguments):
    done = run(*arguments)

    assert done.returncode == 2
    assert "expected a release of Debian and a command: tools/chroot.sh trixie make unit" in done.stderr
