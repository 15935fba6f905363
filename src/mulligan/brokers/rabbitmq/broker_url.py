"""`BROKER_URL` of RabbitMQ: its parts and its TLS context. Reads no environment, opens certificate files only."""

import ssl
from pathlib import Path
from urllib.parse import SplitResult, parse_qsl, unquote

from mulligan.brokers.rabbitmq.amqp.parameters import ConnectionParameters
from mulligan.core.error import ConfigurationError
from mulligan.core.secret import redacted_url
from mulligan.core.url import UrlFault, split_url

__all__ = ["HEARTBEAT_S", "parse", "tls"]

HEARTBEAT_S = 40
"""The default. A dead server is noticed after 5/8 of it; a task may hold the interpreter for 7/8 of it."""

_PORTS = {"amqp": 5672, "amqps": 5671}
_PARAMETERS = ("cafile", "certfile", "keyfile", "heartbeat")


def parse(url: str, base_dir: Path | None = None) -> ConnectionParameters:
    """What `amqp[s]://user:password@host:port/vhost?...` says; relative files in it are below base_dir.

    Raises ConfigurationError with all problems.
    """
    problems: list[str] = []
    shown = redacted_url(url)

    def wrong(text: str) -> None:
        problems.append(f"BROKER_URL: {text} in {shown!r}.")

    parts = _split(url, shown)
    host, port = parts.hostname, parts.port
    scheme = parts.scheme.lower()
    given = dict(parse_qsl(parts.query, keep_blank_values=True))
    # made absolute now: they may be read late, after a task has changed the working directory
    files = {name: str((base_dir or Path()) / item) for name, item in given.items() if name in _PARAMETERS[:3]}
    for name in given.keys() - set(_PARAMETERS):
        # a name that the redacted URL doesn't show may be part of a secret
        parameter = repr(name) if f"{name}=" in shown else "a parameter"
        wrong(f"{parameter} is unknown, expected {', '.join(_PARAMETERS)}")
    if parts.fragment:
        wrong("a # ends the URL early: write %23 in its place")
    path = parts.path.removeprefix("/")
    if "/" in path:
        wrong("a virtual host with a / in its name is written with %2F; expected one part after the host")
    heartbeat = given.get("heartbeat", str(HEARTBEAT_S))
    if not heartbeat.isdecimal() or not (heartbeat == "0" or 4 <= int(heartbeat) < 65536):
        wrong(f"heartbeat is {heartbeat!r}, expected 0 (none) or 4 to 65535 seconds")
        heartbeat = "0"
    if scheme == "amqp" and (extra := [name for name in _PARAMETERS[:3] if name in given]):
        wrong(f"{', '.join(extra)} need amqps://")
    if ("certfile" in given) != ("keyfile" in given):
        wrong("certfile and keyfile need each other, and one is missing")
    user = unquote(parts.username) if parts.username is not None else "guest"
    password = unquote(parts.password) if parts.password is not None else "guest"
    for what, text in (("virtual host", unquote(path)), ("user", user), ("password", password)):
        if fault := _text_fault(text, most_bytes=None if what == "password" else 255):
            wrong(f"the {what} {fault}")
    if problems:
        raise ConfigurationError(problems)
    return ConnectionParameters(
        host or "localhost",
        port or _PORTS[scheme],
        user,
        password,
        unquote(path) or "/",
        scheme == "amqps",
        int(heartbeat),
        files.get("cafile"),
        files.get("certfile"),
        files.get("keyfile"),
        parts.username is not None,
    )


def _text_fault(text: str, *, most_bytes: int | None) -> str | None:
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        return "holds bytes that are not UTF-8, which AMQP doesn't allow,"
    return "is longer than the 255 bytes that AMQP allows" if most_bytes and size > most_bytes else None


def _split(url: str, shown: str) -> SplitResult:
    if _names_several_hosts(url):
        raise ConfigurationError(
            [
                f"BROKER_URL: it names several hosts, in {shown!r}, and only one is allowed. Name one that represents "
                "all: a load balancer in front of the cluster, or a DNS name with the addresses of all."
            ]
        )
    try:
        return split_url(url)
    except UrlFault as exc:
        raise ConfigurationError(
            [f"BROKER_URL: {shown!r} can't be read: {exc}. Expected amqp://USER:PASSWORD@HOST:PORT/VHOST."]
        ) from None


def _names_several_hosts(url: str) -> bool:
    scheme, _, rest = url.strip().lower().partition("://")
    return "," in rest.partition("/")[0].rpartition("@")[2] or f"{scheme}://" in rest


def tls(given: ConnectionParameters) -> ssl.SSLContext | None:
    """The TLS context of amqps, which always verifies the server; None for amqp. Blocks. Raises ConfigurationError."""
    if not given.is_tls:
        return None
    try:
        context = ssl.create_default_context(cafile=given.cafile)
    except (OSError, ValueError) as exc:
        text = f"BROKER_URL: cafile {given.cafile!r} can't be read: {exc}. Expected a PEM file of certificates."
        raise ConfigurationError([text]) from None
    if given.certfile is not None:
        try:
            context.load_cert_chain(given.certfile, given.keyfile)
        except (OSError, ValueError) as exc:
            text = (
                f"BROKER_URL: certfile {given.certfile!r} with keyfile {given.keyfile!r} can't be used: {exc}. "
                f"Expected a certificate and its private key, in PEM, the key without a password."
            )
            raise ConfigurationError([text]) from None
    return context
