"""The body as text, where its producer says how it is encoded: the content encoding and charset of AMQP.

Tasks that take bytes get the body as it is. What a producer names and we don't know is left to who reads the body.
"""

import codecs
import re
import zlib

from mulligan.core.message import AttributeValue, Message
from mulligan.tasks.exceptions import PayloadError
from mulligan.tasks.text import cut

__all__ = ["UNPACKED_MAX_BYTES", "decoded"]

UNPACKED_MAX_BYTES = 64 * 1024 * 1024
"""A body of 64 KB can be packed so that it becomes this."""

_ENCODING, _TYPE = "amqp-content-encoding", "amqp-content-type"
_PACKED = frozenset(("gzip", "x-gzip", "deflate"))
_SEPARATOR = re.compile(r"[\s,:;]+")
_CHARSET = re.compile(r"""charset\s*=\s*["']?([\w.:-]+)""", re.IGNORECASE)
# by Python's own names. Not every codec that Python has: some are not charsets, and idna takes quadratic time
_CHARSETS = ("ascii", "big5", "cp", "euc", "gb", "iso2022", "iso8859", "koi8", "mac", "shift_jis", "utf-16", "utf-32")


def decoded(message: Message) -> bytes | str:
    """The body without compression: text where a charset other than UTF-8 is named, else bytes. Raises PayloadError."""
    encoding, kind = message.attributes.get(_ENCODING), message.attributes.get(_TYPE)
    if encoding is None and kind is None:
        return message.body
    names = _names(encoding)
    body = message.body
    for name in reversed(names):  # as they were applied, the last one outermost
        if name in _PACKED:
            body = _unpacked(body, name)
    charset = _charset([*names, *_charsets_of(kind)])
    if charset is None:
        return body
    try:
        return body.decode(charset)
    except UnicodeDecodeError as exc:
        raise PayloadError(
            f"the body is not {charset} text, as the message says: byte {exc.start} of {len(body)} can't be decoded "
            f"({exc.reason}). Take it with run(self, data: bytes)."
        ) from None


def _names(encoding: AttributeValue | None) -> list[str]:
    return [name for name in _SEPARATOR.split(encoding.lower()) if name] if isinstance(encoding, str) else []


def _charsets_of(kind: AttributeValue | None) -> list[str]:
    return _CHARSET.findall(kind) if isinstance(kind, str) else []


def _charset(names: list[str]) -> str | None:
    """The first that is one; None for UTF-8, which needs no decoding here."""
    for name in names:
        try:
            known = codecs.lookup(name).name
        except (LookupError, ValueError):
            continue
        if known.startswith(_CHARSETS):
            return known
        if known.startswith("utf-8"):
            return None
    return None


def _unpacked(body: bytes, name: str) -> bytes:
    unpacker = zlib.decompressobj(wbits=47)  # gzip's head or zlib's, whichever it has
    try:
        found = unpacker.decompress(body, UNPACKED_MAX_BYTES + 1)
    except zlib.error as exc:
        raise PayloadError(f"the body is not {name}, as its content encoding says: {cut(str(exc), 200)}") from None
    if len(found) > UNPACKED_MAX_BYTES:
        raise PayloadError(f"the body has more than {UNPACKED_MAX_BYTES} bytes when it is unpacked ({name})")
    if not unpacker.eof or unpacker.unused_data:
        raise PayloadError(f"the body is not one whole {name}, as its content encoding says: take it as bytes")
    return found
