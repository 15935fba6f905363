"""Several hosts, each in a network namespace of its own, with one ledger and its standby, and one broker.

A round sends messages, does something to hosts, servers or the network while they are worked on, ends that, sends some
more, and waits until all are done. What it came to is read from the effects, the ledger and nothing else.
"""

import json
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from tests.acceptance.harness.app import App, Effect, System, finished_in, until
from tests.acceptance.harness.clock import WallClock
from tests.acceptance.harness.source import tasks
from tests.acceptance.harness.sqs import KEY, REGION, start_server
from tests.support import network, rabbitmq
from tests.support.network import Node
from tests.support.postgres import QUOTED, Server

__all__ = ["LEASE_S", "Bed", "Outcome", "running"]

LEASE_S = 6
HEARTBEAT_S = 10
LEDGER_NAME = "ledger.example"
LONG_S = 180.0
"""A deadline that only a hang meets: a dead host's messages come back when its leases and claims are over."""

_TASKS = ("Quick", "Slow", "Threaded", "Flaky")
_CODE = (
    tasks(
        Quick="pass",
        Slow="await asyncio.sleep(1)",
        Flaky='if data.endswith("7") and context.attempt == 1: raise ValueError("at first")',
    )
    + """
class Threaded(Task):
    def run(self, data, context: TaskContext):
        with effect(data, context):
            time.sleep(0.5)
"""
)


class Host(App):
    """One host: its folder is its own disk."""

    def __init__(self, folder: Path, node: Node, systems: list[System]) -> None:
        super().__init__(folder, systems)
        self.node = node
        self.before = node.before
        self.system: System | None = None
        self._round_at = 0
        self.lay_out()
        self.task("work", _CODE)
        self.manifest(*(f"work {name}" for name in _TASKS))
        self.clock = WallClock(self)

    def up(self) -> None:
        """Start it, and wait until it works."""
        self.system = self.start().until_up()

    def begin_round(self) -> None:
        """From now on `round_effects` tells what is done; before, nothing may be at work."""
        log = Path(self.environment["EFFECT_LOG"])
        self._round_at = log.stat().st_size if log.exists() else 0

    def round_effects(self) -> list[Effect]:
        """What was done in this round: it is asked for again and again, and the log has all rounds."""
        return self.effects(start=self._round_at)

    def stop(self, within_s: float = LONG_S) -> int:
        """As a service manager does; the exit code."""
        assert self.system is not None
        self.system.terminate()
        return self.system.wait(within_s)

    def die(self) -> None:
        """All that runs there, at once and without a word: its machine is gone."""
        assert self.system is not None
        self.node.drop()
        self.system.signal_all(signal.SIGKILL)
        self.system.end()

    def freeze(self) -> None:
        """Everything stands still, as a virtual machine does that is moved."""
        assert self.system is not None
        self.system.signal_all(signal.SIGSTOP)

    def thaw(self) -> None:
        """It goes on."""
        assert self.system is not None
        self.system.signal_all(signal.SIGCONT)


@dataclass(frozen=True)
class Outcome:
    """What a round came to.

    lost: ends that are missing. again: starts after the record of their end. repeated: starts beyond the first that no
    failure of the task asked for. in_flight: attempts of messages that the victims had at work while the fault lasted.
    back_s: from the end of the fault until the last of the hosts that had lived through it had begun something, or
    until there was nothing left for it.
    """

    messages: int
    lost: int
    again: int
    repeated: int
    in_flight: int
    back_s: float


Fault = Callable[["Bed"], AbstractContextManager[None]]
"""Carries itself out before the block begins, which is what comes after; at the block's end all is as it was before."""


class Bed:
    """hosts: they run. primary, standby: of the ledger; they change roles. at: the nodes by name."""

    def __init__(self, hosts: Sequence[Host], pair: Sequence[Server], at: Mapping[str, Node]) -> None:
        self.hosts = hosts
        self.primary, self.standby = pair
        self.at = at
        self._rounds = count(1)

    def round(self, fault: Fault, *, victims: Sequence[int] = (), messages: int = 200) -> Outcome:
        """Carry one out. victims: the hosts that are hit so hard that they may repeat what they had in flight."""
        name = f"r{next(self._rounds)}"
        for host in self.hosts:
            host.begin_round()
        bodies = [f"{name}-{number}" for number in range(messages)]
        later = [f"{name}-later{number}" for number in range(messages // 2)]
        self._send(bodies[: messages // 2])
        self._send(bodies[messages // 2 :])
        until(lambda: len(self._ends(name)) >= messages // 4, "some tasks are done", timeout_s=LONG_S)
        before = [host.system for host in self.hosts]
        with self._watched() as recorded:
            fault_at = time.monotonic()
            with fault(self):
                healed_at = time.monotonic()
                stayed = [
                    host for host, system in zip(self.hosts, before, strict=True)
                    if host.system is system and system.popen.poll() is None
                ]  # fmt: skip
                self._send(later)
                expected = {(body, task) for body in (*bodies, *later) for task in _TASKS}
                with suppress(AssertionError):  # what is missing then is told as lost
                    until(lambda: expected <= self._ends(name), "every task is done", timeout_s=LONG_S)
        effects = self._effects(name)
        return Outcome(
            len(bodies) + len(later),
            len(expected - self._ends(name)),
            sum(1 for one in effects if one.what == "start" and one.at > recorded.get((one.uid, one.task), one.at)),
            _repeated(effects),
            sum(_at_work(_of(self.hosts[number], name), fault_at, healed_at) for number in victims),
            max((_first_start(_of(host, name), healed_at, effects[-1].at) for host in stayed), default=0.0),
        )

    def finish(self) -> list[str]:
        """End all hosts in order, and let one work off what is left. What was wrong, a sentence each."""
        wrong = []
        for host in self.hosts:
            assert host.system is not None
            if (code := host.stop()) != 0:
                wrong.append(f"{host.folder.name} ended with exit code {code}: {host.system.log()[-1000:]}")
        self.hosts[0].drain(LONG_S)
        wrong += [f"{number} messages are left on {name}" for name, number in self.hosts[0].left().items() if number]
        return wrong

    # -- what faults do

    def node_of(self, server: Server) -> Node:
        """Where a server of the ledger is."""
        return next(node for node in self.at.values() if node.address == server.address)

    def fail_over(self) -> None:
        """The standby takes over. What becomes of the other is the caller's business."""
        self.standby.promote()
        self.primary, self.standby = self.standby, self.primary

    def use_name(self) -> None:
        """Start all hosts again, with a ledger that they know by a name only."""
        self.move_name()
        for host in self.hosts:
            host.settings["LEDGER_URL"] = _ledger_url(f"{LEDGER_NAME}:{self.primary.port}")
            assert host.stop() == 0
            host.up()

    def move_name(self) -> None:
        """Have the ledger's name lead to the primary."""
        for host in self.hosts:
            host.node.resolve({LEDGER_NAME: self.node_of(self.primary)})

    def rejoin(self) -> None:
        """Have the one that was the primary follow the one that is it now."""
        self.standby.stop(signal.SIGQUIT)
        self.standby.make_standby(self.primary)
        self.standby.start()
        self.primary.set_synchronous(True)

    # --

    def _send(self, bodies: Sequence[str]) -> None:
        """By a host that no fault is about."""
        self.hosts[-1].send(bodies)

    def _effects(self, name: str) -> list[Effect]:
        return sorted(effect for host in self.hosts for effect in _of(host, name))

    def _ends(self, name: str) -> set[tuple[str, str]]:
        return {(one.body, one.task) for one in self._effects(name) if one.what == "end"}

    @contextmanager
    def _watched(self) -> Iterator[dict[tuple[str, str], float]]:
        """When each completion was seen on record, by uid and task, as the ledger's own server tells."""
        recorded: dict[tuple[str, str], float] = {}
        is_over = threading.Event()
        since = f"{time.time_ns() // 1_000_000 - 60_000:012x}"
        asked = f"SELECT uid, progress FROM mulligan_record WHERE progress IS NOT NULL AND uid >= '{since}'"

        def look() -> None:
            with suppress(subprocess.SubprocessError):  # it is away
                lines = self.primary.sql(asked)
                seen_at = time.monotonic()
                for done in finished_in([(uid, text) for uid, _, text in (line.partition("|") for line in lines)]):
                    recorded.setdefault(done, seen_at)

        def watch() -> None:
            while not is_over.wait(1.0):
                look()

        thread = threading.Thread(target=watch)
        thread.start()
        try:
            yield recorded
        finally:
            is_over.set()
            thread.join()


def _of(host: Host, name: str) -> list[Effect]:
    return [one for one in host.round_effects() if one.body.startswith(f"{name}-")]


def _repeated(effects: Sequence[Effect]) -> int:
    starts = Counter((one.body, one.task) for one in effects if one.what == "start")
    failures = Counter((one.body, one.task) for one in effects if one.what == "failed")
    return sum(max(0, number - 1 - failures[key]) for key, number in starts.items())


def _at_work(effects: Sequence[Effect], since: float, before: float) -> int:
    """Attempts of the messages that were at work at some moment between the two: their ends may not be on record."""
    opened: dict[tuple[str, str, int], float] = {}
    found: set[str] = set()
    for one in effects:
        key = (one.body, one.task, one.pid)
        if one.what == "start":
            opened[key] = one.at
        elif opened.pop(key, before) < before and one.at >= since:
            found.add(one.body)
    found |= {body for (body, _, _), at in opened.items() if at < before}
    return sum(1 for one in effects if one.what == "start" and one.body in found)


def _first_start(effects: Sequence[Effect], since: float, all_done_at: float) -> float:
    """Seconds until a host began something again; until there was nothing left for it, where it did not."""
    starts = [one.at for one in effects if one.what == "start" and one.at >= since]
    return max(0.0, min(starts, default=all_done_at) - since)


# -- set up


def _ledger_url(servers: str) -> str:
    return f"postgresql://tester:{QUOTED}@{servers}/postgres?sslmode=disable"


@contextmanager
def _sqs(node: Node, folder: Path, hosts: Sequence[Host]) -> Iterator[None]:
    keys = folder / "keys.json"
    keys.write_text(json.dumps([{"id": KEY, "secret": KEY}]))
    server = start_server(
        "--host", node.address, "--allow-remote", "--keys", str(keys), "--db", f"sqlite:///{folder}/queues.db",
        command=[*node.before, sys.executable, "-m", "mulligan.servers.sqs"],
    )  # fmt: skip
    for host in hosts:
        server.point(host)
        host.settings["BROKER_URL"] = f"sqs://{REGION}?endpoint={server.url}&insecure=true"
    try:
        yield
    finally:
        server.end()


@contextmanager
def _rabbitmq(node: Node, folder: Path, hosts: Sequence[Host]) -> Iterator[None]:
    server = rabbitmq.RabbitServer(folder, node.address, node.before)
    try:
        server.start()
        url = f"{server.url(server.new_vhost())}?heartbeat={HEARTBEAT_S}"
        for host in hosts:
            host.settings["BROKER_URL"] = url
        yield
    finally:
        server.stop()


_BROKERS: dict[str, Callable[[Node, Path, Sequence[Host]], AbstractContextManager[None]]] = {
    "sqs": _sqs,
    "rabbitmq": _rabbitmq,
}


@contextmanager
def running(broker: str, number: int) -> Iterator[Bed]:
    """So many hosts that run, their ledger, its standby and a broker, until the end of the block."""
    with ExitStack() as stack:
        # not below pytest's folder: that is closed to the user that PostgreSQL has to be
        folder = Path(tempfile.mkdtemp(prefix="mulligan-hosts-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        folder.chmod(0o755)
        net = stack.enter_context(network.running())
        names = [f"host{number}" for number in range(number)]
        at = {name: net.node(name) for name in (*names, "ledger-a", "ledger-b", "broker")}
        systems: list[System] = []
        stack.callback(lambda: [system.end() for system in systems])
        hosts = [Host(folder / name, at[name], systems) for name in names]

        pair = []
        for name in ("ledger-a", "ledger-b"):
            (folder / name).mkdir()
            server = Server(folder / name, at[name].address, at[name].before, network.RANGE)
            stack.callback(server.stop, signal.SIGQUIT)
            pair.append(server)
        primary, standby = pair
        standby.port = primary.port  # so that one name may lead to either
        primary.make()
        primary.start()
        standby.make_standby(primary)
        standby.start()
        primary.set_synchronous(True)

        (folder / "broker").mkdir()
        stack.enter_context(_BROKERS[broker](at["broker"], folder / "broker", hosts))
        both = ",".join(f"{server.address}:{server.port}" for server in pair)
        for host in hosts:
            host.settings |= {
                "LEASE_S": LEASE_S, "POOL_SIZE": 2, "CONCURRENCY": 10, "LOG_LEVEL": "INFO",
                "LEDGER_URL": f"{_ledger_url(both)}&target_session_attrs=read-write",
            }  # fmt: skip
        for host in hosts:
            host.up()
        yield Bed(hosts, pair, at)
