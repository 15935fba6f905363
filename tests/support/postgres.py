"""A PostgreSQL server of the tests' own: its own data, port and user, ended with the run; and a standby of it.

It is started once a run by the first test that asks for it, and gives each test a schema to itself. A test that stops
or breaks the server starts one of its own.
"""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest

INSTALL = "tools/install/postgres.sh (or: apt-get install postgresql)"
PASSWORD = "s3cret/and@odd"
QUOTED = "s3cret%2Fand%40odd"
_AS_POSTGRES = ("setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups")
_schemas = count(1)


def programs() -> Path:
    """The folder of initdb and postgres; skips the test where there is none."""
    for folder in (*Path("/usr/lib/postgresql").glob("*/bin"), *map(Path, os.get_exec_path())):
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder
    pytest.skip(f"no PostgreSQL server is installed. Install it: {INSTALL}")


class Server:
    """One server that listens on one address, with scram passwords.

    before: what its programs are started by, such as `ip netns exec NAME`. network: from where it takes connections.
    """

    def __init__(
        self,
        folder: Path,
        address: str = "127.0.0.1",
        before: Sequence[str] = (),
        network: str = "127.0.0.1/32",
    ) -> None:
        self.folder = folder
        self.bin = programs()
        self.address = address
        self.port = _free_port()
        self._network = network
        self._process: subprocess.Popen[bytes] | None = None
        # the server refuses to be root: Debian's package has a user for it
        self._before = [*before, *(_AS_POSTGRES if _is_root() else ())]

    @property
    def url(self) -> str:
        return f"postgresql://tester:{QUOTED}@{self.address}:{self.port}/postgres"

    def url_of(self, schema: str, *parameters: str) -> str:
        return f"{self.url}?{'&'.join([f'search_path={schema}', *parameters])}"

    def make(self) -> None:
        """Its data, with nothing in it."""
        data = self._new_data()
        password = self._mine(self.folder / "password", PASSWORD)
        self._run(
            "initdb", "-D", str(data), "-U", "tester", "-A", "scram-sha-256", f"--pwfile={password}", "-E", "UTF8",
            "--locale=C.UTF-8", "--no-sync",
        )  # fmt: skip
        with (data / "pg_hba.conf").open("a") as rules:
            rules.write(f"host all,replication all {self._network} scram-sha-256\n")

    def make_standby(self, primary: "Server") -> None:
        """Its data: those of another server, which it follows once it is started."""
        shutil.rmtree(self.folder / "data", ignore_errors=True)
        data = self._new_data()
        passwords = self._mine(self.folder / "pgpass", f"*:*:*:tester:{PASSWORD}")
        source = f"host={primary.address} port={primary.port} user=tester passfile={passwords}"
        self._run("pg_basebackup", "-D", str(data), "-R", "-X", "stream", "-c", "fast", "--no-sync", "-d", source)

    def start(self, *settings: str) -> None:
        """Start, and wait until it answers. settings: such as `default_transaction_read_only=on`."""
        options = [f"port={self.port}", f"listen_addresses={self.address}", f"unix_socket_directories={self.folder}",
                   "max_connections=60", "shared_buffers=16MB", *settings]  # fmt: skip
        log = (self.folder / "server.log").open("ab")
        self._process = subprocess.Popen(
            [*self._before, self.bin / "postgres", "-D", self.folder / "data", *(f"--{option}" for option in options)],
            stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=self.folder,
        )  # fmt: skip
        log.close()
        deadline = time.monotonic() + 60
        ready = [*self._before, self.bin / "pg_isready", "-q", "-h", self.address, "-p", str(self.port)]
        while subprocess.run(ready, check=False).returncode != 0:
            words = (self.folder / "server.log").read_text()[-2000:]
            assert self._process.poll() is None, f"the server has ended:\n{words}"
            assert time.monotonic() < deadline, f"the server does not answer:\n{words}"
            time.sleep(0.05)

    def promote(self) -> None:
        """Make a standby one that can be written; waits for it, and asks for no standby of its own."""
        self.set_synchronous(False)
        self._run("pg_ctl", "promote", "-D", str(self.folder / "data"))

    def set_synchronous(self, is_synchronous: bool) -> None:
        """Whether a commit waits for a standby."""
        names = "'*'" if is_synchronous else "''"
        self.sql(f"ALTER SYSTEM SET synchronous_standby_names = {names}")
        self.sql("SELECT pg_reload_conf()")

    def stop(self, number: int = signal.SIGINT) -> None:
        """SIGINT ends sessions and stops in order, SIGQUIT as in a crash."""
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(60)
            self._process = None

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """No process of the server does anything."""
        assert self._process is not None
        pids = [self._process.pid, *_children(self._process.pid)]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)

    def sql(self, statement: str) -> list[Any]:
        """Run statements in a session of its own, with or without an event loop around."""
        found = subprocess.run(
            [*self._before, self.bin / "psql", "-h", self.address, "-p", str(self.port), "-U", "tester",
             "-d", "postgres", "-v", "ON_ERROR_STOP=1", "-XqtAc", statement],
            check=True, capture_output=True, text=True, env={**os.environ, "PGPASSWORD": PASSWORD}, timeout=60,
            cwd=self.folder,
        )  # fmt: skip
        return found.stdout.splitlines()

    def new_schema(self) -> str:
        name = f"s{os.getpid()}_{next(_schemas)}"
        self.sql(f"CREATE SCHEMA {name}")
        return name

    def _new_data(self) -> Path:
        data = self.folder / "data"
        data.mkdir(mode=0o700)
        if _is_root():
            for path in (self.folder, data):
                shutil.chown(path, "postgres", "postgres")
        return data

    def _mine(self, path: Path, text: str) -> Path:
        path.write_text(text)
        path.chmod(0o600)
        if _is_root():
            shutil.chown(path, "postgres", "postgres")
        return path

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [*self._before, self.bin / program, *arguments],
            check=False, capture_output=True, text=True, cwd=self.folder, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr


@contextmanager
def running(*settings: str) -> Iterator[Server]:
    """A server, until the end of the block."""
    # not below pytest's folder: that is closed to the user that the server has to be
    folder = Path(tempfile.mkdtemp(prefix="mulligan-pg-"))
    server = Server(folder)
    try:
        server.make()
        server.start(*settings)
        yield server
    finally:
        server.stop(signal.SIGQUIT)
        shutil.rmtree(folder, ignore_errors=True)


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _is_root() -> bool:
    return os.geteuid() == 0
