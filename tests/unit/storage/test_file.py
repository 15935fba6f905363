import pytest

from mulligan.core.error import ConfigurationError
from mulligan.storage import file

MOUNTS = r"""22 1 254:0 / / rw,relatime - ext4 /dev/vda rw
23 22 0:5 / /mnt/share rw - nfs4 server:/share rw
24 22 0:6 / /mnt/with\040space rw - cifs //server/x rw
25 23 0:7 / /mnt/share/local rw - xfs /dev/sdb rw
broken line
"""


@pytest.fixture
def mounts(tmp_path):
    path = tmp_path / "mountinfo"
    path.write_text(MOUNTS)
    return path


@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        ("/mnt/share", "nfs4"),
        ("/mnt/share/deep/er", "nfs4"),
        ("/mnt/share/local/x", "xfs"),
        ("/mnt/with space/x", "cifs"),
        ("/mnt/shared", None),
        ("/srv", None),
    ],
)
def test_file_system_is_that_of_the_nearest_mount(mounts, tmp_path, folder, kind):
    assert file.file_system(type(tmp_path)(folder), mounts) == kind


def test_file_system_is_unknown_where_the_system_does_not_tell(tmp_path):
    assert file.file_system(tmp_path, tmp_path / "no such file") is None


def test_prepare_refuses_a_network_file_system(tmp_path, monkeypatch):
    monkeypatch.setattr(file, "file_system", lambda folder: "nfs4")

    with pytest.raises(ConfigurationError, match=r"network file system \(nfs4\)"):
        file.prepare(tmp_path / "queue.db", "queue database")

    assert list(tmp_path.iterdir()) == []


def test_prepare_leaves_an_existing_file_as_it_is(tmp_path):
    path = tmp_path / "queue.db"
    path.write_bytes(b"content")
    path.chmod(0o640)

    file.prepare(path, "queue database")

    assert path.read_bytes() == b"content"
    assert path.stat().st_mode & 0o777 == 0o640
