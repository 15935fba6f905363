"""A process that a task forks has none of its worker's connections: one that it holds open outlives the worker.

To RabbitMQ a dead worker was a living consumer then, whose messages nobody else got.
"""

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

PROGRAM = """
import asyncio, os, socket, stat, sys
from pathlib import Path

from mulligan import fork
from mulligan.brokers.open import open_broker
from mulligan.clock import SystemClock
from mulligan.ledger.open import open_ledger
from mulligan.settings.model import Settings

IP = (socket.AF_INET, socket.AF_INET6)

def connections():
    found = 0
    for name in os.listdir("/proc/self/fd"):
        try:
            if stat.S_ISSOCK(os.fstat(int(name)).st_mode):
                with socket.socket(fileno=os.dup(int(name))) as one:
                    found += one.family in IP and one.type == socket.SOCK_STREAM
        except OSError:
            pass
    return found

async def main():
    queues = Settings().queues
    broker = open_broker(os.environ["BROKER"], clock=SystemClock(), emit=lambda _: None, base_dir=Path.cwd())
    ledger = open_ledger(os.environ["LEDGER"], clock=SystemClock(), base_dir=Path.cwd())
    await ledger.open()
    await broker.declare(queues, create=True)
    await broker.depth(queues.requests)
    fork.guard()
    before = connections()
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(writing, b"%d" % connections())
        os._exit(0)
    os.waitpid(pid, 0)
    in_child = int(os.read(reading, 10))
    await broker.depth(queues.requests)
    await ledger.forget(0.0)
    print(before, in_child, connections())
    await broker.close()
    await ledger.close()

asyncio.run(main())
"""


@pytest.fixture
def sqs_url() -> Iterator[str]:
    with subprocess.Popen(
        [sys.executable, "-m", "mulligan.servers.sqs", "--port", "0"],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    ) as server:  # fmt: skip
        assert server.stdout is not None
        line = server.stdout.readline()
        yield line.partition("SQS on ")[2].partition(" ")[0]
        server.terminate()


@pytest.mark.parametrize(("broker", "ledger"), [("rabbitmq", "none"), ("sqs", "none"), ("sqlite", "postgres")])
def test_forked_process_has_no_connection_to_broker_or_ledger_and_the_worker_keeps_its_own(
    request, tmp_path, broker, ledger
):
    urls = {"none": "none", "sqlite": "sqlite:///queue.db"}
    if broker == "rabbitmq":
        server = request.getfixturevalue("rabbitmq")
        urls["rabbitmq"] = server.url(server.new_vhost())
    if broker == "sqs":
        urls["sqs"] = f"sqs://eu-west-1?endpoint={request.getfixturevalue('sqs_url')}"
    if ledger == "postgres":
        server = request.getfixturevalue("postgres")
        urls["postgres"] = server.url_of(server.new_schema())
    keys = {"AWS_ACCESS_KEY_ID": "mulligan", "AWS_SECRET_ACCESS_KEY": "mulligan"}

    environment = os.environ | keys | {"BROKER": urls[broker], "LEDGER": urls[ledger]}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=tmp_path, env=environment, check=False, capture_output=True, text=True,
        timeout=60,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    before, in_child, after = map(int, done.stdout.split())
    assert before >= 1
    assert in_child == 0
    assert after >= 1
