"""The look at a path before SQLite opens it: is it there, may it be written, is it on this host?

Nothing here opens an existing database file: closing it again would drop the locks of every connection that this
process has to it (POSIX), and with them the protection of its write-ahead log.
"""

import os
import stat
from pathlib import Path

from mulligan.core.error import ConfigurationError

__all__ = ["Identity", "file_system", "identity", "prepare"]

Identity = tuple[int, int]
"""Device and inode: whether a path still names the same file."""

_NETWORK = {
    "9p", "afs", "ceph", "cifs", "coda", "fuse.ceph", "fuse.glusterfs", "fuse.rclone", "fuse.s3fs", "fuse.sshfs",
    "glusterfs", "gpfs", "lustre", "ncpfs", "nfs", "nfs4", "ocfs2", "orangefs", "smb2", "smb3", "smbfs",
}  # fmt: skip
_MOUNTS = Path("/proc/self/mountinfo")


def prepare(path: Path, what: str) -> None:
    """Make the folder and an empty file (0600) where they are missing. Raises ConfigurationError when it can't be used.

    what: what the database is, for the texts.
    """
    _make_folder(path.parent, what)
    kind = file_system(path.parent)
    if kind is not None and kind in _NETWORK:
        raise _problem(
            f"{what} {path} is on a network file system ({kind}), where locks and shared memory are unreliable:"
            " messages could be lost. Give a path on a disk of this host, or use a broker and ledger with a server."
        )
    try:
        # SQLite gives -wal and -shm the mode of the file itself
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        _check_existing(path, what)
    except OSError as exc:
        raise _problem(
            f"{what} {path} can't be created: {exc.strerror}. Make its folder writable, or give another path."
        ) from None


def identity(path: Path) -> Identity | None:
    """What file the path names now; None when there is none."""
    try:
        found = os.stat(path)  # noqa: PTH116 - once a commit: a third of the cost of Path.stat
    except OSError:
        return None
    return found.st_dev, found.st_ino


def file_system(folder: Path, mounts: Path = _MOUNTS) -> str | None:
    """The type of the file system that holds the folder; None where the system doesn't say.

    The root's own type is not given: in some sandboxes that is 9p, and yet local.
    """
    try:
        lines = mounts.read_text("utf-8", "surrogateescape").splitlines()
    except OSError:
        return None
    target, best, found = folder.resolve(), -1, None
    for line in lines:
        before, _, after = line.partition(" - ")
        fields = before.split(" ")
        if len(fields) < 5 or not after:
            continue
        point = Path(_unescaped(fields[4]))
        depth = len(point.parts)
        if depth >= best and target.is_relative_to(point):
            best, found = depth, after.split(" ")[0]
    return found if best > 1 else None


def _make_folder(folder: Path, what: str) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise _problem(
            f"the folder {folder} of the {what} can't be created: {exc.strerror}. Create it, or give another path."
        ) from None


def _check_existing(path: Path, what: str) -> None:
    found = _found(path, what)
    mode = found.st_mode
    if not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "no regular file"
        raise _problem(f"{what} {path} is {kind}, expected a database file. Give the path of a file.")
    if found.st_size == 1:
        # SQLite would take a file of one byte for an empty one, and write over it
        raise _problem(
            f"{what} {path} is not a database: it has one byte. Give the path of another file, or move it away."
        )
    for place, rights in ((path, os.R_OK | os.W_OK), (path.parent, os.R_OK | os.W_OK | os.X_OK)):
        if not os.access(place, rights):
            raise _problem(
                f"{what} {path}: {place} can't be written by this user, or is on a read-only file system."
                " Change its rights or the mount, or give another path."
            )


def _found(path: Path, what: str) -> os.stat_result:
    try:
        return path.stat()
    except OSError as exc:
        raise _problem(f"{what} {path} can't be inspected: {exc.strerror}. Check the path and its rights.") from None


def _unescaped(text: str) -> str:
    if "\\" not in text:
        return text
    for code, char in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, char)
    return text


def _problem(text: str) -> ConfigurationError:
    return ConfigurationError([text])
