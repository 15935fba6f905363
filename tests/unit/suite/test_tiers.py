"""Tier = folder: every test is in one, in the Makefile and for plain pytest."""

import subprocess
import tomllib
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[3]


def folders(target: str, *arguments: str) -> list[str]:
    """What a target of the Makefile gives to pytest."""
    told = subprocess.run(
        ["make", "--dry-run", target, *arguments], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    (line,) = (line for line in told.stdout.splitlines() if "no-loadscope-reorder" in line)
    return [word for word in line.split() if word.startswith("tests/")]


def test_each_folder_with_tests_is_in_one_tier():
    here = {
        f"tests/{path.relative_to(REPOSITORY / 'tests').parts[0]}" for path in REPOSITORY.glob("tests/**/test_*.py")
    }

    tiers = [*folders("test"), *folders("prove")]

    assert here <= set(tiers)
    assert len(tiers) == len(set(tiers))


def test_tests_are_those_of_unit_and_others_unless_unit_has_just_run():
    assert folders("test") == [*folders("unit"), *folders("test", "BUT=unit")]


def test_pytest_alone_runs_what_the_tiers_run():
    configured = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))["tool"]["pytest"]["ini_options"]

    assert configured["testpaths"] == [*folders("test"), *folders("prove")]
