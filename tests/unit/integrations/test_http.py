import asyncio
import socket

import pytest

from mulligan.integrations import http
from mulligan.integrations.failure import Ambiguous, NotSent, RateLimited, Refused
from tests.support.black_hole import black_hole, resolve

NOW = 1_700_000_000.0


@pytest.fixture(autouse=True)
async def _closed():
    yield
    await http.close()


async def test_call_is_not_sent_when_nobody_listens():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/"

        with pytest.raises(NotSent, match="can't be reached"):
            await http.call("POST", url, headers={})


async def test_call_takes_the_second_address_when_the_first_swallows_connections(monkeypatch):
    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    resolve(monkeypatch, "service.test", "127.0.0.2", "127.0.0.1")

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with black_hole("127.0.0.2", port):
            reply = await http.call("POST", f"http://service.test:{port}/", headers={})

    assert reply.status == 204


@pytest.mark.parametrize("token", ["xo\nxb-secret", "x\u00f6xb-secret"])
async def test_token_that_no_header_can_hold_is_refused_and_not_shown(token):
    with pytest.raises(Refused, match="its header 'authorization' holds a character") as told:
        await http.call("POST", "http://127.0.0.1:9/", headers={"authorization": f"Bearer {token}"})

    assert "secret" not in told.value.reason


async def test_proxy_with_a_slash_in_its_password_is_told_of_without_a_word_of_it(monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://me:Zq7canary/9@127.0.0.1:3128")

    with pytest.raises(NotSent, match="a # / \\? in the password is written %23 / %2F / %3F") as told:
        await http.call("POST", "https://127.0.0.1:9/", headers={})

    assert "Zq7" not in told.value.reason


async def test_url_that_the_client_can_not_read_is_not_shown():
    with pytest.raises(NotSent, match="its URL can't be read") as told:
        await http.call("POST", "http://me:Zq7canary/9@127.0.0.1:9/", headers={})

    assert "Zq7" not in told.value.reason


async def test_call_logs_no_url_whose_path_is_a_secret(caplog):
    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/services/Zq7canary"
        with caplog.at_level("DEBUG"):
            reply = await http.call("POST", url, headers={})

    assert reply.status == 204
    assert "Zq7" not in caplog.text


async def test_call_is_ambiguous_when_the_service_is_silent(monkeypatch):
    monkeypatch.setattr(http, "DEADLINE_S", 0.2)
    held = []
    silent = await asyncio.start_server(lambda reader, writer: held.append(writer), "127.0.0.1", 0)
    async with silent:
        url = f"http://127.0.0.1:{silent.sockets[0].getsockname()[1]}/"

        with pytest.raises(Ambiguous, match=r"no reply within 0\.2 s|ReadTimeout"):
            await http.call("POST", url, headers={}, data={})
        for writer in held:
            writer.close()
            await writer.wait_closed()


@pytest.mark.parametrize(
    ("raw", "wait_s"),
    [("7", 7.0), ("Tue, 14 Nov 2023 22:13:50 GMT", 30.0), ("-3", 0.0), ("1e9", http.WAIT_MAX_S), ("soon", None),
     ("nan", None), ("", None)],
)  # fmt: skip
def test_wait_that_is_asked_for_is_read_from_seconds_or_a_date_and_bounded(raw, wait_s):
    assert http.wait_asked(http.Reply(429, {"retry-after": raw}, b""), NOW) == wait_s


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (429, RateLimited),
        (400, Refused),
        (401, Refused),
        (302, Refused),
        (408, Ambiguous),
        (500, Ambiguous),
        (200, Ambiguous),
    ],
)
def test_status_says_whether_anything_was_done(status, kind):
    assert type(http.fault_of(http.Reply(status, {}, b""), "x", NOW)) is kind
