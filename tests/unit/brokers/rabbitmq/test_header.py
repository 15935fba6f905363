import pytest

from mulligan.brokers.rabbitmq.amqp import field_table
from mulligan.brokers.rabbitmq.header import foreign, is_true, plain, unwrapped, whole_number
from mulligan.core.message import Typed


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
    found = field_table.decode(field_table.encode({"n": item}, foreign), Typed)

    assert unwrapped(found["n"]) == item


def test_foreign_kind_is_on_the_wire_as_a_table_with_kind_and_value():
    raw = field_table.encode({"n": Typed("Number", "1")}, foreign)

    assert raw == b"\1nF\0\0\0\x2e\x0dmulligan-kindS\0\0\0\6Number\x0emulligan-valueS\0\0\0\x011"


def test_plain_gives_nested_values_as_python_has_them():
    inner = field_table.encode({"a": Typed("I", "1"), "b": Typed("t", "false")}, foreign)
    array = b"F" + len(inner).to_bytes(4, "big") + inner + b"S\0\0\0\1x" + b"V"

    assert plain(Typed("A", array)) == [{"a": 1, "b": False}, "x", None]


def test_header_is_true_or_a_whole_number_by_its_type_alone():
    assert is_true(Typed("t", "true"))
    assert not is_true("true")
    assert whole_number(Typed("l", "4")) == 4
    assert whole_number(Typed("D", "4")) is None
    assert whole_number("4") is None
