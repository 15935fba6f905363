"""AWS Signature Version 4 of one kind of request: an awsJson POST to "/". Knows no socket, no clock and no queue.

The signed headers are a fixed, sorted set, so the canonical request is one string with four holes. The tests hold it
equal to a general signer that passes the official vectors. Next in the flow: `http` sends the head with its body.
"""

import hashlib
import hmac
from time import gmtime, strftime  # of a given time: no clock is read here

from mulligan.core.value import value

__all__ = ["Keys", "Signer", "signing_key", "timestamp"]

_CONTENT_TYPE = "application/x-amz-json-1.0"


@value
class Keys:
    """Credentials as they sign. token: of a session, None for long-lived keys."""

    access_key: str
    secret_key: str
    token: str | None = None

    def __repr__(self) -> str:
        return f"Keys(access_key={self.access_key!r}, secret_key=<hidden>)"


def timestamp(at: float) -> str:
    """Epoch seconds as SigV4 writes them: 20150830T123600Z."""
    return strftime("%Y%m%dT%H%M%SZ", gmtime(at))


def signing_key(secret_key: str, date: str, region: str, service: str) -> bytes:
    """The key derived for one day (YYYYMMDD), region and service."""
    key = f"AWS4{secret_key}".encode()
    for part in (date, region, service, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


class Signer:
    """Makes signed request heads for one endpoint, region and set of keys; a new one when the keys change.

    host: as in the Host header, with the port where it is not the scheme's own.
    """

    def __init__(self, keys: Keys, *, region: str, host: str, service: str = "sqs", target: str = "AmazonSQS") -> None:
        self.keys = keys
        self._region = region
        self._service = service
        self._host = host
        self._target = target
        self._day = ""
        self._key = b""
        self._scope = ""
        self._second = -1
        self._stamp = ""
        token_name = ";x-amz-security-token" if keys.token else ""
        self._signed = f"content-type;host;x-amz-date{token_name};x-amz-target;x-amzn-query-mode"
        self._token_line = f"x-amz-security-token:{keys.token}\n" if keys.token else ""
        self._before = f"POST\n/\n\ncontent-type:{_CONTENT_TYPE}\nhost:{host}\nx-amz-date:"
        self._after: dict[str, str] = {}
        self._lines: dict[str, str] = {}

    def head(self, action: str, body_hash: str, body_bytes: int, now: float) -> bytes:
        """Request line and headers, ready to be sent before the body.

        body_hash: hex SHA-256 of the body. now: epoch seconds, already corrected for skew.
        """
        stamp = self._at(now)
        after = self._after.get(action)
        if after is None:
            after = self._prepare(action)
        canonical = f"{self._before}{stamp}{after}{body_hash}"
        digest = hashlib.sha256(canonical.encode()).hexdigest()
        to_sign = f"AWS4-HMAC-SHA256\n{stamp}\n{self._scope}\n{digest}"
        signature = hmac.digest(self._key, to_sign.encode(), "sha256").hex()
        return (
            f"{self._lines[action]}x-amz-date: {stamp}\r\ncontent-length: {body_bytes}\r\n"
            f"authorization: AWS4-HMAC-SHA256 Credential={self.keys.access_key}/{self._scope}, "
            f"SignedHeaders={self._signed}, Signature={signature}\r\n\r\n"
        ).encode()

    def _at(self, now: float) -> str:
        second = int(now)
        if second != self._second:
            self._stamp = timestamp(second)
            self._second = second
            day = self._stamp[:8]
            if day != self._day:
                self._key = signing_key(self.keys.secret_key, day, self._region, self._service)
                self._scope = f"{day}/{self._region}/{self._service}/aws4_request"
                self._day = day
        return self._stamp

    def _prepare(self, action: str) -> str:
        after = f"\n{self._token_line}x-amz-target:{self._target}.{action}\nx-amzn-query-mode:true\n\n{self._signed}\n"
        token = f"x-amz-security-token: {self.keys.token}\r\n" if self.keys.token else ""
        self._lines[action] = (
            f"POST / HTTP/1.1\r\nhost: {self._host}\r\ncontent-type: {_CONTENT_TYPE}\r\n{token}"
            f"x-amz-target: {self._target}.{action}\r\nx-amzn-query-mode: true\r\n"
            "accept-encoding: identity\r\n"  # else a gateway may compress answers; not signed: it may change this line
        )
        self._after[action] = after
        return after
