import itertools
import json
import sqlite3
from contextlib import closing, contextmanager
from dataclasses import replace
from random import Random

import pytest

from mulligan.brokers.sqlite import store
from mulligan.servers.sqs import dispatch as engine
from mulligan.servers.sqs.actions.context import Call, Twist
from mulligan.servers.sqs.actions.limit import Limits
from mulligan.servers.sqs.store import sqlite as table
from mulligan.servers.sqs.store.memory import MemoryStore

NOW = 1_800_000_000.0
ACCOUNT = "000000000000"
BASE = "http://sqs.test"


class World:
    """The engine on one store, with a clock that a test moves. `do` raises what the service would answer."""

    def __init__(self, make_store):
        numbers = itertools.count(1)
        self.new_id = lambda: f"id-{next(numbers)}"
        self.store = make_store(self.new_id)
        self.now = NOW
        self.limits = Limits()
        self.twist = Twist(Random(1))

    def answer(self, action, **body):
        request = engine.decode(action, json.dumps(body).encode())
        call = Call(self.now, ACCOUNT, "eu-west-1", BASE, "mulligan", self.twist)
        return engine.run(request, self.store, self.limits, call, self.new_id)

    def do(self, action, **body):
        answer = self.answer(action, **body)
        if answer.error is not None:
            raise answer.error
        return answer.data

    def move(self):
        call = Call(self.now, ACCOUNT, "eu-west-1", BASE, "mulligan")
        return engine.advance(self.store, self.limits, call, self.new_id)

    def pass_time(self, seconds):
        self.now += seconds

    def twisted(self, **fields):
        self.twist = replace(self.twist, **fields)

    def queue(self, name="q", **attributes):
        if name.endswith(".fifo"):
            attributes = {"FifoQueue": "true", **attributes}
        return self.do("CreateQueue", QueueName=name, Attributes=attributes)["QueueUrl"]

    def arn(self, name):
        return f"arn:aws:sqs:eu-west-1:{ACCOUNT}:{name}"

    def redrive(self, name, count):
        return json.dumps({"deadLetterTargetArn": self.arn(name), "maxReceiveCount": count})

    def send(self, url, body="x", **fields):
        return self.do("SendMessage", QueueUrl=url, MessageBody=body, **fields)

    def receive(self, url, count=10, **fields):
        return self.do("ReceiveMessage", QueueUrl=url, MaxNumberOfMessages=count, **fields).get("Messages", [])

    def bodies(self, url, count=10, **fields):
        return [message["Body"] for message in self.receive(url, count, **fields)]

    def attribute(self, url, name):
        return self.do("GetQueueAttributes", QueueUrl=url, AttributeNames=[name])["Attributes"][name]


@contextmanager
def opened(kind):
    """A world on a store of a kind, memory or table."""
    if kind == "memory":
        yield World(MemoryStore)
        return
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        for statements in store.LAYOUT.migrations:
            for statement in statements:
                connection.execute(statement)
        secret = table.prepare(connection)
        yield World(lambda _new_id: table.TableStore(connection, 0.0, secret, "eu-west-1"))


@pytest.fixture(params=["memory", "table"])
def world(request):
    with opened(request.param) as world:
        yield world
