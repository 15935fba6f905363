"""In CI a skip is a failure unless .ci/may-skip names it, as a run of pytest sees it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.skip import MAY_SKIP, entries

REPOSITORY = Path(__file__).resolve().parents[3]
TESTS = """
import pytest

def test_service():
    pytest.skip("there is no server: install it")

@pytest.mark.skipif(True, reason="root may write everything")
def test_root():
    pass

@pytest.mark.xfail(reason="not yet", strict=True)
def test_later():
    assert False

def test_passes():
    pass
"""


@pytest.fixture
def run(tmp_path):
    """What pytest says of such tests where .ci/may-skip has some text."""
    (tmp_path / "tests").mkdir()
    (tmp_path / "conftest.py").write_text(
        "from tests.conftest import pytest_make_collect_report, pytest_runtest_makereport\n"
    )
    (tmp_path / "tests" / "test_it.py").write_text(TESTS)
    (tmp_path / MAY_SKIP).parent.mkdir()

    def _run(may_skip: str, *, ci: str = "true") -> "subprocess.CompletedProcess[str]":
        (tmp_path / MAY_SKIP).write_text(may_skip)
        return subprocess.run(
            [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--import-mode=importlib", "-ra", "tests"],
            cwd=tmp_path, env=os.environ | {"CI": ci, "PYTHONPATH": str(REPOSITORY), "PYTEST_ADDOPTS": ""},
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    return _run


def test_skips_fail_in_ci_with_what_to_do_when_they_are_not_named(run):
    done = run("")

    assert done.returncode == 1
    assert "1 failed, 1 passed, 1 xfailed, 1 error" in done.stdout
    assert "tests/test_it.py::test_service was skipped: there is no server: install it." in done.stdout
    assert "name it, or its reason, in .ci/may-skip and say why" in done.stdout


def test_skips_are_skips_in_ci_when_their_id_or_their_reason_is_named(run):
    done = run("# why\ntests/test_it.py::test_service\nroot may write\n")

    assert done.returncode == 0
    assert "1 passed, 2 skipped, 1 xfailed" in done.stdout


def test_skips_are_skips_outside_of_ci(run):
    done = run("", ci="")

    assert done.returncode == 0
    assert "1 passed, 2 skipped, 1 xfailed" in done.stdout


def test_skip_of_a_whole_file_fails_in_ci(run, tmp_path):
    (tmp_path / "tests" / "test_it.py").write_text(
        "import pytest\npytest.skip('no such library', allow_module_level=True)\n"
    )

    done = run("")

    assert done.returncode != 0
    assert "tests/test_it.py was skipped: no such library." in done.stdout


def test_entry_without_a_comment_above_it_is_refused():
    with pytest.raises(ValueError, match="line 4: 'second' has no comment above it"):
        entries("# why\nfirst\n\nsecond\n")


def test_entries_of_this_repository_are_explained():
    assert "/dev/fuse can't be used here" in entries((REPOSITORY / MAY_SKIP).read_text("utf-8"))
