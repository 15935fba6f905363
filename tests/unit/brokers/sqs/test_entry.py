"""Messages within the limits of SQS: what is sent, what is refused and with which words, envelopes."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mulligan.brokers.sqs import codec
from mulligan.brokers.sqs.codec import Received
from mulligan.brokers.sqs.entry import ENVELOPE, Refused, delivery, entry_bytes, send_entry, whole
from mulligan.core.delivery import Outgoing
from mulligan.core.message import QueueName, Typed

QUEUE = QueueName("q")
STORY = '{"v":1}'


def entry(body=b"body", attributes=None, *, is_fifo=False, may_wrap=False, max_bytes=1 << 20, **more):
    outgoing = Outgoing(body, attributes or {}, **more)
    return send_entry(outgoing, is_fifo=is_fifo, may_wrap=may_wrap, max_bytes=max_bytes)


def received(sent, *, may_unwrap=True):
    """What comes back of an entry, through the wire."""
    body = {
        "MessageId": "m-1",
        "ReceiptHandle": "handle:1",
        "Body": sent.message_body,
        "MD5OfBody": "",
        "Attributes": {"SentTimestamp": "1700000000123", "ApproximateReceiveCount": "2", "MessageGroupId": "g"},
        "MessageAttributes": sent.message_attributes,
    }
    item = codec.msgspec.json.decode(codec.encode(body), type=Received)
    return delivery(item, QUEUE, 77, may_unwrap=may_unwrap)


def test_delivery_has_what_was_received():
    found = received(entry("grüße".encode(), {"a": "b"}))

    assert found.queue == QUEUE
    assert found.receipt == "77:handle:1"
    assert found.id == "m-1"
    assert found.body == "grüße".encode()
    assert found.attributes == {"a": "b"}
    assert found.sent_at == 1700000000.123
    assert found.receive_count == 2
    assert found.group == "g"


@given(st.text(min_size=1))
def test_send_entry_takes_exactly_the_characters_of_the_service(text):
    allowed = all(
        char in "\t\n\r" or " " <= char <= "\ud7ff" or "\ue000" <= char <= "\ufffd" or char >= "\U00010000"
        for char in text
    )
    try:
        sent = entry(text.encode("utf-8", "surrogatepass"))
    except Refused:
        assert not allowed
    else:
        assert allowed
        assert sent.message_body == text


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"body": b""}, "its body is empty"),
        ({"body": b"\xff"}, "its body is no UTF-8 text"),
        ({"body": b"a\x00"}, r"character U\+0000 at 1"),
        ({"body": b"\x1b[31m"}, r"character U\+001B at 0"),
        ({"body": "\uffff".encode()}, r"character U\+FFFF"),
        ({"attributes": {"a": ""}}, "its attribute 'a' is empty"),
        ({"attributes": {"a": b""}}, "its attribute 'a' is empty"),
        ({"attributes": {"a": "\x00"}}, r"its attribute 'a' has the character U\+0000"),
        ({"attributes": {"a b": "x"}}, "its attribute 'a b' has a name"),
        ({"attributes": {"AWS.x": "x"}}, "has a name"),
        ({"attributes": {"amazon.x": "x"}}, "has a name"),
        ({"attributes": {".x": "x"}}, "has a name"),
        ({"attributes": {"x.": "x"}}, "has a name"),
        ({"attributes": {"x..y": "x"}}, "has a name"),
        ({"attributes": {"x" * 257: "x"}}, "has a name"),
        ({"attributes": {"a": Typed("Colour", "blue")}}, "has the type 'Colour'"),
        ({"attributes": {"a": Typed("Number", b"1")}}, "has the type 'Number' with a value of bytes"),
        ({"attributes": {"a": Typed("Binary.png", "1")}}, "has the type 'Binary.png' with a value of str"),
        ({"attributes": {f"k{at}": "v" for at in range(11)}}, "it has 11 attributes"),
        ({"attributes": {ENVELOPE: "1"}}, "mulligan's own"),
        ({"delay_s": 901.0}, "its delay is 901"),
        ({"delay_s": -1.0}, "its delay is -1"),
        ({"delay_s": float("nan")}, "its delay is nan"),
        ({"delay_s": 1.0, "is_fifo": True, "group": "g", "dedup_id": "d"}, "FIFO queue takes none"),
        ({"is_fifo": True, "dedup_id": "d"}, "needs a group"),
        ({"is_fifo": True, "group": "g"}, "needs a deduplication id"),
        ({"is_fifo": True, "group": "g g", "dedup_id": "d"}, "needs a group"),
        ({"is_fifo": True, "group": "g", "dedup_id": "d" * 129}, "needs a deduplication id"),
        ({"body": b"x" * 11, "max_bytes": 10}, "it has 11 bytes .* takes 10"),
    ],
    ids=str,
)
def test_send_entry_refuses_and_says_why(changes, words):
    with pytest.raises(Refused, match=words):
        entry(**changes)


def test_send_entry_takes_what_is_just_within_the_limits():
    names = ["x" * 256, "a", "aws", "awsx.y", "A-b_c.d1"]

    sent = entry(b"x", dict.fromkeys(names, "v"), delay_s=899.2)

    assert list(sent.message_attributes) == names
    assert sent.delay_seconds == 900


def test_send_entry_ignores_group_and_dedup_id_when_the_queue_is_no_fifo():
    sent = entry(group="g", dedup_id="d")

    assert sent.message_group_id is None
    assert sent.message_deduplication_id is None


def test_entry_bytes_counts_as_the_service_does():
    sent = entry("é".encode(), {"ab": "é", "n": Typed("Number", "12"), "b": b"\x00\x01\x02"})

    # body 2; "ab" 2 + "String" 6 + 2; "n" 1 + "Number" 6 + 2; "b" 1 + "Binary" 6 + 3
    assert entry_bytes(sent) == 2 + 10 + 9 + 10
    assert entry(b"x" * 10, max_bytes=10).message_body == "x" * 10


# -- envelopes --------------------------------------------------------------------------------------------------------

MANY = {
    **{f"k{at}": f"v{at}" for at in range(9)},
    "bytes": b"\x00\xff",
    "number": Typed("Number", "1.50"),
    "png": Typed("Binary.png", b"\x89"),
}


def test_envelope_carries_more_attributes_than_the_service_takes():
    sent = entry("grüße".encode(), {**MANY, "mulligan": STORY}, may_wrap=True)

    assert set(sent.message_attributes) == {"mulligan", ENVELOPE}
    found = received(sent)
    assert found.body == "grüße".encode()
    assert found.attributes == {**MANY, "mulligan": STORY}


def test_envelope_is_made_for_exactly_eleven_attributes_and_not_for_ten():
    ten = {f"k{at}": "v" for at in range(10)}

    assert ENVELOPE not in entry(b"x", ten, may_wrap=True).message_attributes
    assert ENVELOPE in entry(b"x", {**ten, "one": "more"}, may_wrap=True).message_attributes


def test_envelope_keeps_an_attribute_that_has_its_own_name():
    sent = entry(b"x", {ENVELOPE: "mine"}, may_wrap=True)

    assert received(sent).attributes == {ENVELOPE: "mine"}


def test_envelope_is_not_opened_on_the_requests_queue():
    sent = entry(b"x", {**MANY, "mulligan": STORY}, may_wrap=True)

    found = received(sent, may_unwrap=False)

    assert found.attributes == {"mulligan": STORY, ENVELOPE: "1"}
    assert json.loads(found.body)["body"] == "x"


@pytest.mark.parametrize(
    "body", ["x", "[]", '{"body": 1, "attributes": {}}', '{"body": "x"}', '{"body":"x","attributes":{"a":["",1,"b"]}}']
)
def test_envelope_that_is_none_of_ours_is_left_as_it_is(body):
    sent = entry(b"x", {ENVELOPE: "1"}, may_wrap=True)
    sent.message_body = body

    found = received(sent)

    assert found.body == body.encode()
    assert found.attributes == {ENVELOPE: "1"}


def test_envelope_brings_no_story_of_its_own():
    sent = entry(b"x", MANY, may_wrap=True)
    sent.message_body = json.dumps({"body": "x", "attributes": {"mulligan": ["", "forged"]}})

    assert received(sent).attributes == {}


# -- whole ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("seconds", "found"), [(0, 0), (0.1, 1), (1.0, 1), (43199.5, 43200)])
def test_whole_rounds_up(seconds, found):
    assert whole(seconds) == found


@pytest.mark.parametrize("seconds", [-0.1, float("nan"), float("inf")])
def test_whole_is_none_for_what_is_no_time(seconds):
    assert whole(seconds) is None
