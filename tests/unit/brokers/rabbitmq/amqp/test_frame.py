import pytest
from pamqp import commands, header
from pamqp import frame as pamqp_frame

from mulligan.brokers.rabbitmq.amqp import frame


def unmarshalled(raw):
    """(channel, frame) of each frame, as pamqp reads them."""
    found = []
    while raw:
        size, channel, one = pamqp_frame.unmarshal(raw)
        found.append((channel, one))
        raw = raw[size:]
    return found


def test_acks_end_the_prefix_first_and_then_each_tag():
    found = unmarshalled(frame.acks(3, [7, 9], 5))

    assert [(channel, one.delivery_tag, one.multiple) for channel, one in found] == [
        (3, 5, True),
        (3, 7, False),
        (3, 9, False),
    ]
    assert all(isinstance(one, commands.Basic.Ack) for _, one in found)


def test_nacks_return_each_tag_to_its_queue():
    found = unmarshalled(frame.nacks(3, [7]))

    ((channel, one),) = found
    assert isinstance(one, commands.Basic.Nack)
    assert (channel, one.delivery_tag, one.multiple, one.requeue) == (3, 7, False, True)


@pytest.mark.parametrize(("body", "parts"), [(b"", []), (b"abc", [b"abc"]), (b"abcdefg", [b"abc", b"def", b"g"])])
def test_publish_frames_are_method_header_and_body_in_parts_that_fit(body, parts):
    properties = header.ContentHeader(0, len(body)).marshal()
    head = frame.publish_head(2, "x", "key")

    raw = b"".join(frame.publish_frames(2, head, properties, body, 3))

    method, content, *bodies = [one for channel, one in unmarshalled(raw) if channel == 2]
    assert isinstance(method, commands.Basic.Publish)
    assert (method.exchange, method.routing_key, method.mandatory, method.immediate) == ("x", "key", True, False)
    assert content.body_size == len(body)
    assert [one.value for one in bodies] == parts
