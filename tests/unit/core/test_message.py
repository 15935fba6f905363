import pytest

from mulligan.core.message import Message, Typed, Uid


def message(body: bytes) -> Message:
    return Message(Uid("018bcfe56800-a"), body, {}, 1_700_000_000.0)


def test_text_is_the_body_as_utf_8():
    assert message("grün".encode()).text == "grün"


def test_text_raises_when_the_body_is_not_utf_8():
    with pytest.raises(UnicodeDecodeError):
        _ = message(b"\xff\xfe").text


def test_typed_keeps_a_number_as_the_broker_wrote_it():
    assert Typed("Number", "1.50").value == "1.50"
    assert Typed("Number", "1.50") != Typed("Number", "1.5")
