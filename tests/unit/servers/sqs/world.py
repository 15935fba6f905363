"""The actions of the SQS server on one store: what the tests of this folder act on."""

import itertools
import json
import sqlite3
from contextlib import closing, contextmanager
from dataclasses import replace
from random import Random

from mulligan.brokers.sqlite import store
from mulligan.servers.sqs import dispatch
from mulligan.servers.sqs.actions.context import Call, FaultEffect, Limits
from mulligan.servers.sqs.store import sqlite
from mulligan.servers.sqs.store.memory import MemoryStore

NOW = 1_800_000_000.0
ACCOUNT = "000000000000"
BASE = "http://sqs.test"


class World:
    """The actions on one store, with a clock that a test moves. `do` raises what the service would answer."""

    def __init__(self, make_store):
        numbers = itertools.count(1)
        self.new_id = lambda: f"id-{next(numbers)}"
        self.store = make_store(self.new_id)
        self.now = NOW
        self.limits = Limits()
        self.effect = FaultEffect(Random(1))

    def answer(self, action, **body):
        request = dispatch.decode(action, json.dumps(body).encode())
        call = Call(self.now, ACCOUNT, "eu-west-1", BASE, "mulligan", self.effect)
        return dispatch.run(request, self.store, self.limits, call, self.new_id)

    def do(self, action, **body):
        answer = self.answer(action, **body)
        if answer.error is not None:
            raise answer.error
        return answer.data

    def move(self):
        call = Call(self.now, ACCOUNT, "eu-west-1", BASE, "mulligan")
        return dispatch.advance(self.store, self.limits, call, self.new_id)

    def pass_time(self, seconds):
        self.now += seconds

    def go_wrong(self, **fields):
        self.effect = replace(self.effect, **fields)

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
    """A world on a store of a kind, memory or sqlite."""
    if kind == "memory":
        yield World(MemoryStore)
        return
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        for statements in store.LAYOUT.migrations:
            for statement in statements:
                connection.execute(statement)
        secret = sqlite.prepare(connection)
        yield World(lambda _new_id: sqlite.SqliteStore(connection, 0.0, secret, "eu-west-1"))
