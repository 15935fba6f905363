"""Record what a version writes: `PYTHON_OF_THE_VERSION -m tests.golden.record FOLDER [SERVICE ...]`, from this clone.

The python says which version's program is started (its own `make setup` made it); the helpers are this clone's. Each
message is brought to the state that its sample is named after, and then everything is killed: what is left is recorded.
README.md has the states.
"""

import json
import random
import signal
import string
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from tests.acceptance.harness import app as application
from tests.acceptance.harness.app import App, System, until
from tests.acceptance.harness.recorded import Embedded, Postgres, Rabbit, Service, Sqs
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
LIMIT_BYTES = 2048  # of a message of the SQS queues: small, so that the samples of bodies beyond it are
LONG_S, SHORT_S = (
    600.0,
    8.0,
)  # the embedded queue can be read while it delays; others give a message when its time is up


class Sample(NamedTuple):
    """left: messages on requests, rejects and dead in the end. until: what to wait for before all is killed.

    text: what follows the name in the body. attributes: the producer's.
    """

    name: str
    left: tuple[int, int, int]
    failpoint: str = ""
    text: str = ""
    attributes: int = 0


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
    Sample("once-full", (0, 1, 0), attributes=9),
)


class Recording:
    """One service's samples."""

    def __init__(self, service: Service, systems: list[System]) -> None:
        self.service = service
        self.app = service.app
        self._systems = systems
        self.samples: dict[str, dict[str, str]] = {}

    def record(self, sample: Sample, *, delay_s: float) -> None:
        """Bring a message into the sample's state."""
        body = f"{sample.name}{sample.text}"
        more = [word for at in range(sample.attributes) for word in ("-a", f"color{at}=red{at}")]
        told = self.app.cli("send", *more, "--", body)
        assert told.returncode == 0, told.stderr
        uid = told.stdout.strip()
        self.samples[sample.name] = {"uid": uid, "body": body}
        if sample.failpoint:
            self.app.environment["MULLIGAN_FAILPOINT"] = sample.failpoint
        system = self.app.start(TASK_BACKOFF_S=0.2 if sample.name.startswith(("never", "buried")) else delay_s)
        self.app.environment.pop("MULLIGAN_FAILPOINT", None)
        until(lambda: self._is_there(sample, uid, system), f"{sample.name} is there")
        if sample.name == "crash":
            system.kill()  # before another worker has begun
        if sample.failpoint or sample.name.startswith(("cut", "once")):
            system.signal_all(signal.SIGKILL)
        else:
            system.terminate()
        system.wait()
        system.end()
        print(sample.name, uid, self.service.progress().get(uid), flush=True)

    def _is_there(self, sample: Sample, uid: str, system: System) -> bool:
        assert system.popen.poll() is None, system.log()[-3000:]
        token, progress, deaths = self.service.progress().get(uid, (None, None, 0))
        if sample.failpoint.endswith(":stop"):
            return any(_is_stopped(pid) for pid in system.workers())
        tasks = json.loads(progress or "{}").get("tasks", {})
        match sample.name.partition("-")[0]:
            case "ok":
                return f"{uid} is done" in system.log()
            case "once":
                return self.app.left() == {"requests": 0, "rejects": 1}
            case "never":
                return "default tasks have ended" in system.log()
            case "cut":
                return tasks.get("First") == ["d", 1]
            case "crash":
                return deaths == 1 and token is None
        raise AssertionError(sample.name)


def _is_stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


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
    """The samples of one service."""
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
        case "rabbitmq":
            rabbit = stack.enter_context(rabbitmq.running())
            return apart(Recording(Rabbit(app, 0.0, rabbit), systems), (*SAMPLES, LAST), lambda: rabbit, folder)
    raise SystemExit(f"no service {name!r}: there is sqlite, postgres, sqs and rabbitmq.")


def main(target: Path, wanted: list[str]) -> None:
    for name in wanted or ["sqlite", "postgres", "sqs", "rabbitmq"]:
        folder = target / name
        folder.mkdir(parents=True)
        with ExitStack() as stack:
            samples = recorded(name, folder, stack).samples
        (folder / "samples.json").write_text(json.dumps(samples, indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
