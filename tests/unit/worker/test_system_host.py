"""The machine's files and tokens. Its processes are tested where they are used."""

from pathlib import Path

import pytest

from mulligan.worker.system_host import SystemHost


def test_file_is_replaced_as_a_whole_and_its_folder_is_made(tmp_path: Path):
    file = tmp_path / "var" / "run.json"
    host = SystemHost()

    host.replace_file(file, "old and longer")
    host.replace_file(file, "new")

    assert file.read_text() == "new"
    assert [one.name for one in file.parent.iterdir()] == ["run.json"]


def test_file_that_can_not_be_written_leaves_what_was_there(tmp_path: Path):
    (tmp_path / "file").write_text("in the way of a folder")

    with pytest.raises(OSError, match="file"):
        SystemHost().replace_file(tmp_path / "file" / "run.json", "new")

    assert (tmp_path / "file").read_text() == "in the way of a folder"


def test_tokens_of_two_processes_never_meet():
    first, second = SystemHost().tokens(), SystemHost().tokens()

    tokens = [source() for _ in range(100) for source in (first, second)]

    assert len(set(tokens)) == 200
