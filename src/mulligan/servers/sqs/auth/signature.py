"""Verifies Signature Version 4: who signed a request, and whether it was changed since.

Supports the general form: any set of signed headers, any path and query. Derived signing keys are cached: deriving one
costs four rounds of HMAC, and it changes once per day.
"""

import hashlib
import hmac
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from urllib.parse import quote, unquote_to_bytes

from mulligan.core.value import value
from mulligan.servers.sqs.auth.key import Key
from mulligan.servers.sqs.wire.error import SqsError

__all__ = ["Identity", "Verifier"]

_ALGORITHM = "AWS4-HMAC-SHA256"
_TIME = "%Y%m%dT%H%M%SZ"
_SKEW_MAX_S = 900.0
_KEPT_MAX = 1_000
_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 +Credential=([^/\s,]+)/(\d{8})/([a-z0-9-]+)/([a-z0-9-]+)/aws4_request *, *"
    r"SignedHeaders=([a-z0-9;_-]+) *, *Signature=([0-9a-f]{64})"
)
_SPACES = re.compile(r" {2,}")


@value
class Identity:
    """Who signed, and for which region."""

    key: Key
    region: str


class Verifier:
    """Verifies requests with the accepted keys."""

    def __init__(self, keys: Sequence[Key]) -> None:
        self._keys = {key.id: key for key in keys}
        self._signing_keys: dict[tuple[str, str, str], bytes] = {}

    def verify(self, method: str, target: str, headers: Mapping[str, str], body: bytes, now: float) -> Identity:
        """The signer. headers: names in lower case. now: this server's time. Raises SqsError."""
        authorization = headers.get("authorization")
        if not authorization:
            raise SqsError("MissingAuthenticationTokenException", "Request is missing Authentication Token")
        found = _AUTHORIZATION.fullmatch(authorization)
        if found is None:
            raise SqsError(
                "IncompleteSignatureException",
                f"The Authorization header must be {_ALGORITHM} with Credential=ID/DATE/REGION/sqs/aws4_request, "
                f"SignedHeaders and Signature. Authorization={authorization[:60]}...",
            )
        key_id, date, region, service, signed, signature = found.groups()
        key = self._keys.get(key_id)
        if key is None:
            raise SqsError("UnrecognizedClientException", "The security token included in the request is invalid.")
        timestamp = headers.get("x-amz-date", "")
        names = signed.split(";")
        _check_scope(service, date, timestamp, names, headers)
        _check_token(key, headers, now)
        text = f"{_ALGORITHM}\n{timestamp}\n{date}/{region}/{service}/aws4_request\n" + _digest(
            _canonical(method, target, names, headers, body).encode("utf-8", "surrogateescape")
        )
        expected = hmac.digest(self._signing_key(key, date, region), text.encode(), "sha256").hex()
        if not hmac.compare_digest(expected, signature):
            raise SqsError(
                "InvalidSignatureException",
                "The request signature we calculated does not match the signature you provided. Check your AWS Secret "
                "Access Key and signing method. Consult the service documentation for details.",
            )
        # the time is checked last, so that a client can trust what the error says about the clock
        _check_time(timestamp, now)
        return Identity(key, region)

    def _signing_key(self, key: Key, date: str, region: str) -> bytes:
        cached = self._signing_keys.get((key.id, date, region))
        if cached is None:
            if len(self._signing_keys) >= _KEPT_MAX:
                self._signing_keys.clear()
            cached = f"AWS4{key.secret}".encode()
            for part in (date, region, "sqs", "aws4_request"):
                cached = hmac.digest(cached, part.encode(), "sha256")
            self._signing_keys[key.id, date, region] = cached
        return cached


@lru_cache(maxsize=1_024)  # all requests of one second have the same
def _parse_time(timestamp: str) -> float | None:
    """Epoch seconds of a time like 20261124T050102Z; None for another format."""
    try:
        return datetime.strptime(timestamp, _TIME).replace(tzinfo=UTC).timestamp()
    except ValueError:
        return None


def _check_scope(service: str, date: str, timestamp: str, names: Sequence[str], headers: Mapping[str, str]) -> None:
    if service != "sqs":
        raise _wrong(f"Credential should be scoped to correct service: 'sqs', not {service!r}.")
    if _parse_time(timestamp) is None or not timestamp.startswith(date):
        raise _wrong(
            f"Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date: {date} {timestamp}."
        )
    if "host" not in names:
        raise _wrong("'Host' must be a 'SignedHeader' in the AWS Authorization.")
    for name in headers:
        if name.startswith("x-amz-") and name not in names:
            raise _wrong(f"{name!r} must be a 'SignedHeader' in the AWS Authorization.")
    if missing := [name for name in names if name not in headers]:
        raise _wrong(f"The signed header {missing[0]!r} is not in the request.")


def _check_token(key: Key, headers: Mapping[str, str], now: float) -> None:
    if key.token != headers.get("x-amz-security-token"):
        raise SqsError("UnrecognizedClientException", "The security token included in the request is invalid.")
    if key.expires_at is not None and key.expires_at <= now:
        raise SqsError("ExpiredTokenException", "The security token included in the request is expired")


def _check_time(timestamp: str, now: float) -> None:
    signed_at = _parse_time(timestamp) or 0.0
    if signed_at < now - _SKEW_MAX_S:
        raise _wrong(
            f"Signature expired: {timestamp} is now earlier than {_text(now - _SKEW_MAX_S)} ({_text(now)} - 15 min.)"
        )
    if signed_at > now + _SKEW_MAX_S:
        raise _wrong(
            f"Signature not yet current: {timestamp} is still later than {_text(now + _SKEW_MAX_S)} "
            f"({_text(now)} + 15 min.)"
        )


def _text(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime(_TIME)


def _wrong(text: str) -> SqsError:
    return SqsError("InvalidSignatureException", text)


def _canonical(method: str, target: str, names: Sequence[str], headers: Mapping[str, str], body: bytes) -> str:
    path, _, query = target.partition("?")
    lines = [method, _canonical_path(path), _canonical_query(query) if query else ""]
    lines += [
        f"{name}:{_SPACES.sub(' ', headers[name].strip()) if '  ' in headers[name] else headers[name].strip()}"
        for name in names
    ]
    # the hash of the body as received, whatever the client claims in x-amz-content-sha256
    lines += ["", ";".join(names), _digest(body)]
    return "\n".join(lines)


def _canonical_path(path: str) -> str:
    if path == "/":
        return path
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in {"", "."}:
            parts.append(quote(part, safe="-_.~"))
    end = "/" if path.endswith("/") and parts else ""
    return "/" + "/".join(parts) + end


def _canonical_query(query: str) -> str:
    pairs = [pair.partition("=") for pair in query.split("&")]
    escape: Callable[[str], str] = lambda text: quote(unquote_to_bytes(text), safe="-_.~")  # noqa: E731 - used twice here
    return "&".join(sorted(f"{escape(name)}={escape(text)}" for name, _, text in pairs))


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
