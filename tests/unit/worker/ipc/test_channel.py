import asyncio
import contextlib
import socket

import pytest

from mulligan.settings.model import Settings
from mulligan.worker.ipc.channel import (
    ClaimsLost,
    Drained,
    Go,
    Job,
    JobEnd,
    LeasesLost,
    Ready,
    Setup,
    SocketChannel,
    Stop,
    from_isolated,
    from_parent,
    from_supervisor,
    from_worker,
)


@pytest.fixture
async def pair():
    opened = []

    async def pair(left_decoder, right_decoder):
        left, right = socket.socketpair()
        opened.extend([await SocketChannel.open(left, left_decoder), await SocketChannel.open(right, right_decoder)])
        return opened[-2:]

    yield pair
    for channel in opened:
        channel.close()
    for channel in opened:
        with contextlib.suppress(ConnectionError):
            await channel._writer.wait_closed()


async def test_channel_carries_messages_in_order_both_ways(pair):
    supervisor, worker = await pair(from_worker, from_supervisor)
    setup = Setup(3, Settings(middleware=("a.b:c",), log_file=None, lease_s=1.5).for_worker(), 2, 1, 500, "/srv/shop")

    for message in (setup, Go(), LeasesLost([(1, 2), (3, 4)]), ClaimsLost([(1, 2)], 9.5), Stop(2.5)):
        supervisor.send(message)
    worker.send(Ready())
    worker.send(Drained())

    assert [await worker.receive() for _ in range(5)] == [
        setup, Go(), LeasesLost([(1, 2), (3, 4)]), ClaimsLost([(1, 2)], 9.5), Stop(2.5),
    ]  # fmt: skip
    assert [await supervisor.receive() for _ in range(2)] == [Ready(), Drained()]


async def test_channel_carries_a_body_of_many_megabytes_unchanged(pair):
    host, isolated = await pair(from_isolated, from_parent)
    job = Job("uid", 0, bytes(range(256)) * 40_000, [("a", "", False, b"\xff")], 1.0, 2.0, "One", 1, "{}")

    host.send(job)
    received, _ = await asyncio.gather(isolated.receive(), host.flush())

    assert received == job


async def test_channel_gives_none_when_the_other_side_is_gone(pair):
    left, right = await pair(from_isolated, from_parent)

    left.close()

    assert await right.receive() is None


async def test_channel_gives_none_when_the_other_side_died_in_the_middle_of_a_message(pair):
    left, right = await pair(from_isolated, from_parent)
    left._writer.write(b"\x10\x00\x00\x00half")

    left.close()

    assert await right.receive() is None


async def test_channel_send_and_flush_raise_nothing_when_the_other_side_is_gone(pair):
    left, right = await pair(from_isolated, from_parent)
    right.close()
    await left.receive()

    for _ in range(3):
        left.send(JobEnd("succeeded"))
        await left.flush()

    assert await left.receive() is None
