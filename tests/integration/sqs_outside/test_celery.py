"""Celery, a stranger with a client and habits of its own, sends and consumes through our server."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.acceptance.harness.app import until
from tests.acceptance.harness.sqs import start_server
from tests.support import localemu

HERE = Path(__file__).parent


@pytest.fixture
def server():
    running = start_server()
    yield running
    running.end()


@pytest.fixture
def celery(server, tmp_path):
    """Starts programs with the application at hand; those that run are ended with the test."""
    localemu.require()
    processes = []

    def start(*arguments: str) -> "subprocess.Popen[bytes]":
        with (tmp_path / f"log{len(processes)}").open("wb") as log:
            process = subprocess.Popen(
                [localemu.PYTHON, *arguments],
                cwd=HERE,
                env={
                    "PATH": os.environ["PATH"],
                    "HOME": str(tmp_path),
                    "PYTHONDONTWRITEBYTECODE": "1",
                    "OUTPUT": str(tmp_path / "done"),
                    "AWS_ENDPOINT_URL_SQS": server.url,
                },
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        processes.append(process)
        return process

    yield start
    for process in processes:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(30)


def test_celery_sends_consumes_and_retries_through_our_server(server, celery, tmp_path):
    done = tmp_path / "done"
    send = "from celery_app import order\nfor number in range(20): order.delay(number)"

    assert celery("-c", send).wait(60) == 0, (tmp_path / "log0").read_text()
    worker = celery(
        "-m", "celery", "-A", "celery_app", "worker", "--pool", "solo", "--loglevel", "INFO", "--without-mingle"
    )

    def is_done() -> bool:
        assert worker.poll() is None, (tmp_path / "log1").read_text()
        return done.exists() and len(done.read_text().splitlines()) >= 20

    until(is_done, "Celery has done its jobs")
    until(lambda: server.counters()["messages"]["deleted"] >= 30, "Celery has removed its messages")
    told = server.counters()
    worker.terminate()

    assert worker.wait(60) == 0
    assert sorted(map(int, done.read_text().splitlines())) == list(range(20))
    codes = {code for outcomes in told["requests"].values() for code in outcomes}
    assert codes <= {"ok", "empty", "QueueDoesNotExist"}, told
