"""The tree of errors. A class exists only where a caller acts differently on it.

Every message says where, what was seen, what was expected and what to do.
"""

from collections.abc import Sequence

__all__ = [
    "BrokerError",
    "BrokerRefused",
    "BrokerUnavailable",
    "ConfigurationError",
    "InstallationChangedError",
    "LedgerError",
    "LedgerUnavailable",
    "LeftUndoneError",
    "Meddled",
    "MulliganError",
    "PackingError",
    "RetryStateError",
    "RetryStateTooNewError",
    "StorageBroken",
]


class MulliganError(Exception):
    """The root: catch this to catch everything that mulligan raises on purpose."""


class ConfigurationError(MulliganError):
    """Something that the user wrote (a setting, tasks.xml, a task file) can't be used. Exit code 2.

    `problems` holds every problem that was found, each a full sentence with its place.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


class InstallationChangedError(MulliganError):
    """Another build was installed over the running one: all workers have drained. Exit code 75."""


class BrokerError(MulliganError):
    """A call to a broker failed as a whole. Failures of single entries are `EntryFault` values, never raised."""


class BrokerUnavailable(BrokerError):
    """The broker can't be reached, is overloaded or throttles: the same call may succeed later. Exit code 4."""


class BrokerRefused(BrokerError):
    """The broker refused permanently (rights, a missing queue, an invalid request): a retry won't help."""


class LedgerError(MulliganError):
    """A call to the ledger failed permanently."""


class LedgerUnavailable(LedgerError):
    """The ledger can't be reached or written now (locked, disk full, server away): the same call may succeed later."""


class LeftUndoneError(MulliganError):
    """A run with `--drain` ended and left messages that this version can't read. Exit code 3."""


class PackingError(MulliganError):
    """A copy can't be packed so that it fits, or its body is not available: the message stays where it is."""


class StorageBroken(MulliganError):
    """A database is corrupt, or the disk failed an fsync. Never retried: the process stops, exit code 1."""


class RetryStateError(MulliganError):
    """The `mulligan` attribute of a message is not one that this version can read."""


class RetryStateTooNewError(RetryStateError):
    """A newer version of this program wrote it. version: of its state. uid: the message's, None where it has none."""

    def __init__(self, text: str, version: int, uid: str | None) -> None:
        super().__init__(text)
        self.version = version
        self.uid = uid


class Meddled(MulliganError):
    """A task cancelled a part of its worker, for example by cancelling `asyncio.all_tasks()`."""

    def __init__(self, part: str) -> None:
        super().__init__(f"{part} was cancelled by a task, and can't continue. A task may cancel only what it started.")
