"""Connections: kept, replaced, cut, swallowed, cancelled, tunnelled."""

import asyncio
import socket
import ssl

import pytest

from mulligan.brokers.sqs import http
from mulligan.brokers.sqs.http import Endpoint, Pool, Proxy, Unreachable
from tests.support.black_hole import black_hole, resolve

REQUEST = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\nbody"


@pytest.fixture
async def pool_to():
    pools = []

    def make(port, *, host="127.0.0.1", **more):
        pool = Pool(Endpoint(host, port, "tls" in more), **more)
        pools.append(pool)
        return pool

    yield make
    for pool in pools:
        await pool.close()


async def closed(speaker):
    """Until the other side has seen the end of all connections made so far."""
    await asyncio.gather(*(writer.wait_closed() for writer in speaker.writers), return_exceptions=True)


async def test_exchange_sends_the_request_as_it_is_and_gives_the_answer(speak, pool_to):
    speaker = await speak(b"HTTP/1.1 400 Bad\r\nX-Thing: a\r\ncontent-length: 3\r\n\r\nabc")

    response = await pool_to(speaker.port).exchange(REQUEST, 5.0)

    assert speaker.requests == [REQUEST]
    assert (response.status, response.headers[b"x-thing"], response.body) == (400, b"a", b"abc")


async def test_exchange_uses_one_connection_again(speak, pool_to, ok):
    speaker = await speak(ok)
    pool = pool_to(speaker.port)

    for _ in range(3):
        await pool.exchange(REQUEST, 5.0)

    assert speaker.connections == 1


async def test_exchanges_at_once_use_connections_of_their_own(speak, pool_to, ok):
    speaker = await speak(ok)
    pool = pool_to(speaker.port)

    await asyncio.gather(*(pool.exchange(REQUEST, 5.0) for _ in range(4)))

    assert speaker.connections == 4


@pytest.mark.parametrize(
    "reply",
    [
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nabcde",
    ],
    ids=["chunked", "after 100 Continue"],
)
async def test_exchange_reads_an_answer_that_is(speak, pool_to, reply):
    speaker = await speak(reply)
    pool = pool_to(speaker.port)

    bodies = [(await pool.exchange(REQUEST, 5.0)).body for _ in range(2)]

    assert bodies == [b"abcde", b"abcde"]
    assert speaker.connections == 1


async def test_exchange_makes_a_new_connection_when_the_server_closes_after_its_answer(speak, pool_to):
    speaker = await speak(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok")
    pool = pool_to(speaker.port)

    await pool.exchange(REQUEST, 5.0)
    await pool.exchange(REQUEST, 5.0)

    assert speaker.connections == 2


async def test_exchange_repeats_once_when_an_idle_connection_turns_out_to_be_closed(speak, pool_to, ok):
    speaker = await speak(ok, None, ok)
    pool = pool_to(speaker.port)
    await pool.exchange(REQUEST, 5.0)

    response = await pool.exchange(REQUEST, 5.0)

    assert response.body == b"ok"
    assert speaker.connections == 2
    assert len(speaker.requests) == 3


async def test_exchange_does_not_repeat_on_a_second_idle_connection(speak, pool_to, ok):
    speaker = await speak(ok)
    pool = pool_to(speaker.port)
    await asyncio.gather(*(pool.exchange(REQUEST, 5.0) for _ in range(3)))
    speaker.replies = [None, ok]

    response = await pool.exchange(REQUEST, 5.0)

    assert response.body == b"ok"
    assert speaker.connections == 4


async def test_exchange_does_not_repeat_when_a_new_connection_is_cut(speak, pool_to):
    speaker = await speak(None)

    with pytest.raises(Unreachable, match="was cut"):
        await pool_to(speaker.port).exchange(REQUEST, 5.0)

    assert len(speaker.requests) == 1


async def test_exchange_does_not_repeat_when_the_answer_had_begun(speak, pool_to, ok):
    speaker = await speak(ok, b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc")
    pool = pool_to(speaker.port)
    await pool.exchange(REQUEST, 5.0)
    speaker.arrived.clear()
    call = asyncio.create_task(pool.exchange(REQUEST, 5.0))
    await speaker.arrived.wait()
    await speaker.writers[0].drain()
    speaker.hang_up()

    with pytest.raises(Unreachable, match="after 41 bytes of the answer"):
        await call

    assert len(speaker.requests) == 2


async def test_exchange_uses_no_connection_that_was_idle_for_too_long(speak, pool_to, ok, monkeypatch):
    speaker = await speak(ok)
    pool = pool_to(speaker.port)
    await pool.exchange(REQUEST, 5.0)
    monkeypatch.setattr(http, "IDLE_S", -1.0)

    await pool.exchange(REQUEST, 5.0)

    assert speaker.connections == 2


async def test_exchange_ends_when_nothing_is_answered_and_closes_the_idle_ones_too(speak, pool_to, ok):
    speaker = await speak(ok)
    pool = pool_to(speaker.port)
    await asyncio.gather(pool.exchange(REQUEST, 5.0), pool.exchange(REQUEST, 5.0))
    speaker.replies = [b""]

    with pytest.raises(Unreachable, match=r"sent no answer within 0.05 s"):
        await pool.exchange(REQUEST, 0.05)

    await closed(speaker)
    assert len(speaker.requests) == 3  # a silent one is not a stale one: not repeated
    speaker.replies = [ok]
    await pool.exchange(REQUEST, 5.0)
    assert speaker.connections == 3


async def test_exchange_goes_on_when_the_answer_is_slow_but_moves(speak, pool_to):
    speaker = await speak(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n")
    call = asyncio.create_task(pool_to(speaker.port).exchange(REQUEST, 0.3))
    await speaker.arrived.wait()

    for byte in (b"a", b"b", b"c", b"d"):
        await asyncio.sleep(0.15)
        speaker.writers[0].write(byte)

    assert (await call).body == b"abcd"


async def test_exchange_ends_when_the_answer_moves_for_ever(speak, pool_to, monkeypatch):
    monkeypatch.setattr(http, "STALL_MAX_S", 0.1)
    speaker = await speak(b"HTTP/1.1 200 OK\r\ncontent-length: 4000\r\n\r\n")
    call = asyncio.create_task(pool_to(speaker.port).exchange(REQUEST, 0.05))
    await speaker.arrived.wait()

    while not call.done():
        await asyncio.sleep(0.01)
        if not speaker.writers[0].is_closing():
            speaker.writers[0].write(b"a")

    with pytest.raises(Unreachable, match="sent no answer"):
        await call


@pytest.mark.parametrize("reply", [b"SSH-2.0-OpenSSH_9.2\r\n", b"\x16\x03\x01\x02\x00", b"HTTP/1.1 abc\r\n\r\n"])
async def test_exchange_ends_when_the_answer_is_not_http(speak, pool_to, reply):
    speaker = await speak(reply)

    with pytest.raises(Unreachable, match="not HTTP"):
        await pool_to(speaker.port).exchange(REQUEST, 5.0)


async def test_exchange_ends_when_the_answer_is_too_big(speak, pool_to, monkeypatch):
    monkeypatch.setattr(http, "RESPONSE_MAX_BYTES", 100)
    speaker = await speak(b"HTTP/1.1 200 OK\r\ncontent-length: 200\r\n\r\n" + b"x" * 200)

    with pytest.raises(Unreachable, match="over 100 bytes"):
        await pool_to(speaker.port).exchange(REQUEST, 5.0)


async def test_connection_is_not_used_again_when_it_says_something_unasked(speak, pool_to, ok):
    speaker = await speak(ok + ok, ok)
    pool = pool_to(speaker.port)
    await pool.exchange(REQUEST, 5.0)

    await asyncio.wait_for(closed_or_fresh(pool, speaker), 5.0)

    assert speaker.connections == 2


async def closed_or_fresh(pool, speaker):
    response = await pool.exchange(REQUEST, 5.0)
    assert response.body == b"ok"


async def test_exchange_that_is_cancelled_closes_its_connection_and_harms_no_other(speak, pool_to, ok):
    speaker = await speak(b"", ok)
    pool = pool_to(speaker.port)
    call = asyncio.create_task(pool.exchange(REQUEST, 5.0))
    await speaker.arrived.wait()

    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await asyncio.wait_for(closed(speaker), 5.0)
    response = await pool.exchange(REQUEST, 5.0)

    assert response.body == b"ok"
    assert speaker.connections == 2


async def test_exchange_that_is_cancelled_hands_its_answer_on_when_it_is_to_be_kept(speak, pool_to, ok):
    speaker = await speak(b"", ok)
    pool = pool_to(speaker.port)
    kept = []
    call = asyncio.create_task(pool.exchange(REQUEST, 5.0, kept.append))
    await speaker.arrived.wait()

    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    speaker.writers[0].write(ok)

    assert (await kept[0]).body == b"ok"
    await pool.exchange(REQUEST, 5.0)
    assert speaker.connections == 1


async def test_exchange_tells_of_a_connection_that_nobody_takes(pool_to, unused_tcp_port):
    with pytest.raises(Unreachable, match=f"no connection to 127.0.0.1:{unused_tcp_port}"):
        await pool_to(unused_tcp_port).exchange(REQUEST, 5.0)


async def test_exchange_tells_of_a_host_that_swallows_connections(monkeypatch, pool_to):
    monkeypatch.setattr(http, "CONNECT_S", 0.05)

    with black_hole("127.0.0.1") as port, pytest.raises(Unreachable, match=r"within 0.05 s"):
        await pool_to(port).exchange(REQUEST, 5.0)


@pytest.mark.parametrize("is_tls", [False, True])
async def test_exchange_takes_the_second_address_when_the_first_swallows_connections(
    monkeypatch, speak, pool_to, ok, authority, is_tls
):
    speaker = await speak(ok, tls=is_tls)
    resolve(monkeypatch, "localhost", "127.0.0.2", "127.0.0.1")
    more = {"tls": ssl.create_default_context(cafile=authority)} if is_tls else {}
    pool = pool_to(speaker.port, host="localhost", **more)

    with black_hole("127.0.0.2", speaker.port):
        response = await pool.exchange(REQUEST, 5.0)

    assert response.body == b"ok"


async def test_exchange_takes_another_address_when_the_first_took_a_request_and_said_nothing(
    monkeypatch, speak, pool_to, ok
):
    speaker = await speak(ok)
    resolve(monkeypatch, "sqs.test", "127.0.0.2", "127.0.0.1")
    pool = pool_to(speaker.port, host="sqs.test")

    with socket.create_server(("127.0.0.2", speaker.port), backlog=50):
        with pytest.raises(Unreachable, match="sent no answer"):
            await pool.exchange(REQUEST, 0.05)
        response = await pool.exchange(REQUEST, 5.0)

    assert response.body == b"ok"


async def test_close_ends_what_is_in_flight_and_takes_nothing_new(speak, pool_to):
    speaker = await speak(b"")
    pool = pool_to(speaker.port)
    call = asyncio.create_task(pool.exchange(REQUEST, 5.0))
    await speaker.arrived.wait()

    await pool.close()
    await pool.close()

    with pytest.raises(Unreachable):
        await call
    with pytest.raises(Unreachable, match="closed"):
        await pool.exchange(REQUEST, 5.0)


# -- TLS and proxies --------------------------------------------------------------------------------------------------


async def test_exchange_over_tls_trusts_the_given_authority(speak, pool_to, ok, authority):
    speaker = await speak(ok, tls=True)
    pool = pool_to(speaker.port, tls=ssl.create_default_context(cafile=authority))

    await pool.exchange(REQUEST, 5.0)
    response = await pool.exchange(REQUEST, 5.0)

    assert response.body == b"ok"
    assert speaker.connections == 1


async def test_exchange_over_tls_refuses_a_stranger_and_names_the_setting(speak, pool_to, ok):
    speaker = await speak(ok, tls=True)

    with pytest.raises(Unreachable, match="AWS_CA_BUNDLE"):
        await pool_to(speaker.port, tls=ssl.create_default_context()).exchange(REQUEST, 5.0)

    assert speaker.requests == []


async def test_exchange_over_tls_refuses_another_name(speak, ok, authority):
    speaker = await speak(ok, tls=True)
    pool = Pool(Endpoint("127.0.0.2", speaker.port, True), tls=ssl.create_default_context(cafile=authority))

    with pytest.raises(Unreachable):
        await pool.exchange(REQUEST, 5.0)

    assert speaker.requests == []


@pytest.fixture
async def proxy():
    """A CONNECT proxy: (port, requests); says `answers[0]` and, when that is a 200, passes everything on."""
    requests, answers = [], [b"HTTP/1.1 200 Connection established\r\n\r\n"]
    tasks = set()

    async def pump(reader, writer):
        try:
            while data := await reader.read(65536):
                writer.write(data)
        except ConnectionError:
            pass
        finally:
            writer.close()

    async def serve(reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        requests.append(head)
        writer.write(answers[0])
        if b" 200 " not in answers[0]:
            writer.close()
            return
        host, _, port = head.split()[1].decode().rpartition(":")
        far_reader, far_writer = await asyncio.open_connection(host, int(port))
        for pair in ((reader, far_writer), (far_reader, writer)):
            tasks.add(asyncio.create_task(pump(*pair)))

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1], requests, answers
    server.close()
    if tasks:
        await asyncio.wait(tasks)


@pytest.mark.parametrize("is_tls", [False, True])
async def test_exchange_goes_through_a_proxy(speak, pool_to, ok, authority, proxy, is_tls):
    port, requests, _ = proxy
    speaker = await speak(ok, tls=is_tls)
    more = {"tls": ssl.create_default_context(cafile=authority)} if is_tls else {}
    pool = pool_to(speaker.port, proxy=Proxy.parse(f"http://user:p%40ss@127.0.0.1:{port}"), **more)

    responses = [await pool.exchange(REQUEST, 5.0) for _ in range(2)]
    await pool.close()

    assert [response.body for response in responses] == [b"ok", b"ok"]
    assert len(requests) == 1
    assert requests[0].startswith(f"CONNECT 127.0.0.1:{speaker.port} HTTP/1.1\r\n".encode())
    assert b"proxy-authorization: Basic dXNlcjpwQHNz\r\n" in requests[0]
    assert REQUEST in speaker.requests


async def test_exchange_takes_the_second_address_of_a_proxy_when_the_first_swallows_connections(
    monkeypatch, speak, pool_to, ok, proxy
):
    port, requests, _ = proxy
    speaker = await speak(ok)
    resolve(monkeypatch, "proxy.test", "127.0.0.2", "127.0.0.1")
    pool = pool_to(speaker.port, proxy=Proxy("proxy.test", port))

    with black_hole("127.0.0.2", port):
        response = await pool.exchange(REQUEST, 5.0)
    await pool.close()

    assert response.body == b"ok"
    assert len(requests) == 1


async def test_exchange_tells_what_the_proxy_refused(pool_to, proxy):
    port, _, answers = proxy
    answers[0] = b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n"

    with pytest.raises(Unreachable, match=r"through the proxy .*'HTTP/1.1 407 Proxy Authentication Required'"):
        await pool_to(1, proxy=Proxy("127.0.0.1", port)).exchange(REQUEST, 5.0)


@pytest.mark.parametrize(
    ("url", "proxy"),
    [
        ("http://proxy.example:3128", Proxy("proxy.example", 3128)),
        ("proxy.example:3128", Proxy("proxy.example", 3128)),
        ("http://proxy.example", Proxy("proxy.example", 80)),
        ("http://u:p@[::1]:1", Proxy("::1", 1, "Basic dTpw")),
    ],
)
def test_proxy_is_parsed(url, proxy):
    assert Proxy.parse(url) == proxy


def test_proxy_of_another_kind_is_refused_without_showing_the_password():
    with pytest.raises(ValueError, match=r"socks5://proxy\.example; expected http") as caught:
        Proxy.parse("socks5://user:secret@proxy.example:1080")

    assert "secret" not in str(caught.value)
    assert "p%40ss" not in repr(Proxy.parse("http://u:p%40ss@h:1"))


@pytest.mark.parametrize(
    ("endpoint", "authority"),
    [
        (Endpoint("sqs.eu-west-1.amazonaws.com", 443, True), "sqs.eu-west-1.amazonaws.com"),
        (Endpoint("127.0.0.1", 9324, False), "127.0.0.1:9324"),
        (Endpoint("localhost", 80, False), "localhost"),
        (Endpoint("::1", 443, False), "[::1]:443"),
    ],
)
def test_endpoint_authority_has_the_port_only_where_it_is_needed(endpoint, authority):
    assert endpoint.authority == authority


def test_proxy_with_a_slash_in_its_password_is_refused_without_showing_it():
    with pytest.raises(ValueError, match=r"a # / \? in the password is written %23 / %2F / %3F") as caught:
        Proxy.parse("http://user:Zq7canary/9@proxy.example:1080")

    assert "Zq7" not in str(caught.value)
