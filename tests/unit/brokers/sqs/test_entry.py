"""Messages within the limits of SQS: what is sent, what is refused and with which words."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mulligan.brokers.sqs import codec
from mulligan.brokers.sqs.codec import Received
from mulligan.brokers.sqs.entry import ATTRIBUTES_MAX, TYPE_BYTES, Refused, delivery, entry_bytes, send_entry, whole
from mulligan.core.delivery import Outgoing
from mulligan.core.message import QueueName, Typed
from mulligan.core.packing import size_bytes

QUEUE = QueueName("q")


def entry(body=b"body", attributes=None, *, is_fifo=False, max_bytes=1 << 20, **more):
    outgoing = Outgoing(body, attributes or {}, **more)
    return send_entry(outgoing, is_fifo=is_fifo, max_bytes=max_bytes)


def received(sent, *, is_fifo=True):
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
    return delivery(item, QUEUE, 77, is_fifo=is_fifo)


def test_delivery_has_what_was_received():
    found = received(entry("grüße".encode(), {"a": "b"}))

    assert found.queue == QUEUE
    assert found.receipt == "77:handle:1"
    assert found.id == "m-1"
    assert found.body == "grüße".encode()
    assert found.attributes == {"a": "b"}
    assert found.sent_at == 1700000000.123
    assert found.receive_count == 2
    assert (found.group, found.tenant) == ("g", None)


def test_delivery_of_a_standard_queue_has_a_tenant_and_no_group():
    found = received(entry(b"x"), is_fifo=False)

    assert (found.group, found.tenant) == (None, "g")


def test_send_entry_carries_tenant_and_trace_on_a_standard_queue():
    sent = entry(tenant="tenant-1", trace="Root=1-5759e988-bd862e3fe1be46a994272793")

    assert sent.message_group_id == "tenant-1"
    assert sent.message_deduplication_id is None
    assert sent.message_system_attributes == {
        "AWSTraceHeader": codec.WireAttribute("String", "Root=1-5759e988-bd862e3fe1be46a994272793")
    }


def test_send_entry_of_a_fifo_queue_has_the_group_and_not_the_tenant():
    sent = entry(is_fifo=True, group="g", dedup_id="d", tenant="tenant-1", trace="Root=1")

    assert (sent.message_group_id, sent.message_deduplication_id) == ("g", "d")
    assert list(sent.message_system_attributes) == ["AWSTraceHeader"]


@pytest.mark.parametrize("changes", [{"tenant": "a b"}, {"tenant": "x" * 129}, {"trace": "a\x00"}, {"trace": ""}])
def test_send_entry_leaves_out_a_tenant_or_trace_that_the_service_would_refuse(changes):
    sent = entry(**changes)

    assert (sent.message_group_id, sent.message_system_attributes) == (None, {})


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
        ({"body": b"\xff"}, "its body is not UTF-8 text"),
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
        ({"delay_s": 901.0}, "its delay is 901"),
        ({"delay_s": -1.0}, "its delay is -1"),
        ({"delay_s": float("nan")}, "its delay is nan"),
        ({"delay_s": 1.0, "is_fifo": True, "group": "g", "dedup_id": "d"}, "FIFO queue accepts none"),
        ({"is_fifo": True, "dedup_id": "d"}, "needs a group"),
        ({"is_fifo": True, "group": "g"}, "needs a deduplication id"),
        ({"is_fifo": True, "group": "g g", "dedup_id": "d"}, "needs a group"),
        ({"is_fifo": True, "group": "g", "dedup_id": "d" * 129}, "needs a deduplication id"),
        ({"body": b"x" * 11, "max_bytes": 10}, "it has 11 bytes .* accepts 10"),
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


def test_send_entry_takes_ten_attributes():
    ten = {f"k{at}": "v" for at in range(ATTRIBUTES_MAX)}

    assert len(entry(attributes=ten).message_attributes) == 10


TEXTS = st.text("aé\U0001f600", min_size=1, max_size=20)
ITEMS = st.one_of(
    TEXTS,
    st.binary(min_size=1, max_size=20),
    st.builds(Typed, st.sampled_from(["Number", "String.json"]), TEXTS),
    st.builds(Typed, st.just("Binary.png"), st.binary(min_size=1, max_size=20)),
)


@given(TEXTS, st.dictionaries(st.sampled_from(["a", "bc", "d.e"]), ITEMS))
def test_size_that_copies_are_packed_for_is_what_the_entry_has(body, attributes):
    sent = entry(body.encode(), attributes)

    assert entry_bytes(sent) == size_bytes(body.encode(), attributes, TYPE_BYTES)


# -- whole ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("seconds", "found"), [(0, 0), (0.1, 1), (1.0, 1), (43199.5, 43200)])
def test_whole_rounds_up(seconds, found):
    assert whole(seconds) == found


@pytest.mark.parametrize("seconds", [-0.1, float("nan"), float("inf")])
def test_whole_is_none_for_what_is_no_time(seconds):
    assert whole(seconds) is None
