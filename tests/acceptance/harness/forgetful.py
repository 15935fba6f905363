"""A disk that loses with its power what was not fsynced: a FUSE file system in memory, `python -m ... MOUNT`.

What is written is seen at once, by every process, and is on the disk when the file is fsynced; a new name when its file
or its folder is. Writing to the file `.power` is the switch: `cut SEED SHARE` leaves what is on the disk, and of each
sector that was written since SHARE by chance, in whatever order, as a disk with a cache does; then every call fails
until `on`. Reading it gives the number of handles that are open: a process that was killed may let go of its files, and
of their locks, when it is to be seen no more.
"""

import ctypes.util
import errno
import os
import random
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

SECTOR = 512
SWITCH = ".power"
REPOSITORY = Path(__file__).resolve().parents[3]
INSTALL = "tools/install/fuse.sh (or: apt-get install fuse3)"


class File:
    """One name. disk: what a power cut leaves; pending: what was done since, as (offset, data) or a new length."""

    def __init__(self, mode: int, *, is_folder: bool = False) -> None:
        self.mode = mode
        self.is_folder = is_folder
        self.is_named_on_disk = is_folder
        self.now = bytearray()
        self.disk = bytearray()
        self.pending: list[tuple[int, bytes] | int] = []

    def write(self, data: bytes, offset: int) -> None:
        self._do(self.now, (offset, data))
        self.pending.append((offset, data))

    def truncate(self, length: int) -> None:
        self._do(self.now, length)
        self.pending.append(length)

    def sync(self) -> None:
        self.disk = bytearray(self.now)
        self.pending.clear()
        self.is_named_on_disk = True

    def lose(self, rand: random.Random, share: float) -> bool:
        """What a power cut does; whether the name is still there."""
        for one in self.pending:
            if isinstance(one, int):
                if rand.random() < share:
                    self._do(self.disk, one)
                continue
            offset, data = one
            for start in range(0, len(data), SECTOR):
                if rand.random() < share:
                    self._do(self.disk, (offset + start, data[start : start + SECTOR]))
        self.pending.clear()
        self.now = bytearray(self.disk)
        return self.is_named_on_disk or rand.random() < share

    @staticmethod
    def _do(content: bytearray, what: tuple[int, bytes] | int) -> None:
        if isinstance(what, int):
            del content[what:]
            content.extend(bytes(what - len(content)))
            return
        offset, data = what
        content.extend(bytes(max(0, offset - len(content))))
        content[offset : offset + len(data)] = data


def folder_of(path: str) -> str:
    """Of a name on the file system."""
    return path.rpartition("/")[0] or "/"


class Disk:
    """The calls of the kernel, as mfusepy hands them on."""

    use_ns = True

    def __init__(self) -> None:
        self.files: dict[str, File] = {"/": File(stat.S_IFDIR | 0o700, is_folder=True)}
        self.gone: dict[str, File] = {}
        """Names that were removed, and may be there again after a power cut."""
        self.is_off = False
        self.handles = 0

    def init_with_config(self, connection: Any, config: Any) -> None:
        if config is not None:  # nothing that another process wrote, or a cut took away, may be remembered
            config.attr_timeout = config.entry_timeout = config.negative_timeout = 0.0

    def _file(self, path: str) -> File:
        if self.is_off:
            raise OSError(errno.EIO, "the power is off")
        if path not in self.files:
            raise OSError(errno.ENOENT, path)
        return self.files[path]

    def getattr(self, path: str, fh: int | None = None) -> dict[str, Any]:
        if path == f"/{SWITCH}":
            return {"st_mode": stat.S_IFREG | 0o600, "st_nlink": 1, "st_size": len(self._told())}
        file = self._file(path)
        return {
            "st_mode": file.mode, "st_nlink": 1, "st_size": len(file.now), "st_uid": os.getuid(), "st_gid": os.getgid(),
        }  # fmt: skip

    def readdir(self, path: str, fh: int) -> list[str]:
        self._file(path)
        inside = [name for name in self.files if name != "/" and folder_of(name) == path]
        return [".", "..", *(name.rpartition("/")[2] for name in inside)]

    def mkdir(self, path: str, mode: int) -> int:
        self.files[path] = File(stat.S_IFDIR | mode, is_folder=True)
        return 0

    def mknod(self, path: str, mode: int, dev: int) -> int:
        self.files[path] = File(mode)
        return 0

    def create(self, path: str, mode: int, fi: Any = None) -> int:
        self._file("/")
        self.files[path] = File(stat.S_IFREG | stat.S_IMODE(mode))
        self.gone.pop(path, None)
        self.handles += 1
        return 0

    def open(self, path: str, flags: int) -> int:
        if path != f"/{SWITCH}":
            self._file(path)
            self.handles += 1
        return 0

    def release(self, path: str, fh: int) -> int:
        if path != f"/{SWITCH}":
            self.handles -= 1
        return 0

    def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
        if path == f"/{SWITCH}":
            return self._told()[offset : offset + size]
        return bytes(self._file(path).now[offset : offset + size])

    def write(self, path: str, data: bytes, offset: int, fh: int) -> int:
        if path == f"/{SWITCH}":
            self._switch(data.decode().split())
        else:
            self._file(path).write(data, offset)
        return len(data)

    def truncate(self, path: str, length: int, fh: int | None = None) -> int:
        if path != f"/{SWITCH}":
            self._file(path).truncate(length)
        return 0

    def fsync(self, path: str, datasync: int, fh: int) -> int:
        self._file(path).sync()
        return 0

    def fsyncdir(self, path: str, datasync: int, fh: int) -> int:
        self._file(path)
        for name, file in self.files.items():
            if folder_of(name) == path:
                file.is_named_on_disk = True
        self.gone = {name: file for name, file in self.gone.items() if folder_of(name) != path}
        return 0

    def unlink(self, path: str) -> int:
        file = self._file(path)
        if file.is_named_on_disk:
            self.gone[path] = file
        del self.files[path]
        return 0

    rmdir = unlink

    def rename(self, old: str, new: str) -> int:
        self._file(old)
        self.files[new] = self.files.pop(old)
        return 0

    def chmod(self, path: str, mode: int) -> int:
        file = self._file(path)
        file.mode = stat.S_IFMT(file.mode) | stat.S_IMODE(mode)
        return 0

    def chown(self, path: str, uid: int, gid: int) -> int:
        return 0

    def utimens(self, path: str, times: tuple[int, int] | None = None) -> int:
        return 0

    def statfs(self, path: str) -> dict[str, int]:
        return {"f_bsize": 4096, "f_frsize": 4096, "f_blocks": 2**20, "f_bfree": 2**19, "f_bavail": 2**19}

    def _told(self) -> bytes:
        return b"%8d\n" % self.handles

    def _switch(self, words: list[str]) -> None:
        self.is_off = words[0] == "cut"
        if self.is_off:
            rand, share = random.Random(words[1]), float(words[2])
            back = {name: file for name, file in self.gone.items() if name not in self.files and rand.random() < share}
            kept = {name: file for name, file in (self.files | back).items() if file.lose(rand, share)}
            self.files, self.gone = kept, {}


@contextmanager
def mounted(folder: Path) -> Iterator[Path]:
    """The file system at a new folder, until the end of the block."""
    need_fuse()
    folder.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.acceptance.harness.forgetful", str(folder)],
        cwd=REPOSITORY, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 30
        while not folder.is_mount():
            assert process.poll() is None, "the file system could not be mounted"
            assert time.monotonic() < deadline, "the file system is not mounted"
            time.sleep(0.02)
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=False, capture_output=True)
        process.terminate()
        process.wait(30)


def need_fuse() -> None:
    """Skip the test where there is no FUSE."""
    if not os.access("/dev/fuse", os.R_OK | os.W_OK) or os.geteuid() != 0:
        pytest.skip("/dev/fuse can't be used here, or this is not root: no power is cut in this run")
    if ctypes.util.find_library("fuse3") is None:
        pytest.skip(f"libfuse3 is not installed. Install it: {INSTALL}")


if __name__ == "__main__":
    import mfusepy

    class Calls(Disk, mfusepy.Operations):
        """What the kernel asks that a disk has no answer of its own for, mfusepy answers."""

    mfusepy.FUSE(Calls(), sys.argv[1], foreground=True, nothreads=True, fsname="forgetful")
