"""`BROKER_URL` of RabbitMQ, taken apart. Reads no environment and opens nothing but certificate files."""

import ssl
from urllib.parse import parse_qsl, unquote, urlsplit

from mulligan.core.error import ConfigurationError
from mulligan.core.value import value
from mulligan.storage.url import redacted

__all__ = ["HEARTBEAT_S", "Address", "parse", "tls"]

HEARTBEAT_S = 40
"""A dead server is noticed in 5/8 of it; a task may hold the interpreter for 7/8 of it."""

_PORTS = {"amqp": 5672, "amqps": 5671}
_PARAMETERS = ("cafile", "certfile", "keyfile", "heartbeat")


@value
class Address:
    """Where the server is, and who we are there. heartbeat_s: 0 for none. has_user: the URL names one."""

    host: str
    port: int
    user: str
    password: str
    vhost: str
    is_tls: bool
    heartbeat_s: int
    cafile: str | None = None
    certfile: str | None = None
    keyfile: str | None = None
    has_user: bool = True

    def __repr__(self) -> str:
        return f"Address({self.where!r}, user={self.user!r}, password=<hidden>)"

    @property
    def where(self) -> str:
        """As a person is told it."""
        return f"{self.host}:{self.port}/{'' if self.vhost == '/' else self.vhost}"


def parse(url: str) -> Address:
    """The address in `amqp[s]://user:password@host:port/vhost?...`. Raises ConfigurationError with all problems."""
    problems: list[str] = []
    shown = redacted(url)

    def wrong(text: str) -> None:
        problems.append(f"BROKER_URL: {text} in {shown!r}.")

    try:
        parts = urlsplit(url.strip())
        host, port = parts.hostname, parts.port
    except ValueError as exc:
        raise ConfigurationError(
            [f"BROKER_URL: {shown!r} can't be read ({exc}), expected amqp://user:password@host:port/vhost."]
        ) from None
    scheme = parts.scheme.lower()
    given = dict(parse_qsl(parts.query, keep_blank_values=True))
    for name in given.keys() - set(_PARAMETERS):
        wrong(f"nothing is known for {name!r}, expected {', '.join(_PARAMETERS)}")
    if parts.fragment:
        wrong("a # ends the URL early: write %23 in its place")
    path = parts.path.removeprefix("/")
    if "/" in path:
        wrong("a virtual host with a / in its name is written with %2F, expected one part after the host")
    heartbeat = given.get("heartbeat", str(HEARTBEAT_S))
    if not heartbeat.isdecimal() or not (heartbeat == "0" or 4 <= int(heartbeat) < 65536):
        wrong(f"heartbeat is {heartbeat!r}, expected 0 (none) or 4 to 65535 seconds")
        heartbeat = "0"
    if scheme == "amqp" and (extra := [name for name in _PARAMETERS[:3] if name in given]):
        wrong(f"{', '.join(extra)} need amqps://")
    if ("certfile" in given) != ("keyfile" in given):
        wrong("certfile and keyfile belong together, and one is missing")
    user = unquote(parts.username) if parts.username is not None else "guest"
    password = unquote(parts.password) if parts.password is not None else "guest"
    for what, text in (("virtual host", unquote(path)), ("user", user)):
        if len(text.encode("utf-8", "surrogateescape")) > 255:
            wrong(f"the {what} is longer than the 255 bytes that AMQP takes")
    if problems:
        raise ConfigurationError(problems)
    return Address(
        host or "localhost",
        port or _PORTS[scheme],
        user,
        password,
        unquote(path) or "/",
        scheme == "amqps",
        int(heartbeat),
        given.get("cafile"),
        given.get("certfile"),
        given.get("keyfile"),
        parts.username is not None,
    )


def tls(address: Address) -> ssl.SSLContext | None:
    """The context of amqps; always with verification. Raises ConfigurationError."""
    if not address.is_tls:
        return None
    try:
        context = ssl.create_default_context(cafile=address.cafile)
    except (OSError, ValueError) as exc:
        text = f"BROKER_URL: cafile {address.cafile!r} can't be read: {exc}. Expected a PEM file of certificates."
        raise ConfigurationError([text]) from None
    if address.certfile is not None:
        try:
            context.load_cert_chain(address.certfile, address.keyfile)
        except (OSError, ValueError) as exc:
            text = (
                f"BROKER_URL: certfile {address.certfile!r} with keyfile {address.keyfile!r} can't be used: {exc}. "
                f"Expected a certificate and its private key, in PEM, the key without a password."
            )
            raise ConfigurationError([text]) from None
    return context
