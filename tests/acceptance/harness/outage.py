"""Systems that lose their broker for a while, each in its own way, and get it back."""

import os
import signal
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from tests.acceptance.harness.app import App
from tests.acceptance.harness.source import tasks
from tests.acceptance.harness.sqs import start_server
from tests.support import rabbitmq

__all__ = ["KINDS", "Trial", "check", "nothing_is_lost", "trials"]

GENEROUS_S = 30.0
"""What the promise says in 5 s; a machine that is busy with other things takes longer."""

CODE = tasks(Quick="pass", Slow='await asyncio.sleep(5 if data == "slow" else 0)')


class Service(NamedTuple):
    """down and up: of the service; `up` returns when it takes requests again."""

    down: Callable[[], None]
    up: Callable[[], object]


@contextmanager
def locked_file(app) -> Iterator[Service]:
    """Somebody's database browser holds the queue's lock."""
    connection = sqlite3.connect(
        app.folder / "var" / "mulligan.db", isolation_level=None, timeout=30, check_same_thread=False
    )
    try:
        yield Service(
            lambda: connection.execute("BEGIN IMMEDIATE").close(), lambda: connection.execute("ROLLBACK").close()
        )
    finally:
        connection.close()


def silent(pid: int) -> Service:
    """It takes connections and says nothing, as a black hole does."""
    return Service(lambda: os.kill(pid, signal.SIGSTOP), lambda: os.kill(pid, signal.SIGCONT))


@contextmanager
def sqs(app, how: str) -> Iterator[Service]:
    database = ("--db", f"sqlite:///{app.folder}/queues.db")
    servers = [start_server(*database)]
    servers[0].point(app)
    port = servers[0].url.rpartition(":")[2]
    try:
        if how == "silent":
            yield silent(servers[0].popen.pid)
        else:
            yield Service(lambda: servers.pop().end(), lambda: servers.append(start_server(*database, "--port", port)))
    finally:
        for server in servers:
            server.end()


@contextmanager
def rabbit(app, how: str) -> Iterator[Service]:
    with rabbitmq.running() as server:
        app.settings["BROKER_URL"] = server.url("%2F")
        yield silent(server.server.pid) if how == "silent" else Service(server.kill, server.start)


KINDS: dict[str, Callable[[Any], Any]] = {
    "sqlite locked": locked_file,
    "sqs silent": lambda app: sqs(app, "silent"),
    "sqs gone": lambda app: sqs(app, "gone"),
    "rabbitmq silent": lambda app: rabbit(app, "silent"),
    "rabbitmq gone": lambda app: rabbit(app, "gone"),
}


class Trial(NamedTuple):
    """One system and its outage. cpu_share: of a core, while it lasted; said: lines of log in it."""

    app: Any
    took_s: float
    cpu_share: float
    said: int
    back_s: float
    code: int
    log: str


def cpu_of(system) -> float:
    return sum(process.cpu_s for process in system.group())


def look_back(app, system, service: Service) -> tuple[float, int]:
    """Have the service answer again; seconds until the system is at work, and its exit code when told to end."""
    service.up()
    up_at = time.monotonic()
    app.send(["after"])
    app.until_effect("Slow", "end", "after")
    back_s = max(0.0, app.effects("Slow", "end", "after")[0].at - up_at)
    system.terminate()
    return back_s, system.wait()


@contextmanager
def trials(make_folder: Callable[[str], Path], kinds: Iterable[str], outage_s: float) -> Iterator[dict[str, Trial]]:
    """One system a kind of outage, all at the same time. make_folder: makes one of a name, as pytest's mktemp does."""
    systems: list[Any] = []
    with ExitStack() as stack:
        # a server dies with the thread that started it
        pool = stack.enter_context(ThreadPoolExecutor(len(KINDS)))
        stack.callback(lambda: [system.end() for system in systems])
        apps, services = {}, {}
        for kind in kinds:
            app = apps[kind] = App(make_folder("outage") / "app", systems).lay_out()
            app.task("work", CODE)
            app.manifest("work Quick", "work Slow")
            app.settings |= {"LOG_LEVEL": "INFO", "POOL_SIZE": 2, "LEASE_S": 60}
            if kind.startswith("sqlite"):
                app.send(["before"])  # makes the file
            services[kind] = stack.enter_context(KINDS[kind](app))
            if not kind.startswith("sqlite"):
                app.send(["before"])
            app.start().until_up()
            app.until_effect("Slow", "end", "before")
        for app in apps.values():
            app.send(["slow", "waits"])
            app.until_effect("Slow", "start", "slow")
        began = {}
        for (kind, service), system in zip(services.items(), systems, strict=True):
            service.down()
            began[kind] = (time.monotonic(), cpu_of(system), system.log().count("\n"))
        time.sleep(outage_s)  # what is tested is that this much time goes by
        seen = {}
        for kind, system in zip(services, systems, strict=True):
            at, cpu_s, lines = began[kind]
            took_s = time.monotonic() - at
            seen[kind] = (took_s, (cpu_of(system) - cpu_s) / took_s, system.log().count("\n") - lines)
        back = dict(zip(services, pool.map(look_back, apps.values(), systems, services.values()), strict=True))
        yield {
            kind: Trial(apps[kind], *seen[kind], *back[kind], system.log())
            for kind, system in zip(services, systems, strict=True)
        }


def check(trial: Trial) -> None:
    """Nobody gave up, nobody spun, and work went on soon after."""
    assert trial.code == 0, trial.log[-3000:]
    assert trial.cpu_share < 0.15
    assert trial.said <= trial.took_s
    assert trial.back_s < GENEROUS_S
    assert " died" not in trial.log


def nothing_is_lost(trial: Trial) -> None:
    """Every message is done, once."""
    trial.app.drain()
    for body in ("before", "slow", "waits", "after"):
        assert trial.app.count("Quick", "end", body) == trial.app.count("Slow", "end", body) == 1
    assert trial.app.dead() == []
    assert trial.app.left() == {"requests": 0, "rejects": 0}
