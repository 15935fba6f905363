"""Acknowledgements: which frames go out. The channel is a real one, its connection writes to a list."""

import struct

import pytest

from mulligan.brokers.rabbitmq.amqp.channel import Channel
from mulligan.brokers.rabbitmq.amqp.error import ConnectionLost
from mulligan.brokers.rabbitmq.window import BUFFER_MAX_BYTES, Window

SETTLE = struct.Struct(">BHIHHQBB")


class Wire:
    def __init__(self):
        self.written = b""
        self.is_read = True

    def write(self, data):
        self.written += data

    def read(self, *, is_wanted):
        self.is_read = is_wanted

    def settled(self):
        """(method, tag, flags) of every frame since the last look."""
        frames = [SETTLE.unpack_from(self.written, at) for at in range(0, len(self.written), SETTLE.size)]
        self.written = b""
        return [(frame[4], frame[5], frame[6]) for frame in frames]


ACK, NACK = 80, 120
MULTIPLE, REQUEUE = 1, 2


@pytest.fixture
def wire():
    return Wire()


@pytest.fixture
async def window(wire):
    made = Window(Channel(wire, 1), "q", "g", lambda: None)
    made.limit = 300
    for number in range(1, 11):
        made._arrived(number, b"", b"x")
    return made


async def test_acks_of_the_prefix_are_one_frame_and_those_beyond_a_gap_their_own(window, wire):
    window.take(10)

    window.ack([2, 1, 3, 5, 7])
    window.flush()

    assert wire.settled() == [(ACK, 3, MULTIPLE), (ACK, 5, 0), (ACK, 7, 0)]


async def test_gap_that_is_closed_later_lets_the_prefix_grow(window, wire):
    window.take(10)
    window.ack([1, 3])
    window.flush()
    wire.settled()

    window.ack([2, 4])
    window.flush()

    assert wire.settled() == [(ACK, 4, MULTIPLE)]


async def test_ack_never_covers_what_was_fetched_ahead_or_is_held(window, wire):
    window.take(2)

    window.ack([2])
    window.flush()

    assert wire.settled() == [(ACK, 2, 0)]


async def test_thirty_two_acks_go_out_without_waiting(window, wire):
    for number in range(11, 41):
        window._arrived(number, b"", b"")
    window.take(40)

    window.ack(range(1, 32))
    before = wire.settled()
    window.ack([32])

    assert before == []
    assert wire.settled() == [(ACK, 32, MULTIPLE)]


async def test_ack_is_repeated_harmlessly_and_refused_after_a_release(window, wire):
    window.take(10)

    assert window.ack([1]) == [True]
    assert window.ack([1]) == [True]
    assert window.release([2]) == [True]
    assert window.release([2]) == [False]
    assert window.ack([2]) == [False]
    assert wire.settled() == [(NACK, 2, REQUEUE)]


async def test_closed_channel_holds_nothing(window, wire):
    window.take(5)

    window.channel.connection_lost(ConnectionLost(0, "gone"))

    assert (window.held, window.ready) == (0, 0)
    assert window.closed is not None


async def test_connection_is_not_read_while_too_much_waits(window, wire):
    window._arrived(11, b"", b"x" * (BUFFER_MAX_BYTES + 1))
    before = wire.is_read

    window.take(11)

    assert not before
    assert wire.is_read
