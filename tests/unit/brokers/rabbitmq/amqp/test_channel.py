"""A channel on a connection that keeps what is written: calls, messages that arrive, and the channel's end."""

import asyncio

import pytest
from pamqp import commands
from pamqp import frame as pamqp_frame

from mulligan.brokers.rabbitmq.amqp import channel as module
from mulligan.brokers.rabbitmq.amqp.channel import Channel
from mulligan.brokers.rabbitmq.amqp.error import ChannelClosed, ConnectionLost


class Wire:
    """A `ChannelConnection`. retired, forgotten: numbers of channels. failure: why it was ended."""

    payload_max_bytes = 100
    blocked = None

    def __init__(self):
        self.written = asyncio.Queue()
        self.retired = []
        self.forgotten = []
        self.failure = None

    def write(self, data):
        self.written.put_nowait(pamqp_frame.unmarshal(data)[2])

    async def writable(self):
        pass

    def read(self, *, is_wanted):
        pass

    def fail(self, why):
        self.failure = why

    def retire(self, number):
        self.retired.append(number)

    def forget(self, number):
        self.forgotten.append(number)


@pytest.fixture
def wire():
    return Wire()


@pytest.fixture
async def channel(wire):
    return Channel(wire, 1)


def arrives(channel, method):
    raw = pamqp_frame.marshal(method, 1)
    channel.method(raw, 7, len(raw) - 1)


async def test_call_returns_the_reply(channel, wire):
    call = asyncio.create_task(channel.call(commands.Confirm.Select()))
    sent = await wire.written.get()

    arrives(channel, commands.Confirm.SelectOk())

    assert isinstance(sent, commands.Confirm.Select)
    assert isinstance(await call, commands.Confirm.SelectOk)


async def test_call_after_a_cancelled_one_gets_its_own_reply(channel, wire):
    first = asyncio.create_task(channel.call(commands.Confirm.Select()))
    await wire.written.get()
    first.cancel()
    second = asyncio.create_task(channel.call(commands.Basic.Qos(0, 1, False)))

    arrives(channel, commands.Confirm.SelectOk())
    sent = await wire.written.get()
    arrives(channel, commands.Basic.QosOk())

    assert isinstance(sent, commands.Basic.Qos)
    assert isinstance(await second, commands.Basic.QosOk)
    assert first.cancelled()


async def test_call_without_a_reply_ends_the_connection(channel, wire, monkeypatch):
    monkeypatch.setattr(module, "CALL_S", 0.0)

    with pytest.raises(ConnectionLost, match=r"no answer to Confirm\.Select within 0 s"):
        await channel.call(commands.Confirm.Select())

    assert isinstance(wire.failure, ConnectionLost)


async def test_message_arrives_whole_when_its_body_comes_in_parts(channel):
    messages = []
    channel.on_message = lambda *message: messages.append(message)
    header = b"\0\x3c\0\0" + (5).to_bytes(8, "big") + b"\0\0"

    arrives(channel, commands.Basic.Deliver("tag", 7, False, "x", "key"))
    channel.header(header)
    channel.body(b"abc")
    channel.body(b"de")

    assert messages == [(7, header, b"abcde")]


async def test_channel_that_the_server_closes_reports_why_and_frees_its_number(channel, wire):
    reasons = []
    channel.on_close = reasons.append

    arrives(channel, commands.Channel.Close(404, "NOT_FOUND - no queue 'q'", 0, 0))

    assert isinstance(wire.written.get_nowait(), commands.Channel.CloseOk)
    assert wire.forgotten == [1]
    assert [(why.code, why.text) for why in reasons] == [(404, "NOT_FOUND - no queue 'q'")]
    with pytest.raises(ChannelClosed, match="404 NOT_FOUND"):
        await channel.call(commands.Confirm.Select())


async def test_close_nowait_keeps_the_number_until_the_server_agrees_and_drops_what_arrives(channel, wire):
    messages = []
    channel.on_message = lambda *message: messages.append(message)

    channel.close_nowait()
    channel.close_nowait()
    arrives(channel, commands.Basic.Deliver("tag", 7, False, "x", "key"))
    channel.header(b"\0\x3c\0\0" + bytes(8) + b"\0\0")
    retired, forgotten = list(wire.retired), list(wire.forgotten)
    arrives(channel, commands.Channel.CloseOk())

    assert messages == []
    assert (retired, forgotten) == ([1], [])
    assert wire.forgotten == [1]
    assert wire.written.qsize() == 1
