"""`.ci/run`: which tiers it runs, where it stops, and what its last line is. `make` is played by a script."""

import shutil
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]
MAKE = """#!/bin/sh
echo "$*" >>"$(dirname "$0")/asked"
case "$2" in
    unit) echo "===== 20 passed, 1 skipped in 3.21s =====" ;;
    interpreters) echo "===== 20 passed in 4.00s ====="; echo "===== 20 passed in 4.00s =====" ;;
    test) echo "===== short test summary info ====="; echo "==== {test} in 60.00s (0:01:00) ====" ;;
    prove) echo "=== 7 passed in 1.50s ==="; echo "=== 3 passed, 2 skipped, 1 warning in 9.99s ===" ;;
    check) exit {check} ;;
esac
case "$*" in *test*) exit {code} ;; esac
"""


@pytest.fixture
def run(tmp_path):
    """Run it with some answers of `make`: its exit code, its lines, and what it asked `make` for."""

    def _run(test="5 passed", code=0, check=0):
        folder = tmp_path / "repository" / ".ci"
        folder.mkdir(parents=True)
        shutil.copy(REPOSITORY / ".ci" / "run", folder)
        make = tmp_path / "bin" / "make"
        make.parent.mkdir()
        make.write_text(MAKE.format(test=test, code=code, check=check))
        make.chmod(0o755)
        done = subprocess.run(
            [folder / "run"], env={"PATH": f"{make.parent}:/usr/bin:/bin"}, capture_output=True, text=True, check=False
        )
        asked = [line.removeprefix("--no-print-directory ") for line in (make.parent / "asked").read_text().split("\n")]
        return done.returncode, done.stdout.splitlines(), asked[:-1]

    return _run


def test_tiers_run_in_order_and_the_last_line_adds_up_what_they_said(run):
    code, lines, asked = run()

    assert code == 0
    assert asked == ["check", "unit", "interpreters", "test BUT=unit", "prove"]
    assert lines[-1] == "75 passed, 0 failed, 3 skipped"
    assert [line.rpartition(" took ")[0] for line in lines if " took " in line] == [
        "ci: make check", "ci: make unit", "ci: make interpreters", "ci: make test", "ci: make prove",
    ]  # fmt: skip


def test_first_red_tier_is_the_last_and_its_failures_are_counted(run):
    code, lines, asked = run(test="2 failed, 5 passed, 1 error", code=2)

    assert code == 2
    assert asked == ["check", "unit", "interpreters", "test BUT=unit"]
    assert "ci: make test is red; what comes after it was not run" in lines
    assert lines[-1] == "65 passed, 3 failed, 1 skipped"


def test_red_tier_without_tests_counts_as_a_failure(run):
    code, lines, asked = run(check=1)

    assert code == 1
    assert asked == ["check"]
    assert lines[-1] == "0 passed, 1 failed, 0 skipped"
