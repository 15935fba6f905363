"""What an error of PostgreSQL or of its client means to a caller: try again, never again, or correct the settings."""

import os
import socket
import ssl
from collections.abc import Sequence

import asyncpg

from mulligan.core.error import ConfigurationError, LedgerError, LedgerUnavailable, MulliganError, StorageBroken

__all__ = [
    "CLIENT_ERRORS",
    "breaks_connection",
    "connecting_fault",
    "fault_of_all",
    "is_nameless",
    "nameless",
    "opening_fault",
    "translate",
]

# ValueError: what the client says of parameters and values that it can't use
CLIENT_ERRORS = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, ValueError)

# sqlstates, appendix A of PostgreSQL's manual; two letters stand for their whole class
_PASSING = {
    "08": "The connection broke. It is reopened; work then resumes.",
    "25006": "The server is read-only: it is a standby, or default_transaction_read_only is on. Work resumes once it"
    " can write; to follow a change of roles name all hosts, or the name that moves with the primary.",
    "40": "It conflicted with other transactions. Retrying.",
    "53": "The server is short of disk, memory or connections. Work resumes once it has more.",
    "55P03": "A lock was not available. Retrying; look for a session that keeps a transaction open.",
    "57014": "The server took too long and the statement was ended. Retrying; look for a session that keeps a"
    " transaction open (pg_stat_activity), or at the server's load.",
    "57P": "The server is stopping or starting. Work resumes once it is back.",
    "58": "The server's system failed a call. Retrying; see the server's log.",
}
_CORRUPT = {"XX001", "XX002"}
_BREAKING = ("08", "25006", "57P")  # read-only: the name, or another host, may have the one that can write
_MENDABLE = {
    "28": "Correct the user and password: in LEDGER_URL, in ~/.pgpass, or in the server's pg_hba.conf.",
    "3D000": "Create the database (createdb), or correct its name in LEDGER_URL.",
    "42501": "The user needs CREATE on the schema at the first start, and SELECT, INSERT, UPDATE, DELETE on its tables"
    " later. Grant them, or name a schema of the user's own: ?search_path=NAME.",
    "3F000": "There is no schema to create tables in. Create one, or name one in LEDGER_URL: ?search_path=NAME.",
    "22023": "Correct the parameters of LEDGER_URL: those that are not connection options are settings of the server.",
    "42704": "Correct the parameters of LEDGER_URL: those that are not connection options are settings of the server.",
}


def breaks_connection(exc: Exception) -> bool:
    """Whether nothing more can be asked over the connection that raised this."""
    if isinstance(exc, asyncpg.PostgresError):
        return str(exc.sqlstate).startswith(_BREAKING)
    return not isinstance(exc, ValueError)  # timed out, reset; but a value that is refused is never sent


def is_nameless(exc: Exception) -> bool:
    """Whether the client looked for the user of this process, and the system knows none. What `getpass.getuser` raises:
    KeyError, and since Python 3.13 OSError because of it.
    """
    return isinstance(exc, KeyError) or isinstance(exc.__cause__, KeyError | ImportError)


def nameless(shown: str) -> ConfigurationError:
    """The error for a URL that leaves the user's name to a system that doesn't know it. shown: the URL for a person."""
    return _problem(
        f"LEDGER_URL: {shown!r} names no user, and this process runs as uid {os.getuid()}, which has no name on this"
        " system. Write postgresql://USER@HOST/DATABASE."
    )


def translate(exc: Exception, shown: str, *, then: str = "Retrying.") -> MulliganError:
    """The error to raise for one of the client or the server. shown: the URL for a person. then: of what may pass."""
    where, seen = f"ledger {shown}", _seen(exc)
    if isinstance(exc, ValueError):
        return LedgerError(f"{where}: a value was refused ({seen}). This is a defect of mulligan.")
    if not isinstance(exc, asyncpg.PostgresError):
        return LedgerUnavailable(f"{where}: {seen}. {then}")
    code = str(exc.sqlstate)
    if code in _CORRUPT:
        return StorageBroken(
            f"{where}: the server says that the database is damaged ({seen}). See the server's log, restore what is"
            " damaged, then start again."
        )
    for length in (5, 3, 2):
        if advice := _PASSING.get(code[:length]):
            return LedgerUnavailable(f"{where}: {seen}. {advice}")
    advice = _advice(code) or "Its tables are not as this version creates them. See docs/ledger.md, then start again."
    return LedgerError(f"{where}: the server refused a statement ({seen}). {advice}")


def connecting_fault(exc: Exception, shown: str) -> MulliganError:
    """The error to raise for one that came while the connection of an open ledger was being made again.

    Everything passes here, a refused password too: it was right before, so its operator is expected to correct it.
    """
    meant = opening_fault(exc, shown)
    if isinstance(meant, LedgerUnavailable):
        return translate(exc, shown)
    return meant if isinstance(meant, StorageBroken) else LedgerUnavailable(str(meant))


def opening_fault(exc: Exception, shown: str) -> MulliganError:
    """The error to raise for one that came while the ledger was being opened."""
    where, seen = f"LEDGER_URL: {shown!r}", _seen(exc)
    if isinstance(exc, asyncpg.PostgresError) and (advice := _advice(str(exc.sqlstate))):
        return _problem(f"{where}: {seen}. {advice}")
    if isinstance(exc, ssl.SSLCertVerificationError):
        return _problem(
            f"{where}: the server's certificate can't be verified ({seen}). Name the authority that signed it:"
            " ?sslrootcert=FILE, and the host as the certificate has it."
        )
    if "rejected SSL upgrade" in str(exc):
        return _problem(
            f"{where}: the server offers no TLS, and it is not on this machine. Enable TLS there; only if you control"
            " the whole network between, add ?sslmode=disable."
        )
    if isinstance(exc, socket.gaierror) and exc.errno == socket.EAI_NONAME:
        return _problem(f"{where}: no such host ({seen}). Correct its name.")
    if isinstance(exc, PermissionError) and exc.filename:
        return _problem(
            f"{where}: {exc.filename} can't be read ({exc.strerror}). Let this user read it, or set HOME to a folder of"
            " this user's."
        )
    if isinstance(exc, ValueError):
        return _problem(f"{where}: {seen}. Correct it (docs/ledger.md).")
    return translate(exc, shown, then="Check that the server runs and is reachable, or correct LEDGER_URL.")


def _advice(code: str) -> str | None:
    return _MENDABLE.get(code) or _MENDABLE.get(code[:2])


def fault_of_all(faults: Sequence[tuple[str, Exception]], shown: str) -> Exception:
    """The one error for those of several servers, by name: that each may pass, if any does; else the first."""
    if len(faults) == 1 or not any(isinstance(opening_fault(exc, shown), LedgerUnavailable) for _, exc in faults):
        return faults[0][1]
    seen = "; ".join(f"{name}: {_seen(exc)}" for name, exc in faults)
    return OSError(f"none of the {len(faults)} servers can be used ({seen})")


def _seen(exc: Exception) -> str:
    if isinstance(exc, TimeoutError) and not str(exc):
        return "no answer in time"
    text = " ".join(str(exc).split()) or type(exc).__name__
    if isinstance(exc, asyncpg.PostgresError):
        return f"{exc.sqlstate}: {text.rstrip('.')}"
    return text.rstrip(".")


def _problem(text: str) -> ConfigurationError:
    return ConfigurationError([text])
