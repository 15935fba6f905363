"""One call until its end: what is repeated, how often, how long in between, and what is mended on the way."""

import asyncio
import json
from email.utils import formatdate

import pytest

from mulligan.brokers.sqs import client as module
from mulligan.brokers.sqs import codec
from mulligan.brokers.sqs.client import BUDGET
from mulligan.brokers.sqs.error import ServiceRefused
from mulligan.core.error import BrokerUnavailable

NOW = 1_700_000_000.0
"""Of the client's clock."""


def answer(status, body=b"{}", **headers):
    lines = "".join(f"{name.replace('_', '-')}: {text}\r\n" for name, text in headers.items())
    return f"HTTP/1.1 {status} X\r\n{lines}content-length: {len(body)}\r\n\r\n".encode() + body


def error(status, code, **headers):
    return answer(status, json.dumps({"__type": f"com.amazonaws.sqs#{code}", "message": "words"}).encode(), **headers)


DONE = answer(200, b'{"QueueUrl":"u"}')


async def call(client, read=codec.read_object):
    return await client.call("GetQueueUrl", b'{"QueueName":"q"}', read, where="q")


async def test_call_gives_what_read_makes_of_the_answer(speak, client_of):
    speaker = await speak(DONE)
    client = client_of(speaker)

    assert await call(client) == {"QueueUrl": "u"}
    assert client.counts.requests == {"GetQueueUrl": 1}
    assert client.counts.billed == {"GetQueueUrl": 1}
    assert client.counts.errors == client.counts.retries == client.counts.throttled == {}
    assert b"x-amz-target: AmazonSQS.GetQueueUrl\r\n" in speaker.requests[0]
    assert b"x-amz-security-token: t1\r\n" in speaker.requests[0]


async def test_call_counts_each_64_kib_of_a_payload_as_billed(speak, client_of):
    big = answer(200, json.dumps({"x": "y" * 140_000}).encode())
    client = client_of(await speak(big))

    await call(client)

    assert client.counts.billed == {"GetQueueUrl": 3}


@pytest.mark.parametrize(
    ("fault", "throttled"),
    [
        (error(503, "ServiceUnavailable"), {}),
        (error(500, "InternalFailure"), {}),
        (error(400, "RequestThrottled"), {"GetQueueUrl": 1}),
        (error(400, "KmsThrottled"), {"GetQueueUrl": 1}),
        (answer(429, b"slow down"), {"GetQueueUrl": 1}),
        (answer(503, b"<html>Service Unavailable</html>"), {}),
        (answer(200, b"<html>Welcome to our network</html>"), {}),
        (answer(403, b"<html>Blocked by proxy</html>"), {}),
        (answer(200, b"[]"), {}),
        (None, {}),
    ],
    ids=["503", "500", "throttled", "kms throttled", "429", "html 503", "html 200", "html 403", "not an object", "cut"],
)
async def test_call_is_repeated_and_succeeds_after(speak, client_of, fault, throttled):
    speaker = await speak(fault, DONE)
    client = client_of(speaker)

    assert await call(client) == {"QueueUrl": "u"}
    assert client.counts.requests == {"GetQueueUrl": 2}
    assert client.counts.errors == client.counts.retries == {"GetQueueUrl": 1}
    assert client.counts.throttled == throttled


async def test_call_is_repeated_when_nothing_comes(speak, client_of, monkeypatch):
    monkeypatch.setattr(module, "READ_S", 0.05)
    client = client_of(await speak(b"", DONE))

    assert await call(client) == {"QueueUrl": "u"}


async def test_call_gives_up_after_three_tries_and_tells_what_it_saw(speak, client_of):
    speaker = await speak(error(503, "ServiceUnavailable"))
    client = client_of(speaker)

    with pytest.raises(BrokerUnavailable, match=r"q: GetQueueUrl failed: ServiceUnavailable \(HTTP 503\): words .*3x"):
        await call(client)

    assert len(speaker.requests) == 3


async def test_call_is_not_repeated_when_too_much_is_in_flight(speak, client_of):
    speaker = await speak(error(403, "OverLimit"))

    with pytest.raises(BrokerUnavailable, match="OverLimit"):
        await call(client_of(speaker))

    assert len(speaker.requests) == 1


@pytest.mark.parametrize(
    "code", ["AccessDenied", "QueueDoesNotExist", "KmsDisabled", "InvalidAddress", "InvalidSecurity"]
)
async def test_call_is_refused_at_once_with(speak, client_of, code):
    speaker = await speak(error(400, code))

    with pytest.raises(ServiceRefused, match=f"q at http://127.0.0.1.*{code}") as caught:
        await call(client_of(speaker))

    assert caught.value.code == code
    assert len(speaker.requests) == 1


async def test_calls_together_repeat_no_more_than_their_budget_during_an_outage(speak, client_of):
    speaker = await speak(error(503, "ServiceUnavailable"))
    client = client_of(speaker)

    for _ in range(100):
        with pytest.raises(BrokerUnavailable):
            await call(client)

    # 100 calls and the 20 repeats that the budget pays for
    assert len(speaker.requests) == 100 + BUDGET / 5


async def test_calls_earn_their_budget_back_by_succeeding(speak, client_of):
    outage = error(503, "ServiceUnavailable")
    client = client_of(await speak(*[outage] * 120, *[DONE] * 50, outage, DONE))
    for _ in range(100):
        with pytest.raises(BrokerUnavailable):
            await call(client)

    for _ in range(50):
        await call(client)

    assert await call(client) == {"QueueUrl": "u"}


@pytest.mark.parametrize(("fault", "longest_s"), [("ServiceUnavailable", [0.1, 0.2]), ("RequestThrottled", [1.0, 2.0])])
async def test_call_waits_with_full_jitter_and_longer_when_throttled(speak, client_of, monkeypatch, fault, longest_s):
    waits = []
    plain = asyncio.timeout

    def timeout(delay_s):
        if delay_s != 5.0:  # that of connecting
            waits.append(delay_s)
            return plain(0)
        return plain(delay_s)

    monkeypatch.setattr(asyncio, "timeout", timeout)
    client = client_of(await speak(error(400, fault) if "Thro" in fault else error(503, fault)), rand=lambda: 0.5)

    with pytest.raises(BrokerUnavailable):
        await call(client)

    assert waits == [delay_s * 0.5 for delay_s in longest_s]


async def test_call_that_waits_for_its_next_try_ends_when_the_client_closes(speak, client_of):
    speaker = await speak(error(400, "RequestThrottled"))
    client = client_of(speaker, rand=lambda: 1.0)
    task = asyncio.create_task(call(client))
    await speaker.arrived.wait()

    client.stop_retries()

    with pytest.raises(BrokerUnavailable):
        await task
    assert len(speaker.requests) == 1


# -- repairs ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("skew_s", [600, -600, 86400])
async def test_call_corrects_the_clock_and_signs_again_once(speak, client_of, skew_s):
    date = formatdate(NOW + skew_s, usegmt=True)
    speaker = await speak(error(403, "InvalidSignatureException", date=date), DONE)
    client = client_of(speaker)

    assert await call(client) == {"QueueUrl": "u"}
    await call(client)

    dates = [request.split(b"x-amz-date: ")[1].split(b"\r\n")[0] for request in speaker.requests]
    assert dates[0] == b"20231114T221320Z"
    assert dates[1] == dates[2] != dates[0]
    assert len(client.events) == 1
    assert "clock is off" in client.events[0].text
    assert client.counts.retries == {}


async def test_call_is_refused_when_the_clock_is_right_and_the_signature_is_not(speak, client_of):
    date = formatdate(NOW + 20, usegmt=True)
    speaker = await speak(error(403, "SignatureDoesNotMatch", date=date))

    client = client_of(speaker)
    client.source.is_same = True

    with pytest.raises(ServiceRefused, match="AWS_SECRET_ACCESS_KEY"):
        await call(client)

    assert len(speaker.requests) == 1


async def test_call_is_refused_when_the_corrected_clock_does_not_help(speak, client_of):
    date = formatdate(NOW + 600, usegmt=True)
    speaker = await speak(error(403, "RequestExpired", date=date))

    with pytest.raises(ServiceRefused):
        await call(client_of(speaker))

    assert len(speaker.requests) == 2


@pytest.mark.parametrize("date", ["", "yesterday"])
async def test_call_is_refused_when_the_service_does_not_tell_its_time(speak, client_of, date):
    with pytest.raises(ServiceRefused):
        await call(client_of(await speak(error(403, "RequestExpired", date=date))))


async def test_call_renews_expired_keys_and_signs_again_once(speak, client_of):
    speaker = await speak(error(403, "ExpiredToken"), DONE)
    client = client_of(speaker)

    assert await call(client) == {"QueueUrl": "u"}
    assert b"Credential=OLD/" in speaker.requests[0]
    assert b"Credential=NEW/" in speaker.requests[1]
    assert b"x-amz-security-token: t2\r\n" in speaker.requests[1]


@pytest.mark.parametrize("code", ["InvalidClientTokenId", "UnrecognizedClientException", "InvalidAccessKeyId"])
async def test_call_looks_for_rotated_keys_when_the_old_ones_are_not_known_any_more(speak, client_of, code):
    speaker = await speak(error(403, code), DONE)
    client = client_of(speaker)

    assert await call(client) == {"QueueUrl": "u"}
    assert b"Credential=NEW/" in speaker.requests[1]
    assert [event.text for event in client.events] == [
        f"the service refused the access key ...OLD ({code}). A new search found others, which are used from now on."
    ]


async def test_call_looks_for_rotated_keys_when_the_signature_is_refused_and_the_clock_is_right(speak, client_of):
    speaker = await speak(error(403, "SignatureDoesNotMatch", date=formatdate(NOW + 20, usegmt=True)), DONE)

    assert await call(client_of(speaker)) == {"QueueUrl": "u"}
    assert b"Credential=NEW/" in speaker.requests[1]


async def test_call_mends_clock_and_keys_when_both_are_wrong(speak, client_of):
    refusal = error(403, "SignatureDoesNotMatch", date=formatdate(NOW + 600, usegmt=True))
    speaker = await speak(refusal, refusal, DONE)

    assert await call(client_of(speaker)) == {"QueueUrl": "u"}
    assert [b"Credential=NEW/" in request for request in speaker.requests] == [False, False, True]


async def test_calls_look_for_other_keys_once_when_there_are_none_and_are_refused_with_what_to_do(speak, client_of):
    client = client_of(await speak(error(403, "InvalidClientTokenId")))
    client.source.is_same = True

    for _ in range(3):
        with pytest.raises(ServiceRefused, match="no other was found: check AWS_ACCESS_KEY_ID"):
            await call(client)

    assert client.source.renewals == 1


async def test_call_is_refused_when_the_renewed_keys_are_over_too(speak, client_of):
    speaker = await speak(error(403, "ExpiredToken"))

    with pytest.raises(ServiceRefused, match="Renew them"):
        await call(client_of(speaker))

    assert len(speaker.requests) == 2


async def test_call_mends_its_keys_once_even_if_there_are_ever_new_ones(speak, client_of):
    speaker = await speak(error(403, "ExpiredToken"))
    client = client_of(speaker)
    client.source.is_endless = True

    with pytest.raises(ServiceRefused):
        await call(client)

    assert client.source.renewals == 1
    assert len(speaker.requests) == 2
