"""The project's SQS server as a program of its own, and an application that is pointed at it."""

import json
import signal
import subprocess
import sys
import sysconfig
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

REGION = "eu-south-2"
KEY = "mulligan"
MULLIGAN = Path(sysconfig.get_path("scripts")) / "mulligan"


class SqsProgram:
    """A running server. url: its endpoint."""

    def __init__(self, popen: "subprocess.Popen[str]", url: str) -> None:
        self.popen = popen
        self.url = url

    @property
    def broker_url(self) -> str:
        """For BROKER_URL."""
        return f"sqs://{REGION}?endpoint={self.url}"

    def point(self, app: Any) -> None:
        """Let everything that is started in the application's folder use it."""
        app.settings["BROKER_URL"] = self.broker_url
        app.environment |= {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": KEY}

    def declare(self, app: Any, name: str = "msgparser-requests-q") -> str:
        """Let the application make its queues; the URL of the one of this name."""
        group = ("--group", "g") if name.endswith(".fifo") else ()
        told = app.cli("send", *group, "warm")
        assert told.returncode == 0, told.stderr
        client = self.client()
        url: str = client.get_queue_url(QueueName=name)["QueueUrl"]
        (first,) = client.receive_message(QueueUrl=url)["Messages"]
        client.delete_message(QueueUrl=url, ReceiptHandle=first["ReceiptHandle"])
        client.close()
        return url

    def fill(self, url: str, entries: Sequence[dict[str, str]]) -> None:
        """Send entries of batches, without their ids, as any producer does."""
        client = self.client()
        for start in range(0, len(entries), 10):
            batch = [{"Id": str(at), **entry} for at, entry in enumerate(entries[start : start + 10])]
            assert len(client.send_message_batch(QueueUrl=url, Entries=batch)["Successful"]) == len(batch)
        client.close()

    def client(self, key: str = KEY, secret: str = KEY) -> Any:
        """A client of boto3. The caller closes it."""
        return boto3.client(
            "sqs", endpoint_url=self.url, region_name=REGION, aws_access_key_id=key, aws_secret_access_key=secret,
            config=Config(retries={"total_max_attempts": 1}),
        )  # fmt: skip

    def counters(self) -> dict[str, Any]:
        """What was asked so far, by action and outcome."""
        found: dict[str, Any] = self._control("GET", "counters")
        return found

    def reset_counters(self) -> None:
        self._control("DELETE", "counters")

    def play(self, seed: int, *rules: dict[str, Any]) -> None:
        """Do wrong from now on, as told by `servers.sqs.faults.script`."""
        self._control("PUT", "faults", {"seed": seed, "rules": rules})

    def behave(self) -> None:
        """Do no wrong any more."""
        self._control("DELETE", "faults")

    def end(self) -> int:
        """Ask it to stop; its exit code."""
        self.popen.send_signal(signal.SIGTERM)
        try:
            return self.popen.wait(20)
        finally:
            self.popen.kill()
            self.popen.wait()
            self.popen.stderr.close()

    def _control(self, method: str, name: str, data: Any = None) -> Any:
        body = None if data is None else json.dumps(data).encode()
        request = urllib.request.Request(f"{self.url}/_mulligan/{name}", data=body, method=method)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)


def start_server(*options: str, command: Sequence[str] = (), **popen: Any) -> SqsProgram:
    """Start one on any free port. command: instead of `python -m mulligan.servers.sqs`."""
    begin = command or (sys.executable, "-m", "mulligan.servers.sqs", "--control")
    process = subprocess.Popen(
        [*begin, "--port", "0", *options], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        start_new_session=True, **popen,
    )  # fmt: skip
    assert process.stderr is not None
    line = process.stderr.readline()
    if not line.startswith("SQS on http://"):
        process.kill()
        raise AssertionError(f"the server did not start: {line}{process.stderr.read()}")
    return SqsProgram(process, line.split()[2])
