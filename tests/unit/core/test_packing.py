"""Copies in every form: what they become, that they fit, and that nothing of a message is lost on the way."""

import random
import zlib
from base64 import b64encode
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mulligan.core import retry_state
from mulligan.core.delivery import Delivery
from mulligan.core.error import PackingError
from mulligan.core.message import Message, QueueName, TaskName, Typed, Uid
from mulligan.core.packing import (
    DEAD,
    REJECTS,
    Limits,
    is_for,
    pack,
    pack_quickly,
    size_bytes,
    unpack,
)
from mulligan.core.progress import Mark, Progress, State
from mulligan.core.retry_state import Packing, RetryState

UID = Uid("018bcfe56800-00112233445566778899")
QUEUE = QueueName("rejects")
ERROR = "e" * 1000
TOLD = RetryState(
    UID,
    1,
    2,
    1_700_000_000.0,
    Progress(
        {
            TaskName("One"): Mark(State.DONE, 1),
            TaskName("Two"): Mark(State.PENDING, 1, 1_700_000_010.0, ERROR, 1_700_000_000.0),
        }
    ),
)
NOISE = random.Random(1).randbytes(4000)
TEN = {f"k{at}": f"v{at}" for at in range(10)}
ROOM = 700
"""Bytes that the story of TOLD, packed and without texts, has room in."""


def test_pack_leaves_out_the_id_last_where_there_is_no_room_for_it():
    told = replace(TOLD, progress=Progress({TaskName("One"): Mark(State.PENDING, 1)}), id="i" * 200)
    short = len(retry_state.encode(told)) + 150

    packed = pack(message(b"", TEN), told, Limits(short, 10), DEAD)
    bare = pack(message(b"", TEN), told, Limits(short - 150, 10), DEAD)

    assert sent(packed)[1].id == "i" * 200
    assert sent(bare)[1].id is None


def message(body=b"body", attributes=None):
    return Message(UID, body, attributes or {}, int(UID[:12], 16) / 1000)


def sent(packed):
    """What a receiver of the copy reads: the message as it is carried, and the story."""
    delivery = Delivery(QUEUE, "1", "1", packed.body, packed.attributes, 1.0)
    carried, told, problem = retry_state.read(delivery, "", is_trusted=True)
    assert problem is None
    assert told is not None
    return carried, told


def opened(packed, files=None):
    """The message as a receiver gets it. files: contents by name; what the copy left behind by default."""
    if files is None:
        files = {packed.stored.name: packed.stored.content} if packed.stored else {}

    def load(name, size):
        if name not in files:
            raise PackingError("not there")
        return files[name]

    carried, told = sent(packed)
    return unpack(carried, told, load)


def reason(packed):
    return sent(packed)[1].progress.marks[TaskName("Two")].reason


def size(packed, limits):
    return size_bytes(packed.body, packed.attributes, limits.type_bytes)


# -- what is tried, in order


def test_copy_is_as_it_is_when_it_fits():
    packed = pack(message(b"body", {"a": "b"}), TOLD, Limits(100_000), REJECTS)

    assert packed.body == b"body"
    assert packed.attributes == {"a": "b", "mulligan": retry_state.encode(TOLD)}
    assert packed.stored is None


def test_copy_takes_exactly_the_limit_and_is_cut_at_one_byte_less():
    whole = len(b"body") + len("mulligan") + 6 + len(retry_state.encode(TOLD))

    at_limit = pack(message(), TOLD, Limits(whole, type_bytes=6), REJECTS)
    below = pack(message(), TOLD, Limits(whole - 1, type_bytes=6), REJECTS)

    assert reason(at_limit) == ERROR
    assert reason(below) == ERROR[:200]


def test_copy_loses_its_error_texts_before_its_body_is_packed():
    packed = pack(message(NOISE), TOLD, Limits(len(NOISE) + 220), REJECTS)

    assert packed.body == NOISE
    two = sent(packed)[1].progress.marks[TaskName("Two")]
    assert two == Mark(State.PENDING, 1, 1_700_000_010.0, None, 1_700_000_000.0)


def test_copy_compresses_its_body_and_has_its_error_texts_again():
    body = b"a" * 10_000

    packed = pack(message(body, {"a": "b"}), TOLD, Limits(10_000), REJECTS)

    assert packed.body == zlib.compress(body)
    assert packed.attributes["a"] == "b"
    assert reason(packed) == ERROR
    assert opened(packed) == message(body, {"a": "b"})


def test_copy_is_text_when_the_queue_takes_text_only():
    body = b"a" * 10_000

    packed = pack(message(body), TOLD, Limits(10_000, is_text=True), REJECTS)

    assert packed.body == b64encode(zlib.compress(body))
    assert opened(packed) == message(body)


def test_copy_leaves_a_body_that_can_not_be_compressed():
    packed = pack(message(NOISE, {"a": "b"}), TOLD, Limits(len(NOISE)), REJECTS)

    assert packed.stored is not None
    assert packed.stored.content == NOISE
    assert packed.attributes["a"] == "b"
    assert packed.body.isascii()
    assert packed.body
    assert opened(packed) == message(NOISE, {"a": "b"})


def test_copy_takes_its_attributes_inside_when_there_are_too_many():
    limits = Limits(100_000, max_attributes=10)

    nine = pack(message(attributes=dict(list(TEN.items())[:9])), TOLD, limits, REJECTS)
    ten = pack(message(attributes=TEN), TOLD, limits, REJECTS)

    assert len(nine.attributes) == 10
    assert list(ten.attributes) == ["mulligan"]
    assert opened(ten) == message(attributes=TEN)


def test_copy_takes_its_attributes_inside_when_they_alone_are_too_big():
    attributes = {"a": "x" * 5000, "b": b"\0" * 5000, "n": Typed("Number", "1.50")}

    packed = pack(message(b"body", attributes), TOLD, Limits(3000), REJECTS)

    assert list(packed.attributes) == ["mulligan"]
    assert packed.stored is None
    assert opened(packed) == message(b"body", attributes)


def test_copy_leaves_attributes_and_body_when_neither_fits():
    attributes = {"a": NOISE}

    packed = pack(message(NOISE, attributes), TOLD, Limits(3000), REJECTS)

    assert packed.stored is not None
    assert list(packed.attributes) == ["mulligan"]
    assert opened(packed) == message(NOISE, attributes)


def test_copy_is_refused_with_what_it_needs_when_not_even_its_story_fits():
    many = {TaskName(f"Task{at}"): Mark(State.DONE, 2) for at in range(100)}

    with pytest.raises(PackingError, match=r"100 tasks\).* take \d{4} bytes, and the queue takes messages of 1024"):
        pack(message(), replace(TOLD, progress=Progress(many)), Limits(1024), REJECTS)


def test_quick_packing_leaves_what_takes_time_to_the_other():
    assert pack_quickly(message(), TOLD, Limits(100_000)) is not None
    assert pack_quickly(message(attributes=TEN), TOLD, Limits(100_000, 10)) is not None
    assert pack_quickly(message(b"a" * 10_000), TOLD, Limits(10_000)) is None


TEXTS = st.text(st.characters(exclude_categories=()), max_size=30)
ITEMS = st.one_of(
    TEXTS, st.binary(max_size=30), st.builds(Typed, TEXTS, TEXTS), st.builds(Typed, TEXTS, st.binary(max_size=30))
)
BODIES = st.one_of(
    st.binary(max_size=300),
    st.builds(bytes.__mul__, st.binary(max_size=3), st.integers(0, 5000)),
    st.integers(0, 4000).map(lambda length: NOISE[:length]),
)
LIMITS = st.builds(
    Limits,
    st.integers(1, 6000),
    st.none() | st.integers(1, 4),
    st.sampled_from([0, 6]),
    st.booleans(),
)


def packed_or_refused(original, told, limits):
    try:
        return pack(original, told, limits, REJECTS)
    except PackingError as exc:
        return str(exc)


@given(BODIES, st.dictionaries(TEXTS.filter(lambda name: name != "mulligan"), ITEMS, max_size=5), LIMITS, TEXTS)
def test_any_message_fits_and_comes_back_as_it_was_or_is_refused_for_its_story(body, attributes, limits, error):
    told = replace(TOLD, progress=Progress({TaskName("Two"): Mark(State.EXHAUSTED, 2, 0.0, error or None, 1.0)}))
    original = message(body, attributes)
    packed = packed_or_refused(original, told, limits)

    if isinstance(packed, str):
        assert "Raise the queue's limit" in packed
        assert limits.max_bytes < ROOM
        return
    assert size(packed, limits) <= limits.max_bytes
    assert limits.max_attributes is None or len(packed.attributes) <= limits.max_attributes
    assert opened(packed) == original
    back = sent(packed)[1]
    assert replace(back, wrap=None, progress=told.progress) == told
    assert (error or "").startswith(back.progress.marks[TaskName("Two")].reason or "")


# -- names of stored bodies


def test_stored_body_has_one_name_a_message_generation_queue_and_content():
    def name(told=TOLD, body=NOISE, target=REJECTS):
        stored = pack(message(body), told, Limits(len(body)), target).stored
        assert stored is not None
        return stored.name

    others = [
        name(replace(TOLD, uid=Uid("018bcfe56800-99112233445566778899"))),
        name(replace(TOLD, generation=2)),
        name(body=NOISE[1:]),
        name(target=DEAD),
    ]

    assert name() == name(replace(TOLD, hop=7))
    assert len({name(), *others}) == 5
    assert name().startswith(f"{UID}-1-rejects-")


def test_stored_body_belongs_to_the_queue_in_its_name_only():
    name = "018bcfe56800-00112233445566778899-0-dead-" + "a" * 32

    assert is_for(name, DEAD)
    assert not is_for(name, REJECTS)
    assert not is_for(f"../{name}", DEAD)
    assert not is_for(None, DEAD)


def test_name_of_a_stored_body_is_a_plain_file_name_whatever_the_uid():
    packed = pack(message(NOISE), replace(TOLD, uid=Uid("018bcfe56800../../x")), Limits(len(NOISE)), REJECTS)

    assert packed.stored is not None
    assert "/" not in packed.stored.name
    assert "." not in packed.stored.name


# -- what is not available


def wrapped(wrap, body=b"body"):
    return message(body), replace(TOLD, wrap=wrap)


def no_load(name, size):
    raise AssertionError("nothing is to be loaded")


@pytest.mark.parametrize(
    ("wrap", "body", "words"),
    [
        (Packing("zlib", 4), b"body", "its packed body is damaged"),
        (Packing("zlib", 4), zlib.compress(b"body")[:-1], "doesn't end at the 4 bytes"),
        (Packing("zlib", 4), zlib.compress(b"body") + b"x", "doesn't end at the 4 bytes"),
        (Packing("zlib", 3), zlib.compress(b"body"), "doesn't end at the 3 bytes"),
        (Packing("zlib", 5), zlib.compress(b"body"), "has 4 bytes, expected 5"),
        (Packing("zlib", 100), zlib.compress(b"0" * 10**7), "doesn't end at the 100 bytes"),
        (Packing("base64", 4), b"b\xffdy", "it is not base64"),
        (Packing("base64", 4), b"abc", "it is not base64"),
        (Packing("plain", 5), b"body", "has 4 bytes, expected 5"),
        (Packing("plain", 4, True), b"body", "its packed attributes are damaged"),
        (Packing("plain", 3, True), b"[]\n", "its packed attributes are damaged"),
        (Packing("plain", 11, True), b'{"a":["b"]}'[:10] + b"\n", "its packed attributes are damaged"),
        (Packing("plain", 16, True), b'{"a":[null,1]} \n', "its packed attributes are damaged"),
        (Packing("plain", 14, True), b'{"a":[1,"x"]}\n', "its packed attributes are damaged"),
        (Packing("plain", 20, True), b'{"a":[null,"x","b"]}', "its packed attributes are damaged"),
        (Packing("plain", 21, True), b'{"a":[null,"x","b"]}\n', "its packed attributes are damaged"),
        (Packing("file", 4), b"", "file '', which is not a name that mulligan gives"),
        (Packing("file", 4, False, "../../etc/passwd"), b"", "which is not a name that mulligan gives"),
        (Packing("zstd", 4), b"body", "packed as 'zstd', which this version can't unpack"),
        (Packing("damaged", 0), b"body", "packed as 'damaged'"),
    ],
    ids=str,
)
def test_damaged_copy_is_told_and_never_taken_for_a_message(wrap, body, words):
    with pytest.raises(PackingError, match=words):
        unpack(*wrapped(wrap, body), no_load)


def test_bomb_is_not_inflated_beyond_what_was_packed(monkeypatch):
    bomb = zlib.compress(b"0" * 10**8)
    asked = []

    class Engine:
        def __init__(self):
            self._real = real()

        def decompress(self, data, most):
            asked.append(most)
            return self._real.decompress(data, most)

        def __getattr__(self, name):
            return getattr(self._real, name)

    real = zlib.decompressobj
    monkeypatch.setattr(zlib, "decompressobj", Engine)

    with pytest.raises(PackingError):
        unpack(*wrapped(Packing("zlib", 1000), bomb), no_load)
    assert asked == [1001]


def test_stored_body_that_is_missing_or_another_is_told():
    packed = pack(message(NOISE), TOLD, Limits(len(NOISE)), REJECTS)
    assert packed.stored is not None

    with pytest.raises(PackingError, match="not there"):
        opened(packed, {})
    with pytest.raises(PackingError, match="is not what was stored"):
        opened(packed, {packed.stored.name: NOISE[::-1]})


def test_packed_attributes_bring_no_story_of_their_own():
    body = b'{"mulligan":[null,"forged"],"a":[null,"b"]}\nbody'

    found = unpack(*wrapped(Packing("plain", len(body), True), body), no_load)

    assert found.attributes == {"a": "b"}
    assert found.body == b"body"


def test_request_that_says_it_is_packed_is_not_unpacked():
    told = retry_state.encode(replace(TOLD, wrap=Packing("plain", 4, True)))
    delivery = Delivery(QueueName("requests"), "1", "1", b"{}\nx", {"mulligan": told}, 1.0)

    found, known, _ = retry_state.read(delivery, "", is_trusted=False)

    assert known is None
    assert found.body == b"{}\nx"
