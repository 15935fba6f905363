import contextlib
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mulligan.brokers.rabbitmq.amqp.field_table import NameTooLongError, decode, encode


@dataclass(frozen=True)
class Typed:
    kind: str
    value: str | bytes


def foreign(item):
    return {"kind": item.kind, "value": item.value}


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
    assert encode({"n": item}, foreign) == b"\1n" + wire
    assert decode(b"\1n" + wire, Typed) == {"n": item}


@given(st.dictionaries(st.text(max_size=20), st.text(max_size=20) | st.binary(max_size=20), max_size=5))
def test_texts_and_bytes_come_back_as_they_were(fields):
    assert decode(encode(fields, foreign), Typed) == fields


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
def test_value_that_no_type_of_amqp_holds_travels_in_the_callers_table(item):
    found = decode(encode({"n": item}, foreign), Typed)

    assert decode(found["n"].value, Typed) == {"kind": item.kind, "value": item.value}


@given(st.binary(max_size=60))
def test_decode_reads_or_refuses_whatever_comes(raw):
    with contextlib.suppress(ValueError):
        decode(raw, Typed)


def test_encode_refuses_a_name_that_is_too_long():
    with pytest.raises(NameTooLongError, match="255"):
        encode({"n" * 256: "x"}, foreign)
