import os
import stat
from pathlib import Path

import pytest

from mulligan.core.error import PackingError
from mulligan.storage.body import BodyFolder

NAME = "018bcfe56800-00112233445566778899-0-rejects-" + "a" * 32


@pytest.fixture
def path(tmp_path):
    return tmp_path / "var" / "bodies"


@pytest.fixture
def folder(path):
    return BodyFolder(path)


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_body_is_given_back_as_it_was(folder):
    folder.keep(NAME, b"\0body\xff")

    assert folder.load(NAME, 6) == b"\0body\xff"


def test_body_is_for_its_owner_only(folder, path):
    folder.keep(NAME, b"body")

    assert mode(path) == 0o700
    assert mode(path / NAME) == 0o600


def test_body_that_is_kept_twice_is_one_file(folder, path):
    folder.keep(NAME, b"cut")
    folder.keep(NAME, b"body")

    assert [one.name for one in path.iterdir()] == [NAME]
    assert folder.load(NAME, 4) == b"body"


def test_body_is_on_disk_with_its_name_before_keep_returns(folder, path, monkeypatch):
    done = []
    real_sync, real_replace = os.fsync, os.replace

    def sync(descriptor):
        done.append(("sync", Path(f"/proc/self/fd/{descriptor}").readlink().name.partition(".")[0]))
        real_sync(descriptor)

    def replace(source, target):
        done.append(("rename", os.fspath(target).rpartition("/")[2]))
        real_replace(source, target)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(os, "replace", replace)

    folder.keep(NAME, b"body")

    assert done == [("sync", NAME), ("rename", NAME), ("sync", "bodies"), ("sync", "var")]


def test_failing_disk_leaves_nothing_and_is_told(folder, path, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)

    with pytest.raises(PackingError, match=rf"its body \(4 bytes\) can't be kept in {path} .*: No space left"):
        folder.keep(NAME, b"body")
    assert list(path.iterdir()) == []


def test_folder_that_can_not_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("")

    with pytest.raises(PackingError, match=r"can't be kept in .*file/bodies"):
        BodyFolder(tmp_path / "file" / "bodies").keep(NAME, b"body")


def test_missing_body_is_told_with_its_path(folder, path):
    with pytest.raises(PackingError, match=f"there is no file {path / NAME}"):
        folder.load(NAME, 4)


@pytest.mark.parametrize("size", [3, 5])
def test_body_of_another_size_is_told(folder, size):
    folder.keep(NAME, b"body")

    with pytest.raises(PackingError, match=f"does not have the {size} bytes"):
        folder.load(NAME, size)


def test_body_that_can_not_be_read_is_told(folder, path):
    path.mkdir(parents=True)
    (path / NAME).mkdir()

    with pytest.raises(PackingError, match="can't be read: Is a directory"):
        folder.load(NAME, 4)


def test_dropped_body_is_gone_and_dropping_twice_is_once(folder, path):
    folder.keep(NAME, b"body")

    folder.drop(NAME)
    folder.drop(NAME)

    assert list(path.iterdir()) == []


def test_body_that_stays_is_told(folder, path):
    path.mkdir(parents=True)
    (path / NAME).mkdir()

    with pytest.raises(PackingError, match="can't be removed"):
        folder.drop(NAME)
