"""What a version left in queues and ledger, as files: taken from the services, and put into others of the same kind.

A folder has `samples.json` (uid and body of each message), `messages.json` (SQS: as ReceiveMessage gave them; RabbitMQ:
properties, headers and body) or `queue.sql` (the embedded queue), `ledger.sql` (SQLite or PostgreSQL), and `bodies/` if
a body was stored. All of it was written at RECORDED_AT by the clock of the processes that wrote it: they, and those
that read it, are started with their clock set.
"""

import base64
import json
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Mapping
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pika

from tests.acceptance.harness.app import App, until
from tests.acceptance.harness.clock import WallClock
from tests.acceptance.harness.sqs import SqsProgram
from tests.support.postgres import PASSWORD, Server
from tests.support.rabbitmq import RabbitServer

__all__ = ["RECORDED_AT", "Embedded", "Postgres", "Rabbit", "Service", "Sqs", "SqsFifo"]

RECORDED_AT = 1_700_000_000.0
ROLES = ("requests", "rejects", "dead")
_MARKS = ("application_id", "user_version")


class Service:
    """One service that an application is pointed at, with a clock that says RECORDED_AT and so many seconds."""

    def __init__(self, app: App, after_s: float) -> None:
        self.app = app
        self.clock = WallClock(app)
        self.behind_s = RECORDED_AT + after_s - time.time()
        self.clock.set_by(self.behind_s)

    def put(self, folder: Path) -> None:
        """What was recorded is there again."""
        (self.app.folder / "var").mkdir()
        if (folder / "bodies").exists():
            shutil.copytree(folder / "bodies", self.app.folder / "var/bodies")
        self.put_messages(folder)
        self.put_ledger(folder)

    def put_messages(self, folder: Path) -> None:
        raise NotImplementedError

    def put_ledger(self, folder: Path) -> None:
        _load(self.app.folder / "var/ledger.db", folder / "ledger.sql")

    def take(self, folder: Path) -> None:
        """Record what is there."""
        if (bodies := self.app.folder / "var/bodies").exists() and any(bodies.iterdir()):
            shutil.copytree(bodies, folder / "bodies")
        self.take_messages(folder)
        self.take_ledger(folder)

    def take_messages(self, folder: Path) -> None:
        raise NotImplementedError

    def take_ledger(self, folder: Path) -> None:
        _dump(self.app.folder / "var/ledger.db", folder / "ledger.sql")

    def progress(self) -> dict[str, tuple[str | None, str | None, int]]:
        """(token, progress, deaths) of each uid of the ledger."""
        rows = self.app.rows("ledger.db", "SELECT uid, token, progress, deaths FROM record")
        return {uid: (token, progress, deaths) for uid, token, progress, deaths in rows}


# -- the embedded queue


class Embedded(Service):
    """The embedded queue, and the ledger beside it."""

    def put_messages(self, folder: Path) -> None:
        _load(self.app.folder / "var/mulligan.db", folder / "queue.sql")

    def take_messages(self, folder: Path) -> None:
        _dump(self.app.folder / "var/mulligan.db", folder / "queue.sql")


def _dump(database: Path, file: Path) -> None:
    with closing(sqlite3.connect(database)) as connection:
        marks = [f"PRAGMA {name}={connection.execute(f'PRAGMA {name}').fetchone()[0]};" for name in _MARKS]
        file.write_text("\n".join([*connection.iterdump(), *marks, ""]), "utf-8")


def _load(database: Path, file: Path) -> None:
    with closing(sqlite3.connect(database)) as connection:
        connection.executescript(file.read_text("utf-8"))


# -- PostgreSQL

# found before the server's own of the same name: the tables keep times by the server's clock
_CLOCK = """
CREATE FUNCTION {schema}.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE
AS 'SELECT pg_catalog.clock_timestamp() + make_interval(secs => {seconds})'
"""


class Postgres(Embedded):
    """The embedded queue, with the ledger in PostgreSQL."""

    def __init__(self, app: App, after_s: float, server: Server) -> None:
        super().__init__(app, after_s)
        self._server = server
        self._schema = server.new_schema()
        server.sql(_CLOCK.format(schema=self._schema, seconds=self.behind_s))
        app.settings["LEDGER_URL"] = server.url_of(f"{self._schema},pg_catalog")

    def put_ledger(self, folder: Path) -> None:
        self._server.sql((folder / "ledger.sql").read_text("utf-8").replace("recorded.", f"{self._schema}."))

    def take_ledger(self, folder: Path) -> None:
        server = self._server
        dump = subprocess.run(
            [server.bin / "pg_dump", "-h", server.address, "-p", str(server.port), "-U", "tester", "-d", "postgres",
             "-t", f"{self._schema}.mulligan_*", "--inserts", "--no-owner"],
            check=True, capture_output=True, text=True, env={"PGPASSWORD": PASSWORD}, timeout=60, cwd=server.folder,
        ).stdout  # fmt: skip
        # what psql and pg_dump say to each other is not the tables
        kept = [line for line in dump.splitlines() if line and not line.startswith(("--", "\\", "SET ", "SELECT "))]
        (folder / "ledger.sql").write_text("\n".join([*kept, ""]).replace(f"{self._schema}.", "recorded."), "utf-8")

    def progress(self) -> dict[str, tuple[str | None, str | None, int]]:
        if not self._server.sql(f"SELECT to_regclass('{self._schema}.mulligan_record')")[0]:
            return {}
        rows = self._server.sql(
            f"SELECT json_build_array(uid, token, progress, deaths) FROM {self._schema}.mulligan_record"
        )
        return {uid: (token, progress, deaths) for uid, token, progress, deaths in map(json.loads, rows)}


# -- SQS


class Sqs(Service):
    """Standard queues of an SQS server, and a SQLite ledger."""

    names: Mapping[str, str] = {role: f"msgparser-{role}-q" for role in ROLES}
    options = ("--no-verify",)
    """Of the server, which has the application's clock: boto3's signatures have another one's time."""

    def use(self, server: SqsProgram) -> None:
        """From now on. The server is started with the application's environment, and so with its clock."""
        self._server = server
        server.point(self.app)
        self.app.settings["SHUTDOWN_S"] = 6  # shorter polls

    def put_messages(self, folder: Path) -> None:
        self._server.declare(self.app, self.names["requests"])
        (self.app.folder / "var/ledger.db").unlink(missing_ok=True)
        client = self._server.client()
        for role, messages in json.loads((folder / "messages.json").read_text("utf-8")).items():
            url = client.get_queue_url(QueueName=self.names[role])["QueueUrl"]
            for message in messages:
                client.send_message(
                    QueueUrl=url,
                    MessageBody=message["Body"],
                    MessageAttributes=message["MessageAttributes"],
                    **self.place(message["Attributes"]),
                )
        client.close()

    def place(self, attributes: Mapping[str, str]) -> dict[str, str]:
        """What else SendMessage needs. attributes: of the system, as ReceiveMessage gave them."""
        return {}

    def taken(self, counts: Mapping[str, int]) -> dict[str, list[dict[str, Any]]]:
        """All messages, as ReceiveMessage gives them once their leases and delays have ended. counts: how many."""
        client = self._server.client()
        found: dict[str, list[dict[str, Any]]] = {}
        for role, count in counts.items():
            url = client.get_queue_url(QueueName=self.names[role])["QueueUrl"]
            found[role] = []
            deadline = time.monotonic() + 30
            while len(found[role]) < count:
                assert time.monotonic() < deadline, f"{role} has {len(found[role])} messages, expected {count}"
                answer = client.receive_message(
                    QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=5, MessageSystemAttributeNames=["All"],
                    MessageAttributeNames=["All"],
                )  # fmt: skip
                found[role] += answer.get("Messages", [])
        client.close()
        return found


class SqsFifo(Sqs):
    """FIFO queues of an SQS server, and a SQLite ledger. The settings have names that every version reads."""

    names: Mapping[str, str] = {role: f"msgparser-{role}-q.fifo" for role in ROLES}

    def __init__(self, app: App, after_s: float) -> None:
        super().__init__(app, after_s)
        requests, rejects, dead = self.names.values()
        app.settings |= {"MAIN_QUEUE": requests, "DEAD_LETTER_QUEUE": rejects, "DEAD_QUEUE": dead}

    def place(self, attributes: Mapping[str, str]) -> dict[str, str]:
        return {name: attributes[name] for name in ("MessageGroupId", "MessageDeduplicationId")}

    def groups(self, role: str) -> list[str]:
        """Of up to ten messages that can be received now; they stay so."""
        client = self._server.client()
        answer = client.receive_message(
            QueueUrl=client.get_queue_url(QueueName=self.names[role])["QueueUrl"],
            MaxNumberOfMessages=10, VisibilityTimeout=0, MessageSystemAttributeNames=["MessageGroupId"],
        )  # fmt: skip
        client.close()
        return [message["Attributes"]["MessageGroupId"] for message in answer.get("Messages", [])]


# -- RabbitMQ


class Rabbit(Service):
    """A virtual host of a RabbitMQ server, and a SQLite ledger."""

    names: Mapping[str, str] = {role: f"msgparser-{role}-q" for role in ROLES}

    def __init__(self, app: App, after_s: float, server: RabbitServer) -> None:
        super().__init__(app, after_s)
        self.use(server)

    def use(self, server: RabbitServer) -> None:
        self._url = server.url(server.new_vhost())
        self.app.settings["BROKER_URL"] = self._url

    def put_messages(self, folder: Path) -> None:
        told = self.app.cli("send", "warm")  # makes the queues
        assert told.returncode == 0, told.stderr
        with closing(pika.BlockingConnection(pika.URLParameters(self._url))) as connection:
            channel = connection.channel()
            channel.confirm_delivery()
            channel.queue_purge(self.names["requests"])
            for role, messages in json.loads((folder / "messages.json").read_text("utf-8")).items():
                for message in messages:
                    properties = pika.BasicProperties(**_typed(message["properties"]))
                    channel.basic_publish("", self.names[role], base64.b64decode(message["body"]), properties)
        (self.app.folder / "var/ledger.db").unlink(missing_ok=True)

    def taken(self, counts: Mapping[str, int]) -> dict[str, list[dict[str, Any]]]:
        """All messages, once their delays have ended. counts: how many."""
        found: dict[str, list[dict[str, Any]]] = {}
        with closing(pika.BlockingConnection(pika.URLParameters(self._url))) as connection:
            channel = connection.channel()
            for role, count in counts.items():
                found[role] = []
                while len(found[role]) < count:
                    _, properties, body = until(
                        lambda role=role: _not_none(channel.basic_get(self.names[role])),  # type: ignore[misc]
                        f"{role} has {count} messages", timeout_s=30,
                    )  # fmt: skip
                    given = {name: item for name, item in vars(properties).items() if item is not None}
                    found[role].append({"properties": _plain(given), "body": base64.b64encode(body).decode()})
        return found


def _not_none(answer: tuple[Any, Any, Any]) -> tuple[Any, Any, Any] | None:
    return None if answer[0] is None else answer


def _plain(item: Any) -> Any:
    """As JSON has it, with the types that JSON hasn't."""
    match item:
        case dict():
            return {name: _plain(one) for name, one in item.items()}
        case list():
            return [_plain(one) for one in item]
        case bytes():
            return {"base64": base64.b64encode(item).decode()}
        case datetime():
            return {"timestamp": int(item.replace(tzinfo=UTC).timestamp())}
    return item


def _typed(item: Any) -> Any:
    """The reverse of `_plain`."""
    match item:
        case {"base64": str(text)}:
            return base64.b64decode(text)
        case {"timestamp": int(seconds)}:
            return datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None)
        case dict():
            return {name: _typed(one) for name, one in item.items()}
        case list():
            return [_typed(one) for one in item]
    return item
