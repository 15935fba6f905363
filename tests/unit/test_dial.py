"""Connections to names with several addresses, some of which swallow, refuse or answer late."""

import asyncio
import socket
import time

import pytest
import uvloop

from mulligan.dial import Failed, connect, dial
from tests.support.black_hole import black_hole, resolve

NAME = "several.test"


@pytest.fixture
def listener():
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield sock.getsockname()[1]


async def peer_of(port, limit_s=5.0):
    async with asyncio.timeout(limit_s):
        sock = await dial(NAME, port)
    with sock:
        return sock.getpeername()[0]


async def test_dial_takes_the_second_address_when_the_first_swallows_packets(monkeypatch, listener):
    resolve(monkeypatch, NAME, "127.0.0.2", "127.0.0.1")
    began_at = time.monotonic()

    with black_hole("127.0.0.2", listener):
        peer = await peer_of(listener)

    assert peer == "127.0.0.1"
    assert time.monotonic() - began_at < 2.0


def test_connect_takes_the_second_address_on_the_loop_of_the_workers_too(monkeypatch, listener):
    """uvloop, which has no staggering of its own."""
    resolve(monkeypatch, NAME, "127.0.0.2", "127.0.0.1")

    async def peer():
        async with asyncio.timeout(5):
            transport, _ = await connect(asyncio.Protocol, NAME, listener)
        transport.abort()
        return transport.get_extra_info("peername")[0]

    with black_hole("127.0.0.2", listener), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        found = runner.run(peer())

    assert found == "127.0.0.1"


async def test_dial_takes_ipv4_when_the_whole_of_ipv6_swallows_packets(monkeypatch, listener):
    resolve(monkeypatch, NAME, "::1", "127.0.0.1")

    with black_hole("::1", listener):
        peer = await peer_of(listener)

    assert peer == "127.0.0.1"


async def test_dial_tries_families_by_turns_when_many_addresses_of_one_swallow_packets(monkeypatch, listener):
    resolve(monkeypatch, NAME, "127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5", "::1")
    began_at = time.monotonic()

    with (
        black_hole("127.0.0.2", listener),
        black_hole("127.0.0.3", listener),
        black_hole("127.0.0.4", listener),
        black_hole("127.0.0.5", listener),
        socket.create_server(("::1", listener), family=socket.AF_INET6),
    ):
        peer = await peer_of(listener)

    assert peer == "::1"
    assert time.monotonic() - began_at < 0.6  # one wait, and not four


async def test_dial_goes_on_at_once_when_an_address_refuses(monkeypatch, listener):
    resolve(monkeypatch, NAME, "127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5", "127.0.0.1")
    began_at = time.monotonic()

    peer = await peer_of(listener)

    assert peer == "127.0.0.1"
    assert time.monotonic() - began_at < 0.25


async def test_dial_keeps_an_address_that_answers_late_when_no_other_does(monkeypatch, unused_tcp_port):
    resolve(monkeypatch, NAME, "127.0.0.2", "127.0.0.3")
    late = socket.socket()
    late.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)

    with black_hole("127.0.0.2", unused_tcp_port), late:
        late.bind(("127.0.0.3", unused_tcp_port))
        late.listen(0)
        fillers = [socket.socket() for _ in range(3)]
        for one in fillers:
            one.setblocking(False)
            one.connect_ex(("127.0.0.3", unused_tcp_port))
        asyncio.get_running_loop().call_later(0.5, late.listen, 16)  # the kernel takes the packet's second try
        peer = await peer_of(unused_tcp_port)
        for one in fillers:
            one.close()

    assert peer == "127.0.0.3"


async def test_dial_says_what_each_address_said_when_none_connects(monkeypatch, unused_tcp_port):
    resolve(monkeypatch, NAME, "127.0.0.1", "127.0.0.2")

    with pytest.raises(OSError, match=r"none of the 2 addresses of several.test takes a connection: .*; .*"):
        await dial(NAME, unused_tcp_port)


async def test_dial_keeps_the_kind_of_the_error_when_there_is_one_address(unused_tcp_port):
    with pytest.raises(ConnectionRefusedError):
        await dial("127.0.0.1", unused_tcp_port)


async def test_dial_leaves_no_socket_behind_when_its_caller_loses_patience(monkeypatch, unused_tcp_port):
    resolve(monkeypatch, NAME, "127.0.0.2", "127.0.0.3")
    made = []
    make = socket.socket

    class Noted(make):
        def __init__(self, *args, **more):
            super().__init__(*args, **more)
            made.append(self)

    with black_hole("127.0.0.2", unused_tcp_port), black_hole("127.0.0.3", unused_tcp_port):
        monkeypatch.setattr(socket, "socket", Noted)
        with pytest.raises(TimeoutError):
            await peer_of(unused_tcp_port, limit_s=0.6)
        await asyncio.wait(asyncio.all_tasks() - {asyncio.current_task()}, timeout=5.0)  # their end has begun

    assert len(made) >= 2
    assert {one.fileno() for one in made} == {-1}


@pytest.mark.parametrize("host", ["a..b.test", "a" * 64 + ".test"])
async def test_dial_refuses_what_is_no_name_of_a_host_as_one_that_can_not_be_reached(host):
    """A typing error in a URL was told as a fault of the program."""
    with pytest.raises(OSError, match="is not a name of a host"):
        await dial(host, 443)


async def test_dial_takes_another_address_when_the_first_has_failed_its_client(monkeypatch):
    resolve(monkeypatch, NAME, "127.0.0.1", "127.0.0.2")
    failed = Failed()
    failed.add("127.0.0.1")

    with socket.create_server(("127.0.0.1", 0)) as first:
        port = first.getsockname()[1]
        with socket.create_server(("127.0.0.2", port)), await dial(NAME, port, failed=failed) as sock:
            found = sock.getpeername()[0]

    assert found == "127.0.0.2"


def test_failed_tries_every_address_by_turns_when_all_have_failed():
    failed, found = Failed(), []

    for _ in range(7):
        first = failed.last(["a", "b", "c"], str)[0]
        found.append(first)
        failed.add(first)

    assert "".join(found) == "abcabca"


def test_failed_forgets_an_address_that_serves_again():
    failed = Failed()
    failed.add("a")

    failed.discard("a")

    assert failed.last(["a", "b"], str) == ["a", "b"]
