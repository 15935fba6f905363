import pytest

from mulligan.brokers.sqlite import attribute
from mulligan.core.message import Typed


def test_attributes_are_kept_as_ascii_json():
    text = attribute.encode({"a": "ü", "b": b"\xff", "n": Typed("Number", "1.50"), "p": Typed("Binary.png", b"\x89")})

    assert text == '{"a":"\\u00fc","b":["b","/w=="],"n":["t","Number","1.50"],"p":["tb","Binary.png","iQ=="]}'
    assert attribute.decode(text) == {
        "a": "ü",
        "b": b"\xff",
        "n": Typed("Number", "1.50"),
        "p": Typed("Binary.png", b"\x89"),
    }


def test_no_attributes_are_kept_as_nothing():
    assert attribute.encode({}) is None
    assert attribute.decode(None) == {}


@pytest.mark.parametrize("text", ['{"a":1}', '{"a":["x","y"]}', '{"a":["t","kind"]}', '{"a":null}'])
def test_decode_refuses_what_encode_does_not_write(text):
    with pytest.raises(ValueError, match="an attribute is"):
        attribute.decode(text)
