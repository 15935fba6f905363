import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mulligan.brokers.rabbitmq import table
from mulligan.core.message import Typed


@pytest.mark.parametrize(
    ("item", "wire"),
    [
        ("text", b"S\0\0\0\x04text"),
        (b"\0\xff", b"x\0\0\0\x02\0\xff"),
        (Typed("t", "true"), b"t\1"),
        (Typed("b", "-1"), b"b\xff"),
        (Typed("B", "255"), b"B\xff"),
        (Typed("s", "-2"), b"s\xff\xfe"),
        (Typed("u", "65535"), b"u\xff\xff"),
        (Typed("I", "-5"), b"I\xff\xff\xff\xfb"),
        (Typed("i", "4294967295"), b"i\xff\xff\xff\xff"),
        (Typed("l", "-1"), b"l" + b"\xff" * 8),
        (Typed("T", "1"), b"T\0\0\0\0\0\0\0\1"),
        (Typed("d", "0.1"), b"d\x3f\xb9\x99\x99\x99\x99\x99\x9a"),
        (Typed("D", "-1.50"), b"D\2\xff\xff\xff\x6a"),
        (Typed("D", "0.05"), b"D\2\0\0\0\5"),
        (Typed("V", ""), b"V"),
        (Typed("S", b"\xff"), b"S\0\0\0\1\xff"),
        (Typed("A", b"I\0\0\0\1t\0"), b"A\0\0\0\x07I\0\0\0\1t\0"),
    ],
)
def test_value_of_every_type_goes_both_ways_unchanged(item, wire):
    assert table.encode({"n": item}) == b"\1n" + wire
    assert table.decode(b"\1n" + wire) == {"n": item}


@given(st.dictionaries(st.text(max_size=20), st.text(max_size=20) | st.binary(max_size=20), max_size=5))
def test_texts_and_bytes_come_back_as_they_were(attributes):
    assert table.decode(table.encode(attributes)) == attributes


@pytest.mark.parametrize(
    "item",
    [
        Typed("Number", "1.50"),
        Typed("Binary.png", b"\x89"),
        Typed("I", "no number"),
        Typed("I", "99999999999"),
        Typed("F", b"\xff\xff"),
        Typed("A", b"\xff"),
        Typed("t", "maybe"),
        Typed("x", "text"),
    ],
)
def test_kind_that_amqp_does_not_know_or_can_not_hold_comes_back_as_it_was(item):
    found = table.decode(table.encode({"n": item}))

    assert table.unwrapped(found["n"]) == item


@given(st.binary(max_size=60))
def test_decode_reads_or_refuses_whatever_comes(raw):
    with contextlib.suppress(ValueError):
        table.decode(raw)


def test_plain_gives_nested_values_as_python_has_them():
    inner = table.encode({"a": Typed("I", "1"), "b": Typed("t", "false")})
    array = b"F" + len(inner).to_bytes(4, "big") + inner + b"S\0\0\0\1x" + b"V"

    assert table.plain(Typed("A", array)) == [{"a": 1, "b": False}, "x", None]


def test_encode_refuses_a_name_that_is_too_long():
    with pytest.raises(table.NameTooLongError, match="255"):
        table.encode({"n" * 256: "x"})
