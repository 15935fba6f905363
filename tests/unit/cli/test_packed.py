"""The command line on copies whose body is packed or left in a file."""

import asyncio
import json
import random

import pytest

from mulligan.brokers.sqlite.broker import SqliteBroker
from mulligan.clock import SystemClock
from mulligan.core import packing
from mulligan.core.delivery import Outgoing
from mulligan.core.message import Message, TaskName, Uid
from mulligan.core.packing import DEAD, REJECTS, Limits
from mulligan.core.progress import Mark, Progress, State
from mulligan.core.retry_state import RetryState
from mulligan.settings.model import Settings
from mulligan.storage.body import BodyFolder

UID = Uid("018bcfe56800-00112233445566778899")
NOISE = random.Random(3).randbytes(3000).hex().encode()


@pytest.fixture
def put(application):
    """Put a copy of the message on a queue of the application, packed for so many bytes; its stored body's path."""

    def put(target, body, limit):
        message = Message(UID, body, {"source": "shop"}, 1_700_000_000.0)
        progress = Progress({TaskName("One"): Mark(State.EXHAUSTED, 2, 0.0, "no", 1_700_000_000.0)})
        packed = packing.pack(message, RetryState(UID, 0, 1, 1_700_000_000.0, progress), Limits(limit), target)
        assert packed.body != body
        if packed.stored is not None:
            BodyFolder(application / "var" / "bodies").keep(packed.stored.name, packed.stored.content)
        asyncio.run(sent(target, Outgoing(packed.body, packed.attributes)))
        return None if packed.stored is None else application / "var" / "bodies" / packed.stored.name

    async def sent(target, outgoing):
        queues = Settings().queues
        broker = SqliteBroker(application / "var" / "mulligan.db", SystemClock())
        await broker.declare(queues, create=True)
        assert await broker.send(queues.dead if target == DEAD else queues.rejects, [outgoing]) == [None]
        await broker.close()

    return put


@pytest.mark.parametrize(("body", "limit"), [(b"a" * 4000, 2000), (NOISE, 2000)], ids=["compressed", "in a file"])
def test_packed_messages_are_shown_as_they_were_sent(mulligan, put, body, limit):
    put(DEAD, body, limit)
    put(REJECTS, body, limit)

    _, peeked, _ = mulligan("peek", "rejects", "--uid", UID)
    _, shown, _ = mulligan("dead", "show", UID, "--body")
    _, listed, _ = mulligan("dead", "ls", "--json")

    for text in (peeked, shown):
        assert text.endswith(body.decode() + "\n")
        assert f"{len(body):,} bytes" in text
        assert "shop" in text
    (data,) = json.loads(listed)
    assert (data["body_bytes"], data["body_problem"]) == (len(body), None)
    assert data["attributes"] == {"source": "shop"}


def test_message_whose_file_is_gone_is_told_by_every_command(mulligan, put):
    path = put(DEAD, NOISE, 2000)
    put(REJECTS, NOISE, 2000).unlink()
    path.unlink()

    told = [
        mulligan("peek", "rejects", "--uid", UID)[1],
        mulligan("dead", "show", UID)[1],
        mulligan("dead", "show", UID, "--json")[1],
    ]
    code, _, err = mulligan("dead", "replay", UID)

    assert all(f"there is no file {path.parent}" in text for text in [*told, err])
    assert json.loads(told[2])[0]["body"] is None
    assert "body is not available" in mulligan("peek", "dead")[1]
    assert "its body is not where it was stored" in mulligan("dead", "ls")[1]
    assert code == 1
    assert json.loads(mulligan("status", "--json")[1])["queues"]["dead"]["ready"] == 1


def test_replay_moves_the_stored_body_to_its_next_copy_and_leaves_no_file_behind(mulligan, put, application):
    body = random.Random(4).randbytes(16 * 2**20)
    path = put(DEAD, body, len(body))

    code, _, _ = mulligan("dead", "replay", UID)

    assert code == 0
    (left,) = path.parent.iterdir()
    assert left.name.startswith(f"{UID}-1-rejects-")
    assert left.read_bytes() == body
