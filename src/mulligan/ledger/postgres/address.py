"""From a `postgresql://` URL to the client's parameters: where the server is, and how far TLS has to go.

Hosts, port, user, database, TLS parameters and server settings of the URL mean what they mean to libpq, with one
difference: a host beyond this machine is spoken to with verified TLS unless the URL says otherwise. libpq's own default
falls back to plain text without a word.
"""

import ipaddress
import re
from collections.abc import Iterator, Mapping
from dataclasses import field
from pathlib import Path
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlencode, urlunsplit

from mulligan.core.error import ConfigurationError
from mulligan.core.secret import redacted_url
from mulligan.core.url import ESCAPES, UrlFault, hosts_of, split_url
from mulligan.core.value import value

__all__ = ["Address", "address_of"]

_SOCKET_FOLDERS = ("/run/postgresql", "/var/run/postgresql", "/tmp")  # noqa: S108 - where the server makes its socket
_FILES = ("sslrootcert", "sslcert", "sslkey", "sslcrl", "passfile")
_SERVER = re.compile(r"(?P<host>/[^:]*|\[[^\[\]]+\]|[^:/\[\]]+)(?::(?P<port>[0-9]*))?")
_CHOICES = (
    ("target_session_attrs", ("read-write", "primary", "any"), ": a ledger is written to"),
    ("sslmode", ("disable", "allow", "prefer", "require", "verify-ca", "verify-full"), ""),
)
"""What a parameter may be, and why not more."""


@value
class Address:
    """url, hosts, ssl: as `asyncpg.connect` takes them; None leaves it to the URL. shown: for a person.

    servers: host and port (None: the usual one) of each, where the URL names several; () leaves that to the URL, too.
    """

    url: str = field(repr=False)
    shown: str
    hosts: tuple[str, ...] | None
    ssl: bool | None
    servers: tuple[tuple[str, int | None], ...] = ()


def address_of(url: str, base_dir: Path | None = None) -> Address:
    """The address that the URL names; relative files in it are below base_dir. Raises ConfigurationError."""
    url = url.strip()
    shown = redacted_url(url)
    try:
        parts = split_url(url, takes_several=True)
    except UrlFault as exc:
        raise _problem(shown, f"it can't be read: {exc}") from None
    if parts.fragment:
        raise _problem(shown, f"a # ends it early; {ESCAPES}")
    try:
        given = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
    except ValueError:  # its words quote a piece of the query
        raise _problem(
            shown, "it can't be read: after the ? it needs name=value pairs with & between them; an & in a value is %26"
        ) from None
    folder = base_dir or Path()
    files = {name: str(folder / given[name]) for name in _FILES if given.get(name, "system") != "system"}
    if files:  # they are read at each connection, and a task may have changed the folder by then
        given |= files
        parts = parts._replace(query=urlencode(given))
        url = urlunsplit(parts)
    if parts.netloc:
        parts = parts._replace(netloc=_quoted(parts.netloc))
        url = urlunsplit(parts)
    hosts = [*hosts_of(parts), *_hosts(given)]
    user_info, at, several = parts.netloc.rpartition("@")
    if "," in several and "[" in several:  # newer versions of the parser that the client uses refuse it there
        given["host"] = unquote(several)
        parts = parts._replace(netloc=user_info + at, query=urlencode(given))
        url = urlunsplit(parts)
    if not parts.path.strip("/") and not given.keys() & {"dbname", "database", "service"}:
        raise _problem(shown, "it names no database")
    servers = _servers(parts, given)
    if servers and "target_session_attrs" not in given:  # a standby takes connections, and no records
        given["target_session_attrs"] = "read-write"
        parts = parts._replace(query=urlencode(given))
        url = urlunsplit(parts)
    for what in _not_a_choice(given):
        raise _problem(shown, what)
    mode = given.get("sslmode")
    takes_system_roots = _takes_system_roots(hosts, given)
    if takes_system_roots:
        query = urlencode({name: item for name, item in given.items() if name not in {"sslmode", "sslrootcert"}})
        url = urlunsplit(parts._replace(query=query))
    elif mode is None and any(not _is_here(host) for host in hosts):
        query = urlencode({**given, "sslmode": "verify-full"})
        url = urlunsplit(parts._replace(query=query))
    return Address(
        url,
        shown,
        None if hosts or "service" in given else _SOCKET_FOLDERS,
        True if takes_system_roots else None,
        servers,
    )


def _not_a_choice(given: Mapping[str, str]) -> Iterator[str]:
    for name, choices, why in _CHOICES:
        if given.get(name, choices[0]) not in choices:
            yield f"{name} is {given[name]!r}, expected one of {', '.join(choices)}{why}"


def _takes_system_roots(hosts: list[str], given: Mapping[str, str]) -> bool:
    """TLS is to be verified, and the URL names neither an authority of its own nor a certificate for us."""
    if given.get("sslrootcert", "system") != "system" or "sslcert" in given:
        return False
    mode = given.get("sslmode")
    return mode == "verify-full" or (mode is None and any(not _is_here(host) for host in hosts))


def _quoted(netloc: str) -> str:
    """With user and password written as every reader of URLs understands them: the client ends them at the first @."""
    user_info, at, hosts = netloc.rpartition("@")
    user, colon, password = user_info.partition(":")
    user, password = (quote(unquote(text), safe="", errors="surrogateescape") for text in (user, password))
    return f"{user}{colon}{password}{at}{hosts}"


def _servers(parts: SplitResult, given: Mapping[str, str]) -> tuple[tuple[str, int | None], ...]:
    """Where there are several and each is understood; as the client reads them, the authority goes first."""
    specs = parts.netloc.rpartition("@")[2] or given.get("host", "")
    names = [_SERVER.fullmatch(name) for name in specs.split(",")]
    ports_given = [] if parts.netloc.rpartition("@")[2] else given.get("port", "").split(",")
    ports: list[str] = ports_given * len(names) if len(ports_given) == 1 else ports_given or [""] * len(names)
    if len(names) == 1 or len(ports) != len(names) or (not ports_given and "port" in given):
        return ()
    found: list[tuple[str, int | None]] = []
    for name, port in zip(names, ports, strict=True):
        if name is None or not (name["port"] or port or "0").isdecimal():
            return ()
        host = unquote(name["host"]).removeprefix("[").removesuffix("]")
        found.append((host, int(name["port"] or port or 0) or None))
    return tuple(found)


def _hosts(given: Mapping[str, str]) -> Iterator[str]:
    """Those of the query."""
    for name in given.get("host", "").split(","):
        if name.startswith("["):
            yield name[1:].partition("]")[0]
            continue
        if not name.startswith("/"):
            name = name.partition(":")[0]  # noqa: PLW2901 - the port is not part of it
        if name:
            yield name


def _is_here(host: str) -> bool:
    if host.startswith("/") or host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _problem(shown: str, what: str) -> ConfigurationError:
    return ConfigurationError(
        [f"LEDGER_URL: {shown!r}: {what}. Expected postgresql://USER@HOST:PORT/DATABASE (docs/ledger.md). Correct it."]
    )
