import asyncio
import os
import tracemalloc

import pytest

from mulligan.cli.input import Line, TooLong, UnreadableError, lines


async def all_lines(fd: int, limit: int = 100) -> list[Line | TooLong]:
    return [line async for found in lines(fd, limit) for line in found]


@pytest.fixture
def opened(tmp_path):
    fds = []

    def made(content: bytes) -> int:
        path = tmp_path / "input"
        path.write_bytes(content)
        fds.append(os.open(path, os.O_RDONLY))
        return fds[-1]

    yield made
    for fd in fds:
        os.close(fd)


async def test_lines_are_taken_as_they_are_but_for_their_end(opened):
    found = await all_lines(opened(b" a \r\n\nb\xff\nlast"))

    assert found == [Line(1, b" a \r", 5), Line(2, b"", 6), Line(3, b"b\xff", 9), Line(4, b"last", 13)]


async def test_lines_of_an_empty_input_are_none(opened):
    assert await all_lines(opened(b"")) == []


async def test_lines_need_no_end_at_the_end_and_make_none_after_it(opened):
    assert [line.body for line in await all_lines(opened(b"a\nb\n"))] == [b"a", b"b"]


async def test_lines_longer_than_the_limit_are_passed_over_and_told_with_their_size(opened):
    found = await all_lines(opened(b"x" * 11 + b"\nok\n" + b"y" * 10 + b"\n" + b"z" * 12), limit=10)

    assert found == [TooLong(1, 11, 12), Line(2, b"ok", 15), Line(3, b"y" * 10, 26), TooLong(4, 12, 38)]


async def test_lines_longer_than_what_is_read_at_once_are_whole(opened):
    body = os.urandom(1_000_000).replace(b"\n", b" ")

    assert await all_lines(opened(body + b"\nnext"), limit=1_000_000) == [
        Line(1, body, 1_000_001),
        Line(2, b"next", 1_000_005),
    ]


async def test_lines_of_a_pipe_come_as_they_are_written():
    reading, writing = os.pipe()
    found = aiter(lines(reading, 100))
    os.write(writing, b"first\nsec")
    assert await anext(found) == [Line(1, b"first", 6)]
    os.write(writing, b"ond\n")
    assert await anext(found) == [Line(2, b"second", 13)]
    os.close(writing)
    with pytest.raises(StopAsyncIteration):
        await anext(found)
    os.close(reading)


async def test_lines_can_be_cancelled_while_a_pipe_says_nothing():
    reading, writing = os.pipe()
    waiting = asyncio.ensure_future(all_lines(reading))
    await asyncio.sleep(0)
    waiting.cancel()

    with pytest.raises(asyncio.CancelledError):
        await waiting
    os.close(reading)
    os.close(writing)


async def test_lines_of_a_device_that_can_not_be_waited_for_end():
    fd = os.open(os.devnull, os.O_RDONLY)

    assert await all_lines(fd) == []
    os.close(fd)


async def test_lines_longer_than_the_limit_are_not_kept_in_memory(tmp_path):
    path = tmp_path / "input"
    with path.open("wb") as file:
        file.truncate(50_000_000)
    fd = os.open(path, os.O_RDONLY)
    tracemalloc.start()

    found = await all_lines(fd)

    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    os.close(fd)
    assert found == [TooLong(1, 50_000_000, 50_000_000)]
    assert peak_bytes < 5_000_000


async def test_input_that_can_not_be_read_is_told(tmp_path):
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        with pytest.raises(UnreadableError, match="the input can't be read: Is a directory"):
            await all_lines(fd)
    finally:
        os.close(fd)
