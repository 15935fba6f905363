"""Whether a process notices that its files are another build's."""

import os
import socket
import subprocess
import sys

import msgspec
import pytest

from mulligan.worker.ipc import build
from mulligan.worker.ipc.channel import OtherVersion, from_isolated, from_worker


@pytest.fixture
def checkout(tmp_path):
    folder = tmp_path / "src" / "mulligan"
    (folder / "core" / "__pycache__").mkdir(parents=True)
    (folder / "__init__.py").write_text("x = 1\n")
    (folder / "core" / "flow.py").write_text("y = 1\n")
    return folder


@pytest.fixture
def installed(checkout):
    info = checkout.parent / "mulligan-0.1.0.dist-info"
    info.mkdir()
    (info / "RECORD").write_text("mulligan/__init__.py,sha256=aaaa,6\n")
    return checkout


def test_build_is_the_same_each_time_it_is_looked_at(checkout):
    assert build.of(checkout, "0.1.0") == build.of(checkout, "0.1.0")
    assert len(build.of(checkout, "0.1.0")) == 16


def edited(folder):
    (folder / "core" / "flow.py").write_text("y = 2222\n")


def touched(folder):
    os.utime(folder / "core" / "flow.py", (1.0, 1.0))


def added(folder):
    (folder / "new.py").write_text("")


def removed(folder):
    (folder / "core" / "flow.py").unlink()


@pytest.mark.parametrize("change", [edited, touched, added, removed])
def test_build_of_a_checkout_is_another_when_a_file_is(checkout, change):
    before = build.of(checkout, "0.1.0")

    change(checkout)

    assert build.of(checkout, "0.1.0") != before


def test_build_of_a_checkout_is_the_same_when_python_has_compiled_it(checkout):
    before = build.of(checkout, "0.1.0")

    (checkout / "core" / "__pycache__" / "flow.cpython-311.pyc").write_bytes(b"1")

    assert build.of(checkout, "0.1.0") == before


def test_build_that_is_installed_is_the_same_when_it_is_installed_again(installed):
    before = build.of(installed, "0.1.0")

    touched(installed)

    assert build.of(installed, "0.1.0") == before


def test_build_that_is_installed_is_another_when_its_record_is_or_is_gone(installed):
    record = installed.parent / "mulligan-0.1.0.dist-info" / "RECORD"
    before = build.of(installed, "0.1.0")

    record.write_text("mulligan/__init__.py,sha256=bbbb,6\n")
    changed = build.of(installed, "0.1.0")
    record.unlink()

    assert len({before, changed, build.of(installed, "0.1.0")}) == 3


def test_build_is_another_when_the_version_is(installed):
    assert build.of(installed, "0.1.0") != build.of(installed, "0.2.0")


def test_build_of_a_folder_that_is_not_there_is_told_all_the_same(tmp_path):
    assert build.of(tmp_path / "mulligan", "0.1.0") != build.OURS


# -- the first thing that a child does


CHILD = "from mulligan.worker.ipc.build import check; check(); import sys; print(sys.argv[1:])"


def child(end, theirs):
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(end.fileno()), "7", theirs], pass_fds=[end.fileno()], check=False,
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    return done.returncode, done.stdout.strip()


def test_child_of_the_same_build_goes_on_without_the_argument():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert child(theirs, build.OURS) == (0, f"['{theirs.fileno()}', '7']")


def test_child_of_another_build_says_so_and_does_nothing_else():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        code, printed = child(theirs, "0" * 16)
        theirs.close()
        sent = ours.recv(10_000)

    assert (code, printed) == (75, "")
    assert int.from_bytes(sent[:4], "little") == len(sent) - 4
    for decoder in (from_worker, from_isolated):
        told = decoder.decode(sent[4:])
        assert isinstance(told, OtherVersion)
        assert told.told.startswith("mulligan ")
        assert build.OURS in told.told


def test_message_of_another_version_is_understood_whatever_else_it_may_hold_one_day():
    """Of all that passes between two processes this alone may not change."""
    first = b"\x82\xa4type\xacOtherVersion\xa4told\xa3abc"
    later = msgspec.msgpack.encode({"type": "OtherVersion", "told": "abc", "more": [1, {"a": 2}]})

    assert from_worker.decode(first) == from_worker.decode(later) == OtherVersion("abc")
    assert from_isolated.decode(b"\x81\xa4type\xacOtherVersion") == OtherVersion("")
