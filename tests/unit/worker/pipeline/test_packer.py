import asyncio
import threading

import pytest

from mulligan.core.error import PackingError
from mulligan.core.message import Message, TaskName, Uid
from mulligan.core.packing import REJECTS, Limits
from mulligan.core.progress import FRESH, Progress
from mulligan.core.retry_state import RetryState, decode
from mulligan.storage.body import BodyFolder
from mulligan.worker.pipeline.packer import Packer

UID = Uid("018bcfe56800-00000000000000000000")
TOLD = RetryState(UID, 0, 1, 1.0, Progress({TaskName("One"): FRESH}))
SMALL = Limits(2_000)


def message(body):
    return Message(UID, body, {}, 1.0)


def noise(count):
    """Bytes that no compression makes smaller."""
    value, out = 1, bytearray()
    for _ in range(count):
        value = value * 6_364_136_223_846_793_005 + 1_442_695_040_888_963_407 & (1 << 64) - 1
        out.append(value >> 56)
    return bytes(out)


@pytest.fixture
def folder(tmp_path):
    return BodyFolder(tmp_path / "bodies")


@pytest.fixture
def packer(folder):
    return Packer(folder)


@pytest.fixture
def pack(packer):
    async def pack(body):
        """A packed copy, and its retry state as whoever receives it reads it."""
        packed = await packer.pack(message(body), TOLD, SMALL, REJECTS)
        (raw,) = [item for name, item in packed.attributes.items() if name == "mulligan"]
        return Message(UID, packed.body, {}, 1.0), decode(raw), packed

    return pack


async def test_body_that_fits_is_sent_as_it_is(pack, packer):
    copy, told, _ = await pack(b"hello")

    assert copy.body == b"hello"
    assert told.wrap is None
    assert await packer.unpack(copy, told) is copy


@pytest.mark.parametrize("body", [b"a" * 5_000, noise(5_000)], ids=["compressed", "stored"])
async def test_body_that_does_not_fit_comes_back_whole(pack, packer, body):
    with asyncio.get_running_loop().standing_still():
        copy, told, _ = await pack(body)
        whole = await packer.unpack(copy, told)

    assert len(copy.body) < SMALL.max_bytes
    assert whole.body == body


async def test_body_that_is_left_behind_is_on_disk_before_its_copy_is_sent(pack, tmp_path):
    with asyncio.get_running_loop().standing_still():
        _, told, packed = await pack(noise(5_000))

    assert packed.stored.name == told.wrap.file
    assert (tmp_path / "bodies").exists()
    assert [path.name for path in (tmp_path / "bodies").rglob("*") if path.is_file()] == [told.wrap.file]


async def test_body_that_is_gone_is_an_error_that_says_so(pack, packer):
    with asyncio.get_running_loop().standing_still():
        copy, told, packed = await pack(noise(5_000))
        await packer.drop(packed.stored.name)

        with pytest.raises(PackingError):
            await packer.unpack(copy, told)


async def test_packing_keeps_the_event_loops_thread_free(pack, folder, monkeypatch):
    threads = []
    keep = folder.keep
    monkeypatch.setattr(folder, "keep", lambda *what: threads.append(threading.current_thread()) or keep(*what))

    with asyncio.get_running_loop().standing_still():
        await pack(noise(5_000))

    assert len(threads) == 1
    assert threads[0] is not threading.main_thread()
