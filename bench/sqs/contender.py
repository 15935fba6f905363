"""Who is measured: how each is started, with which settings, and what it was measured to need before.

A contender is one process, or a tree of them, that polls one queue until it is ended. Everything that it needs to know
of the server is in the environment, as for any program that uses AWS.
"""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.application import lay_out
from bench.sqs.environment import ROOT, Environment
from bench.sqs.server import PLAIN, Server, Stats, Template, serving, wait_for

__all__ = [
    "BOTO3_BATCHED",
    "FANFERRO",
    "FANFERRO_DEFAULT",
    "QUEUE",
    "SLOW",
    "Application",
    "Peer",
    "Run",
    "Unusable",
    "measure",
]

HERE = Path(__file__).parent / "contender"
QUEUE = "bench-requests-q"
START_S = 60.0

DEFAULTS: dict[str, object] = {
    "COMMON_PREFIX": "bench",
    "POOL_SIZE": 1,
    "NO_OF_REQUESTS_CONSUMERS": 1,
    "NO_OF_REJECTS_CONSUMERS": 1,
    "CONCURRENCY": 100,
    "LEDGER_URL": "none",
}
"""Of all runs of ours, where they don't say otherwise; LOG_LEVEL=WARNING besides, and everything else as it comes."""


class Unusable(Exception):
    """The contender can't be had or made to run; the text says why."""


@dataclass(frozen=True)
class Run:
    """One measured run. cpu_s: of the whole tree. worker_cpu_s: of the process that does the work."""

    messages: int
    stats: Stats
    cpu_s: float
    worker_cpu_s: float

    @property
    def cpu_per_1000(self) -> float:
        """CPU seconds of the worker process for 1,000 messages."""
        return self.worker_cpu_s / self.messages * 1000

    @property
    def tree_cpu_per_1000(self) -> float:
        """CPU seconds of all processes for 1,000 messages."""
        return self.cpu_s / self.messages * 1000

    @property
    def requests_per_1000(self) -> float:
        """Requests of all kinds for 1,000 messages."""
        return self.stats.total_requests / self.messages * 1000

    @property
    def rate(self) -> float:
        """Messages a second, from the first that was given out to the last that was deleted."""
        return self.messages / max(1e-9, self.stats.drain_s)

    @property
    def steady_rate(self) -> float:
        """Messages a second, from a tenth of them deleted to nine: without the first receives and the last flush."""
        return 0.8 * self.messages / max(1e-9, self.stats.steady_s)


@dataclass(frozen=True)
class Peer:
    """Somebody else's program. words: after the interpreter. settings: for the table.

    seed: the first words of the command that puts one message on the queue, in the program's own format; () for a body
    of 300 bytes. measured: (least, most) CPU seconds for 1,000 messages on the machine of the project's facts.
    explained: why it is another one here.
    """

    name: str
    package: str
    words: tuple[str, ...]
    settings: str
    seed: tuple[str, ...] = ()
    measured: tuple[float, float] | None = None
    explained: str = ""

    @contextmanager
    def started(self, environment: Environment, server: Server) -> Iterator[subprocess.Popen[bytes]]:
        if environment.version(self.package) is None:
            raise Unusable(f"{self.package} can't be installed for {environment.told}")
        with tempfile.TemporaryDirectory(prefix="mulligan-bench-") as name:
            yield from _running(environment, self.words, server, Path(name))

    def template(self, environment: Environment, program: Path) -> Template:
        """A message of the program's own making."""
        if not self.seed:
            return PLAIN
        if environment.version(self.package) is None:
            raise Unusable(f"{self.package} can't be installed for {environment.told}")
        with serving(program, "nothing", 0) as server, tempfile.TemporaryDirectory() as folder:
            done = subprocess.run(
                _command(environment, self.seed), env=_variables(server), cwd=folder, timeout=60,
                capture_output=True, text=True, check=False,
            )  # fmt: skip
            if done.returncode:
                raise Unusable(f"it can't send: {done.stderr.strip().splitlines()[-1:]}")
            return server.stored()


@dataclass(frozen=True)
class Application:
    """mulligan, as a user runs it: `python main.py` in a folder with config and tasks. settings: over the defaults."""

    name: str
    task: str
    settings: Mapping[str, object]

    @contextmanager
    def started(self, environment: Environment, server: Server) -> Iterator[subprocess.Popen[bytes]]:
        with tempfile.TemporaryDirectory(prefix="mulligan-bench-") as name:
            folder = Path(name) / "application"
            settings = {**DEFAULTS, **self.settings, "BROKER_URL": f"sqs://us-east-1?endpoint={server.url}"}
            lay_out(folder, self.task, **settings)
            shutil.copy(ROOT / "main.py", folder)
            yield from _running(environment, ("main.py",), server, folder)

    def template(self, environment: Environment, program: Path) -> Template:  # noqa: ARG002 - as a peer's
        return PLAIN


FOUR_POLLERS = "the figure of the facts is that of its default, 1 poller; 4 suit a full queue best"


def fanferro(name: str, concurrency: int, pollers: int, prefetch: int, wait_s: float = 0.0) -> Peer:
    """fanferro with a handler that does nothing, or waits."""
    words = ("fanferro_consumer.py", QUEUE, *map(str, (concurrency, pollers, prefetch, wait_s)))
    settings = f"uvloop, concurrency={concurrency}, pollers={pollers}, prefetch={prefetch}"
    explained = FOUR_POLLERS if pollers == 4 else ""
    return Peer(name, "fanferro", words, settings, measured=(0.069, 0.075), explained=explained)


FANFERRO = fanferro("fanferro", 100, 4, 100)
FANFERRO_DEFAULT = fanferro("fanferro, 1 poller", 100, 1, 100)
BOTO3_BATCHED = Peer(
    "boto3, batched", "boto3", ("boto3_loop.py", QUEUE, "batched"),
    "receive 10, handle, delete 10, in one thread", measured=(0.25, 0.25),
)  # fmt: skip
SLOW = (
    Peer(
        "aiobotocore", "aiobotocore", ("aiobotocore_loop.py", QUEUE, "4"),
        "uvloop, 4 loops of receive 10, handle, delete 10",
    ),
    Peer(
        "sqs-workers", "sqs-workers", ("sqs_workers_app.py", "run", QUEUE),
        "JSON codec, receives and deletes 10", ("sqs_workers_app.py", "send", QUEUE),
    ),
    Peer(
        "taskiq-aio-sqs", "taskiq-aio-sqs", ("taskiq_app.py", "run", QUEUE),
        "uvloop, receives 10, deletes 1 (it has no batched deletes), 100 tasks at once, no result backend",
        ("taskiq_app.py", "send", QUEUE), (1.40, 1.40),
    ),
    Peer(
        "dramatiq + dramatiq-sqs", "dramatiq-sqs", ("dramatiq_app.py", "run", QUEUE, "8"),
        "8 threads, prefetch 10, no middleware, deletes 1 (it has no batched deletes)",
        ("dramatiq_app.py", "send", QUEUE), (1.52, 1.52),
    ),
    Peer(
        "celery, threads", "celery", ("celery_app.py", "run", QUEUE, "threads", "10"),
        "10 threads, prefetch 100 each, acks late, no events, gossip, mingle, heartbeat or results, polling interval "
        "10 ms, deletes 1 (it has no batched deletes)",
        ("celery_app.py", "send", QUEUE), (1.47, 2.35),
    ),
    Peer(
        "celery, prefork", "celery", ("celery_app.py", "run", QUEUE, "prefork", "2"),
        "as above with 2 processes",
        ("celery_app.py", "send", QUEUE), (1.47, 2.35),
    ),
    Peer(
        "boto3, one by one", "boto3", ("boto3_loop.py", QUEUE, "single"),
        "receive 1, handle, delete 1, in one thread",
    ),
    Peer(
        "the original's loop", "boto3", ("boto3_loop.py", QUEUE, "original"),
        "as above, and the queue looked up by name before each receive", measured=(3.24, 3.24),
    ),
)  # fmt: skip


def measure(
    contender: Peer | Application,
    environment: Environment,
    program: Path,
    messages: int,
    *,
    timeout_s: float = 300.0,
    queue: str = QUEUE,
    **server_options: Any,
) -> Run:
    """Let a contender drain a queue. Raises Unusable when it can't or takes too long."""
    template = contender.template(environment, program)
    try:
        with (
            serving(program, queue, messages, template, **server_options) as server,
            contender.started(environment, server) as process,
        ):
            wait_for(server, queue, START_S, process)
            server.open(process.pid)
            stats = server.until_finished(timeout_s, process)
    except TimeoutError as exc:
        raise Unusable(str(exc)) from None
    workers = [used for pid, used in stats.cpu_s.items() if pid != process.pid]
    is_ours = isinstance(contender, Application)
    return Run(messages, stats, stats.total_cpu_s, sum(workers) if is_ours else stats.total_cpu_s)


def _command(environment: Environment, words: tuple[str, ...]) -> list[str]:
    script = HERE / words[0]
    return [str(environment.python), str(script) if script.exists() else words[0], *words[1:]]


def _variables(server: Server) -> dict[str, str]:
    kept = {name: text for name, text in os.environ.items() if not name.startswith(("MULLIGAN_", "AWS_", "PYTHON"))}
    return kept | {
        "AWS_ACCESS_KEY_ID": "bench",
        "AWS_SECRET_ACCESS_KEY": "bench",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL_SQS": server.url,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def _running(
    environment: Environment, words: tuple[str, ...], server: Server, folder: Path
) -> Iterator[subprocess.Popen[bytes]]:
    log = folder / "output"
    with log.open("wb") as out:
        process = subprocess.Popen(
            _command(environment, words), cwd=folder, env=_variables(server),
            stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    try:
        yield process
    except TimeoutError as exc:
        raise TimeoutError(f"{exc}; it said: {_end_of(log)}") from None
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill the process and what it started: nothing is measured any more, and no contender's shutdown is waited for."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _end_of(log: Path) -> str:
    text = log.read_text(errors="replace").strip()
    return " | ".join(text.splitlines()[-4:])[-600:] or "nothing"
