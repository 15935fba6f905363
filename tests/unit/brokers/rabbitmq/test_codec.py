import pytest

from mulligan.brokers.rabbitmq import codec
from mulligan.brokers.rabbitmq.amqp import field_table
from mulligan.brokers.rabbitmq.header import foreign as foreign_kind
from mulligan.core.fingerprint import new_id
from mulligan.core.message import Typed

COPY = new_id(1_700_000_000.5, "0" * 16)
DELAYS = "p-delay-"


def sent(attributes, body=b"body", **more):
    return codec.encode(attributes, body, COPY, **{"may_wrap": False, "max_bytes": 100_000, **more})


def read(payload, body=b"body", *, may_unwrap=False):
    return codec.decode(payload, body, delay_prefix=DELAYS, may_unwrap=may_unwrap)


def foreign(headers, *properties):
    """A content header as another client makes it. properties: (bit, bytes)."""
    raw = field_table.encode(headers, foreign_kind)
    every = {**dict(properties), 13: len(raw).to_bytes(4, "big") + raw}
    flags = sum(1 << bit for bit in every)
    head = b"\0\x3c\0\0" + (4).to_bytes(8, "big") + flags.to_bytes(2, "big")
    return head + b"".join(every[bit] for bit in sorted(every, reverse=True))


def short(text):
    return bytes((len(text),)) + text.encode()


def death(*queues):
    tables = [
        field_table.encode({"queue": queue, "reason": "expired", "count": Typed("l", "1")}, foreign_kind)
        for queue in queues
    ]
    return Typed("A", b"".join(b"F" + len(one).to_bytes(4, "big") + one for one in tables))


def test_copy_knows_its_id_and_time():
    found = read(*sent({"a": "b"}))

    assert (found.copy, found.sent_at, found.receive_count) == (COPY, 1_700_000_000.5, 1)
    assert found.attributes == {"a": "b"}


@pytest.mark.parametrize(
    "attributes",
    [
        {"amqp-content-type": "text/plain", "amqp-priority": "9", "amqp-timestamp": "5", "amqp-reply-to": "q"},
        {"amqp-priority": "256", "amqp-timestamp": "no number", "amqp-type": "x" * 300},
        {"amqp-content-type": b"bytes", "amqp-reply-to": "amq.rabbitmq.reply-to"},
        {"amqp-expiration": "5", "amqp-user-id": "somebody"},
        {"CC": "x", "BCC": Typed("A", b"")},
        {"mulligan-uid": "an id", "amqp-message-id": "another"},
        {"mulligan-uid": "an id"},
        {"amqp-header-amqp-type": "a header of that name", "amqp-type": "a property"},
    ],
)
def test_attributes_of_a_copy_come_back_as_they_were(attributes):
    assert read(*sent(attributes)).attributes == attributes


def test_message_id_of_another_client_is_the_producers_id():
    found = read(foreign({}, (7, short("order-7"))))

    assert found.attributes == {"amqp-message-id": "order-7", "mulligan-uid": "order-7"}
    assert found.copy is None


def test_sent_time_is_the_timestamp_in_seconds_or_milliseconds_and_the_same_at_each_delivery():
    assert read(foreign({}, (6, (1_700_000_000).to_bytes(8, "big")))).sent_at == 1_700_000_000
    assert read(foreign({}, (6, (1_700_000_000_500).to_bytes(8, "big")))).sent_at == 1_700_000_000.5
    assert read(foreign({}, (7, short("x")))).sent_at is None
    assert read(foreign({})).sent_at is None


def test_what_the_broker_noted_about_our_delays_is_taken_out_and_what_others_noted_stays():
    headers = {
        "x-death": death("p-delay-3", "elsewhere"),
        "x-first-death-queue": "p-delay-3",
        "x-first-death-reason": "expired",
        "x-first-death-exchange": "",
        "x-delivery-count": Typed("l", "4"),
        "x-mine": "kept",
    }

    found = read(foreign(headers))

    assert found.receive_count == 5
    assert found.attributes == {"x-death": death("elsewhere"), "x-mine": "kept"}


def test_copy_that_waits_is_the_same_message_without_what_the_broker_added():
    payload = foreign(
        {"a": Typed("I", "1"), "CC": "x", "x-delivery-count": Typed("l", "4"), "x-death": death("p-delay-1")},
        (7, short("order-7")),
        (8, short("5")),
    )

    again = read(*codec.redelivered(payload, b"body", delay_prefix=DELAYS))

    first = read(payload)
    assert again.attributes == first.attributes
    assert again.receive_count == 1
    assert again.sent_at is first.sent_at is None


def test_headers_beyond_a_frame_are_refused_or_travel_in_an_envelope():
    attributes = {"big": "x" * 5000, "n": Typed("Number", "1"), "amqp-type": "t"}

    with pytest.raises(codec.Refused, match="frame_max"):
        sent(attributes, max_bytes=1000)
    payload, body = sent(attributes, max_bytes=1000, may_wrap=True)

    assert len(payload) <= 1000
    found = read(payload, body, may_unwrap=True)
    assert (found.attributes, found.body, found.copy) == (attributes, b"body", COPY)


def test_envelope_of_somebody_else_is_left_alone():
    payload = foreign({"mulligan-envelope": Typed("t", "true")})

    assert read(payload, b"\0\0\0\1x", may_unwrap=True).body == b"\0\0\0\1x"
    assert read(*sent({"mulligan-envelope": Typed("t", "true")}, b"abc"), may_unwrap=True).body == b"abc"


def test_attribute_whose_name_is_too_long_is_refused_with_its_name():
    with pytest.raises(codec.Refused, match=r"the name of attribute 'n{40}'\.\.\. has 256 bytes, AMQP allows 255\."):
        sent({"n" * 256: "x"})
