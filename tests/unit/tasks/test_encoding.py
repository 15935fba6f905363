import gzip
import zlib

import pytest

from mulligan.core.message import Message, Typed, Uid
from mulligan.tasks import encoding
from mulligan.tasks.encoding import decoded
from mulligan.tasks.exceptions import PayloadError
from mulligan.tasks.payload import converter


def message(body, *, content_encoding=None, content_type=None):
    given = {"amqp-content-encoding": content_encoding, "amqp-content-type": content_type}
    return Message(Uid("u"), body, {name: item for name, item in given.items() if item is not None}, 1.0)


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("grün".encode("latin-1"), {"content_encoding": "ISO-8859-1"}),
        ("grün".encode("cp1252"), {"content_type": 'text/plain; charset="windows-1252"'}),
        ("grün".encode("utf-16"), {"content_encoding": "utf-16"}),
        ("grün".encode(), {"content_encoding": "utf-8"}),
        ("grün".encode(), {"content_type": "text/plain", "content_encoding": "binary"}),
        (gzip.compress("grün".encode(), mtime=0), {"content_encoding": "gzip"}),
        (zlib.compress("grün".encode("latin-1")), {"content_encoding": "latin-1, deflate"}),
        (gzip.compress("grün".encode(), mtime=0), {"content_encoding": "gzip:UTF-8"}),
        ("grün".encode(), {"content_encoding": "idna"}),
        ("grün".encode(), {"content_encoding": Typed("I", "5")}),
    ],
)
def test_text_is_read_as_the_message_says_that_it_is_encoded(body, told):
    assert converter(str)(message(body, **told)) == "grün"


def test_json_is_read_as_the_message_says_that_it_is_encoded():
    packed = gzip.compress('{"a": "grün"}'.encode("latin-1"), mtime=0)

    found = converter(dict)(message(packed, content_encoding="gzip", content_type="application/json; charset=latin-1"))

    assert found == {"a": "grün"}


def test_bytes_are_the_body_as_it_is():
    assert converter(bytes)(message(b"\x1f\x8b", content_encoding="gzip")) == b"\x1f\x8b"


@pytest.mark.parametrize(
    ("body", "content_encoding", "told"),
    [
        (b"plain", "gzip", "not gzip, as its content encoding says"),
        (gzip.compress(b"x" * 1000, mtime=0)[:-5], "gzip", "not one whole gzip"),
        (gzip.compress(b"x" * 1001, mtime=0), "gzip", "more than 1000 bytes"),
        (b"\xd8", "utf-16", "not utf-16 text"),
    ],
)
def test_body_that_is_not_what_the_message_says_is_a_failure_with_its_reason(body, content_encoding, told, monkeypatch):
    monkeypatch.setattr(encoding, "UNPACKED_MAX_BYTES", 1000)

    with pytest.raises(PayloadError, match=told):
        decoded(message(body, content_encoding=content_encoding))
