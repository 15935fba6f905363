"""A RabbitMQ server of the tests' own: its own node name, ports, data and epmd, ended with the run.

It is started once a run by the first test that asks for it, and gives each test a virtual host to itself. A test that
stops or breaks the server starts one of its own.
"""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import pytest

PROGRAMS = Path("/usr/lib/rabbitmq/bin")
INSTALL = "tools/install/rabbitmq.sh (or: apt-get install rabbitmq-server)"
START_S = 120.0
# a run that is killed leaves no server behind
_DIES_WITH_US = ("setpriv", "--pdeathsig", "KILL") if shutil.which("setpriv") else ()
_ERLANG = (
    "-noinput +S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none",
    # how often it looks for messages beyond consumer_timeout; rabbitmq.conf has no name for it
    "-rabbit channel_tick_interval 1000",
)
_PROBE = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 1)"
_names = count(1)


def need_rabbitmq() -> None:
    """Skip the test where there is no server to start."""
    if (PROGRAMS / "rabbitmq-server").exists():
        return
    pytest.skip(f"no RabbitMQ server is installed. Install it: {INSTALL}")


class RabbitServer:
    """One server that listens on one address.

    before: what its programs are started by, such as `ip netns exec NAME`.
    """

    def __init__(self, folder: Path, address: str = "127.0.0.1", before: Sequence[str] = ()) -> None:
        need_rabbitmq()
        self.folder = folder
        self.address = address
        self._before = before
        self.port, self.tls_port, self.management_port, self._dist_port, self._epmd_port = _free_ports(5)
        self._processes: list[subprocess.Popen[bytes]] = []
        self._vhosts: list[str] = []
        self._extra: Sequence[str] = ()
        self._has_management = False
        for name in ("home", "log", "mnesia"):
            (folder / name).mkdir()
        self.enable()
        (folder / "env.conf").write_text("")

    def configure(self, *lines: str) -> None:
        """Lines of rabbitmq.conf, for the next start."""
        self._extra = lines

    def enable(self, *plugins: str) -> None:
        """Plugins, for the next start."""
        self._has_management = "rabbitmq_management" in plugins
        (self.folder / "enabled_plugins").write_text(f"[{','.join(plugins)}].\n")

    def start(self) -> None:
        """Start, and wait until it takes connections."""
        lines = ["loopback_users = none", "log.console = false", "disk_free_limit.absolute = 50MB", *self._extra]
        if self._has_management:
            lines += [f"management.tcp.ip = {self.address}", f"management.tcp.port = {self.management_port}"]
        (self.folder / "rabbitmq.conf").write_text("\n".join(lines) + "\n")
        with (self.folder / "out.log").open("ab") as out:
            if not self._processes:
                epmd = shutil.which("epmd") or "/usr/bin/epmd"
                arguments = [epmd, "-port", str(self._epmd_port), "-address", "127.0.0.1"]
                self._processes.append(self._popen(arguments, out))
            self._processes.append(self._popen([str(PROGRAMS / "rabbitmq-server")], out))
        deadline = time.monotonic() + START_S
        while not self._is_listening():
            assert self.server.poll() is None, f"RabbitMQ has ended:\n{self.words()}"
            assert time.monotonic() < deadline, f"RabbitMQ does not answer:\n{self.words()}"
            time.sleep(0.1)
        self.ctl("await_startup")

    @property
    def server(self) -> "subprocess.Popen[bytes]":
        """The process of the server itself."""
        return self._processes[-1]

    def kill(self) -> None:
        """As a power cut does it, to the server alone."""
        self.server.kill()
        self.server.wait(30)
        self._processes.pop()

    def stop(self) -> None:
        """End everything that was started."""
        for process in reversed(self._processes):
            process.kill()
            process.wait(30)
        self._processes.clear()

    def ctl(self, *arguments: str) -> str:
        """`rabbitmqctl ARGUMENTS`."""
        done = subprocess.run(
            [*self._before, PROGRAMS / "rabbitmqctl", "--quiet", *arguments],
            check=False, capture_output=True, text=True, env=self._environment(), timeout=START_S,
        )  # fmt: skip
        assert done.returncode == 0, f"rabbitmqctl {arguments}: {done.stdout}{done.stderr}"
        return done.stdout

    def url(self, vhost: str, user: str = "guest", password: str = "guest") -> str:
        return f"amqp://{user}:{password}@{self.address}:{self.port}/{vhost}"

    def new_vhost(self) -> str:
        """A virtual host that nobody has used. They are made in dozens: the command is slow, its work is not."""
        if not self._vhosts:
            self._vhosts = [f"v{next(_names)}" for _ in range(24)]
            made = ", ".join(f'<<"{name}">>' for name in self._vhosts)
            self.ctl(
                "eval",
                f'[begin rabbit_vhost:add(V, <<"tests">>), rabbit_auth_backend_internal:set_permissions(<<"guest">>, V,'
                f' <<".*">>, <<".*">>, <<".*">>, <<"tests">>) end || V <- [{made}]].',
            )
        return self._vhosts.pop(0)

    def words(self) -> str:
        """What it said last."""
        texts = [
            path.read_text(errors="replace")[-3000:]
            for path in [self.folder / "out.log", *self.folder.glob("log/*.log")]
        ]
        return "\n".join(texts)

    def _is_listening(self) -> bool:
        if not self._before:
            with socket.socket() as probe:
                return probe.connect_ex((self.address, self.port)) == 0
        command = [*self._before, sys.executable, "-S", "-c", _PROBE, self.address, str(self.port)]
        return subprocess.run(command, check=False, stderr=subprocess.DEVNULL).returncode == 0

    def _popen(self, arguments: Sequence[str], out: object) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            [*self._before, *_DIES_WITH_US, *arguments],
            stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=self.folder, env=self._environment(),  # type: ignore[call-overload]
        )  # fmt: skip

    def _environment(self) -> dict[str, str]:
        folder = self.folder
        return {
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "HOME": str(folder / "home"),
            "ERL_EPMD_PORT": str(self._epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": f"mulligan{self.port}@localhost",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_NODE_IP_ADDRESS": self.address,
            "RABBITMQ_DIST_PORT": str(self._dist_port),
            "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq"),
            "RABBITMQ_CONF_ENV_FILE": str(folder / "env.conf"),
            # one process instead of a shell with a child: what is killed is the server
            "RABBITMQ_ALLOW_INPUT": "1",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": " ".join(_ERLANG),
        }


@contextmanager
def running(*lines: str, plugins: Sequence[str] = ()) -> Iterator[RabbitServer]:
    """A server, until the end of the block. lines: of its rabbitmq.conf."""
    need_rabbitmq()
    folder = Path(tempfile.mkdtemp(prefix="mulligan-rmq-"))
    server = RabbitServer(folder)
    try:
        server.configure(*lines)
        server.enable(*plugins)
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _free_ports(number: int) -> list[int]:
    probes = [socket.socket() for _ in range(number)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()
