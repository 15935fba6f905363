import asyncio
import itertools
import json

import pytest

from mulligan.servers.sqs.actions.context import Limits
from mulligan.servers.sqs.auth.key import Key
from mulligan.servers.sqs.auth.signature import Verifier
from mulligan.servers.sqs.dispatch import MemoryBackend
from mulligan.servers.sqs.faults.inject import FaultInjector
from mulligan.servers.sqs.faults.script import Cut, Delay, Fail, Faults, Html, Rule, Script, Skew, Throttle
from mulligan.servers.sqs.handler import ActionHandler
from mulligan.servers.sqs.wire.http import HttpRequest
from mulligan.servers.sqs.wire.response import Counters, Responder
from tests.unit.servers.sqs.world import ACCOUNT, NOW


class StoppedClock:
    now = staticmethod(lambda: NOW)
    monotonic = staticmethod(lambda: NOW)


class Injected:
    """The handler of actions in memory, wrapped by an injector with a script."""

    def __init__(self, *rules, verifier=None):
        numbers = itertools.count(1)
        self.counters = Counters()
        responder = Responder(self.counters)
        backend = MemoryBackend(Limits(), lambda: f"id-{next(numbers)}")
        handler = ActionHandler(
            backend.run, responder, StoppedClock(), verifier=verifier, account=ACCOUNT, region="eu-west-1"
        )
        self.faults = Faults(Script(rules))
        self.injector = FaultInjector(handler, self.faults, self.counters, responder, StoppedClock())

    def start(self, action, content_type="application/x-amz-json-1.0", **body):
        headers = {"host": "sqs.test", "x-amz-target": f"AmazonSQS.{action}", "content-type": content_type}
        data = json.dumps(body).encode()
        return self.injector.handle(HttpRequest("POST", "/", headers, data, keeps_alive=True, size_bytes=len(data)))

    async def ask(self, action, **body):
        response = self.start(action, **body)
        return await response if asyncio.iscoroutine(response) else response

    @property
    def outcomes(self):
        return self.counters.snapshot()["requests"]


async def test_request_passes_at_once_when_no_fault_is_active_for_it():
    one = Injected(Rule(Fail(), action="SendMessage"))

    response = one.start("CreateQueue", QueueName="q")

    assert response.data.startswith(b"HTTP/1.1 200 OK")
    assert one.outcomes == {"CreateQueue": {"ok": 1}}


async def test_unsigned_request_is_refused_for_its_signature_and_not_throttled():
    one = Injected(Rule(Throttle()), verifier=Verifier([Key("id", "secret")]))

    response = await one.ask("ListQueues")

    assert b"MissingAuthenticationTokenException" in response.data
    assert one.outcomes == {"ListQueues": {"MissingAuthenticationTokenException": 1}}


async def test_error_fault_comes_before_the_request_is_decoded():
    one = Injected(Rule(Throttle()))

    response = one.start("ListQueues", content_type="text/plain")

    assert b"RequestThrottled" in response.data


async def test_first_fault_in_place_of_the_action_wins():
    one = Injected(Rule(Html(502)), Rule(Throttle()))

    response = await one.ask("ListQueues")

    assert response.data.startswith(b"HTTP/1.1 502 Bad Gateway")
    assert one.outcomes == {"ListQueues": {"html": 1}}


async def test_cut_after_the_action_does_not_hide_a_refusal_before_it():
    one = Injected(Rule(Cut("after")))

    response = one.start("ListQueues", content_type="text/plain")

    assert b"SerializationException" in response.data
    assert not response.is_cut


async def test_faults_after_the_action_apply_to_its_error_as_well():
    one = Injected(Rule(Delay(0.0)), Rule(Cut("after", 12)))

    response = await one.ask("GetQueueUrl", QueueName="missing")

    assert (response.data, response.is_cut) == (b"HTTP/1.1 400", True)
    assert one.outcomes == {"GetQueueUrl": {"QueueDoesNotExist": 1, "cut after": 1}}


async def test_skewed_clock_dates_the_response():
    one = Injected(Rule(Skew(3600.0)))

    response = await one.ask("ListQueues")

    assert b"Date: Fri, 15 Jan 2027 09:00:00 GMT\r\n" in response.data


@pytest.mark.parametrize("url", ["http://sqs.test/000000000000/q", "q"])
async def test_fault_of_one_queue_hits_requests_for_that_queue_only(url):
    one = Injected(Rule(Fail("InternalFailure"), queue="q"))

    hit = await one.ask("GetQueueAttributes", QueueUrl=url)
    other = await one.ask("GetQueueAttributes", QueueUrl=f"{url}2")

    assert b"InternalFailure" in hit.data
    assert b"QueueDoesNotExist" in other.data
