import asyncio
import contextlib
import threading
import time

import boto3
import pytest
from botocore.config import Config

from mulligan.servers.sqs.server import serve


class ShiftedClock:
    """Real time that a test can push forward."""

    def __init__(self):
        self.shift_s = 0.0

    def now(self):
        return time.time() + self.shift_s

    def monotonic(self):
        return time.monotonic() + self.shift_s


class Running:
    """A server in a loop of its own thread, so that blocking clients can talk to it."""

    def __init__(self, **options):
        self.clock = options.setdefault("clock", ShiftedClock())
        self.loop = asyncio.new_event_loop()
        self.errors = []
        self.loop.set_exception_handler(lambda _, context: self.errors.append(context))
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        try:
            self.server = self.run(serve(**options))
        except BaseException:
            self.end()
            raise

    def run(self, job):
        return asyncio.run_coroutine_threadsafe(job, self.loop).result(30)

    def client(self, key="mulligan", secret="mulligan", token=None, region="eu-west-1", **config):
        retries = config.pop("retries", {"total_max_attempts": 1})
        return boto3.client(
            "sqs",
            endpoint_url=self.server.url,
            region_name=region,
            aws_access_key_id=key,
            aws_secret_access_key=secret,
            aws_session_token=token,
            config=Config(retries=retries, **config),
        )

    def pass_time(self, seconds):
        self.clock.shift_s += seconds
        self.loop.call_soon_threadsafe(self.server.look_again)

    def end(self):
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)
        self.loop.close()

    def close(self):
        self.run(self.server.close())
        self.end()


@pytest.fixture
def clock():
    return ShiftedClock()


@pytest.fixture
def start():
    """Starts servers and closes them; a server whose loop saw an error fails the test."""
    with contextlib.ExitStack() as stack:
        running = []

        def start_one(**options):
            one = Running(**options)
            stack.callback(one.close)
            running.append(one)
            return one

        yield start_one
    assert [one.errors for one in running if one.errors] == []


@pytest.fixture
def running(start):
    return start()


@pytest.fixture
def sqs(running):
    return running.client()
