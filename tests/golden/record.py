"""Record what a version writes: `PYTHON_OF_THE_VERSION -m tests.golden.record FOLDER [KIND ...]`, from this clone.

The python says which version's program is started (its own `make setup` made it); the helpers are this clone's. Each
message is brought to the state that its sample is named after, and then the program is ended: what is left is recorded.
README.md has the states, and which of them are ended by SIGTERM and which by SIGKILL.
"""

import json
import random
import signal
import string
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from tests.acceptance.harness import app as application
from tests.acceptance.harness.app import App, System, until
from tests.acceptance.harness.recorded import Embedded, Postgres, Rabbit, Service, Sqs, SqsFifo
from tests.acceptance.harness.sqs import SqsProgram, start_server
from tests.support import postgres, rabbitmq

CODE = """
    class First(Task):
        async def run(self, data, context: TaskContext):
            with effect(data[:40], context):
                pass

    class Second(Task):
        max_attempts = 2

        async def run(self, data, context: TaskContext):
            with effect(data[:40], context):
                if data.startswith(("cut", "crash")):
                    await asyncio.sleep(3600)
                if not data.startswith(("ok", "finished")):
                    raise RuntimeError("as its name says")

    class Alert(Task):
        async def run(self, data, context: TaskContext):
            with effect(data[:40], context):
                pass
"""
KINDS = ("sqlite", "postgres", "sqs", "sqs-fifo", "rabbitmq", "rabbitmq-envelope")
LIMIT_BYTES = 2048  # of a message of the SQS queues: small, so that the samples of bodies beyond it are
LONG_S, SHORT_S = (
    600.0,
    8.0,
)  # the embedded queue can be read while it delays; others give a message when its time is up


class Sample(NamedTuple):
    """left: messages on requests, rejects and dead in the end. failpoint: where a worker is stopped or killed.

    text: what follows the name in the body. attributes: the producer's. group: of a FIFO queue. behind: another message
    of the group, that is sent after it. settings: of the program.
    """

    name: str
    left: tuple[int, int, int]
    failpoint: str = ""
    text: str = ""
    attributes: Mapping[str, str] = {}
    group: str = ""
    behind: bool = False
    settings: Mapping[str, str] = {}


SAMPLES = (
    Sample("ok", (0, 0, 0)),
    Sample("once", (0, 1, 0)),
    Sample("never", (0, 0, 1)),
    Sample("finished", (1, 0, 0), "finished:1:stop"),
    Sample("copied", (1, 1, 0), "copied:1:stop"),
    Sample("buried", (0, 1, 1), "buried:1:stop"),
    Sample("cut", (1, 0, 0)),
)
LAST = Sample("crash", (1, 0, 0), "recorded:1:kill")  # its message is free again at once
_DRAWN = random.Random(1)
_NOISE = "".join(_DRAWN.choice(string.ascii_letters + string.digits + string.punctuation) for _ in range(1960))
ON_SQS = (
    Sample("once-packed", (0, 1, 0), text="-" + "compressible " * 145),
    Sample("once-stored", (0, 1, 0), text="-" + _NOISE),
    Sample("never-stored", (0, 0, 1), text="-" + _NOISE),
    Sample("once-full", (0, 1, 0), attributes={f"color{at}": f"red{at}" for at in range(9)}),
)
ON_FIFO = (
    Sample("never", (0, 0, 1), group="of-never"),
    Sample("held", (2, 0, 0), group="of-held", behind=True),
    Sample("cut", (2, 0, 0), group="of-cut", behind=True),
    Sample("once-aside", (0, 1, 0), group="of-aside", settings={"FIFO_ON_FAILURE": "sidestep"}),
    Sample("buried", (1, 0, 1), "buried:1:stop", group="of-buried"),
)
LAST_ON_FIFO = LAST._replace(group="of-crash")
FRAME_BYTES = 8192  # of a RabbitMQ connection: small, so that the samples of headers beyond it are
_WIDE = {f"wide{at}": _NOISE for at in range(4)}  # fills a frame but for 300 bytes, and the retry state has more
IN_ENVELOPE = (
    Sample("once-wide", (0, 1, 0), attributes=_WIDE),
    Sample("never-wide", (0, 0, 1), attributes=_WIDE),
)


class Recording:
    """One service's samples."""

    def __init__(self, service: Service, systems: list[System]) -> None:
        self.service = service
        self.app = service.app
        self._systems = systems
        self.samples: dict[str, dict[str, Any]] = {}

    def record(self, sample: Sample, *, delay_s: float) -> None:
        """Bring a message into the sample's state."""
        uid = self._send(sample.name, sample)
        if sample.behind:
            self._send(f"{sample.name}-behind", sample)
        if sample.failpoint:
            self.app.environment["MULLIGAN_FAILPOINT"] = sample.failpoint
        backoff_s = 0.2 if sample.name.startswith(("never", "buried")) else delay_s
        system = self.app.start(TASK_BACKOFF_S=backoff_s, **sample.settings)
        self.app.environment.pop("MULLIGAN_FAILPOINT", None)
        until(lambda: self._is_there(sample, uid, system), f"{sample.name} is there")
        if sample.name == "crash":
            system.kill()  # before another worker has begun
        if sample.failpoint or sample.name.startswith(("cut", "once", "held")):
            system.signal_all(signal.SIGKILL)
        else:
            system.terminate()
        system.wait()
        system.end()
        print(sample.name, uid, self.service.progress().get(uid), flush=True)

    def _send(self, name: str, sample: Sample) -> str:
        """The uid of the message of this name."""
        body = f"{name}{sample.text}"
        more = ["--group", sample.group] if sample.group else []
        more += [word for name, item in sample.attributes.items() for word in ("-a", f"{name}={item}")]
        sent = self.app.cli("send", *more, "--", body)
        assert sent.returncode == 0, sent.stderr
        uid = sent.stdout.strip()
        self.samples[name] = {"uid": uid, "body": body}
        if sample in IN_ENVELOPE:
            self.samples[name]["attributes"] = dict(sample.attributes)
        if sample.group:
            self.samples[name]["group"] = sample.group
        return uid

    def _is_there(self, sample: Sample, uid: str, system: System) -> bool:
        assert system.popen.poll() is None, system.log()[-3000:]
        token, progress, deaths = self.service.progress().get(uid, (None, None, 0))
        if sample.failpoint.endswith(":stop"):
            # any of its processes: what a worker's command is differs between versions
            return any(_is_stopped(process.pid) for process in system.group())
        tasks = json.loads(progress or "{}").get("tasks", {})
        match sample.name.partition("-")[0]:
            case "ok":
                return f"{uid} is done" in system.log()
            case "once":
                return self.app.left() == {"requests": 0, "rejects": 1}
            case "never":
                return "default tasks have ended" in system.log()
            case "held":
                was = (f"{uid} was {verb}" in system.log() for verb in ("given back", "released"))  # earlier, and now
                return token is None and any(was)
            case "cut":
                return tasks.get("First") == ["d", 1]
            case "crash":
                return deaths == 1 and token is None
        raise AssertionError(sample.name)


def _is_stopped(pid: int) -> bool:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
        return False
    return text.rpartition(")")[2].split()[0] == "T"


def lay_out(folder: Path, systems: list[System]) -> App:
    app = App(folder, systems).lay_out()
    app.task("work", CODE)
    app.manifest("work First", "work Second", "work Alert default")
    app.settings |= {"POOL_SIZE": 1, "NO_OF_REQUESTS_CONSUMERS": 1, "NO_OF_REJECTS_CONSUMERS": 1}
    return app


def embedded(service: Service, folder: Path, systems: list[System]) -> Recording:
    """All in one file: what waits, waits for ten minutes."""
    recording = Recording(service, systems)
    service.app.settings["LEASE_S"] = LONG_S
    for sample in (*SAMPLES, LAST):
        recording.record(sample, delay_s=LONG_S)
    recording.service.take(folder)
    return recording


def apart(recording: Recording, samples: tuple[Sample, ...], new: Callable[[], Any], folder: Path) -> Recording:
    """A broker for each: what waits, waits until it is received. They share the ledger."""
    service = recording.service
    assert isinstance(service, Sqs | Rabbit)
    recording.app.settings["LEASE_S"] = 3
    messages: dict[str, list[Any]] = {"requests": [], "rejects": [], "dead": []}
    for sample in samples:
        service.use(new())
        recording.record(sample, delay_s=SHORT_S)
        for role, found in service.taken(dict(zip(messages, sample.left, strict=True))).items():
            messages[role] += found
    service.take_messages = lambda folder: (folder / "messages.json").write_text(  # type: ignore[method-assign]
        json.dumps(messages, indent=1) + "\n"
    )
    service.take(folder)
    return recording


def sqs_server(stack: ExitStack, app: App) -> SqsProgram:
    """One without messages, by the application's clock."""
    server = start_server(*Sqs.options, env=app.environment)
    stack.callback(server.end)
    return server


def small_queues(stack: ExitStack, app: App) -> SqsProgram:
    """One whose queues take small messages only."""
    server = sqs_server(stack, app)
    client = server.client()
    for name in Sqs.names.values():
        client.create_queue(QueueName=name, Attributes={"MaximumMessageSize": str(LIMIT_BYTES)})
    client.close()
    return server


@contextmanager
def ending() -> Iterator[list[System]]:
    systems: list[System] = []
    application.REPOSITORY = Path(sys.executable).parents[2]  # its main.py
    try:
        yield systems
    finally:
        for system in systems:
            system.end()


def recorded(name: str, folder: Path, stack: ExitStack) -> Recording:
    """The samples of one kind."""
    systems = stack.enter_context(ending())
    place = stack.enter_context(tempfile.TemporaryDirectory(prefix="mulligan-record-"))
    app = lay_out(Path(place) / "app", systems)
    match name:
        case "sqlite":
            return embedded(Embedded(app, 0.0), folder, systems)
        case "postgres":
            return embedded(Postgres(app, 0.0, stack.enter_context(postgres.running())), folder, systems)
        case "sqs":
            recording = Recording(Sqs(app, 0.0), systems)
            return apart(recording, (*SAMPLES, *ON_SQS, LAST), lambda: small_queues(stack, app), folder)
        case "sqs-fifo":
            recording = Recording(SqsFifo(app, 0.0), systems)
            return apart(recording, (*ON_FIFO, LAST_ON_FIFO), lambda: sqs_server(stack, app), folder)
        case "rabbitmq":
            rabbit = stack.enter_context(rabbitmq.running())
            return apart(Recording(Rabbit(app, 0.0, rabbit), systems), (*SAMPLES, LAST), lambda: rabbit, folder)
        case "rabbitmq-envelope":
            rabbit = stack.enter_context(rabbitmq.running(f"frame_max = {FRAME_BYTES}"))
            return apart(Recording(Rabbit(app, 0.0, rabbit), systems), IN_ENVELOPE, lambda: rabbit, folder)
    raise SystemExit(f"no kind {name!r}: there is {', '.join(KINDS)}.")


def main(target: Path, wanted: list[str]) -> None:
    for name in wanted or KINDS:
        folder = target / name
        folder.mkdir(parents=True)
        with ExitStack() as stack:
            samples = recorded(name, folder, stack).samples
        (folder / "samples.json").write_text(json.dumps(samples, indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
