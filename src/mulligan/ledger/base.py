"""The seam between mulligan and the durable record of progress.

The ledger survives the moment between doing and settling (a crash, a lost acknowledgement) and skips duplicates: all
copies of a message meet here under one key, uid + generation. A worker that handles a message holds a claim on its key,
for a time, under a token; a save with any other token is refused. Batch calls answer one result per entry, in order; a
call that fails as a whole raises `LedgerUnavailable` (may be repeated) or `LedgerError`.

Life of a row: claim -> save ... save(is_final) | give_back | end. A claim whose time is over is taken by the next one.
"""

from collections.abc import Sequence
from typing import Protocol

from mulligan.core.clock import Lead
from mulligan.core.message import Uid
from mulligan.core.progress import Progress
from mulligan.core.value import value

__all__ = ["GRANTED", "OUTDATED", "Answer", "Claim", "Granted", "Held", "Key", "Known", "Ledger", "Outdated", "Record"]

Key = tuple[Uid, int]
"""uid and generation."""


@value
class Claim:
    """A wish to work on a message.

    hop: of the copy that was received.
    token: new for each claim, so that a takeover inside one process is fenced too.
    until: epoch seconds (UTC) at which the claim ends unless it is extended.
    """

    uid: Uid
    generation: int
    hop: int
    token: str
    until: float


@value
class Granted:
    """The claim is ours. progress: what the ledger knows, with its `deaths`; None when it knows nothing of the key."""

    progress: Progress | None


@value
class Held:
    """Another claim is live, until that time (epoch seconds, UTC)."""

    until: float


@value
class Outdated:
    """A copy with a higher hop exists, confirmed: this one can be removed unrun."""


GRANTED = Granted(None)
"""Of a key that nothing is known of."""
OUTDATED = Outdated()
Answer = Granted | Held | Outdated


@value
class Record:
    """Progress to keep.

    hop: None, or the hop of a copy that the broker has confirmed; from now on copies with a lower hop are outdated.
    is_final: the claim ends with this record (the delivery is being settled).
    """

    uid: Uid
    generation: int
    token: str
    progress: Progress
    hop: int | None = None
    is_final: bool = False


@value
class Known:
    """What is on record of a message. hop: of its newest copy."""

    progress: Progress
    hop: int


class Ledger(Protocol):
    """Progress by uid and generation, with claims. All methods may be called side by side from one event loop."""

    @property
    def is_durable(self) -> bool:
        """False for the one that keeps nothing (`LEDGER_URL=none`)."""

    async def open(self) -> None:
        """Open or create the record. Must be the first call.

        Raises ConfigurationError or StorageBroken when it can't be used.
        """

    async def lead(self) -> Lead | None:
        """By how much this machine's clock is ahead of that of the ledger's server; None where it goes by this one's.

        Raises LedgerUnavailable.
        """

    async def claim(self, claims: Sequence[Claim], now: float) -> list[Answer]:
        """Ask for messages. Two claims of one key in one batch: the first is granted, the second held.

        It outlasts every process; on a ledger of one host it need not outlast the machine, with which all holders die.
        A claim over one whose time has passed changes `progress.deaths`: 0 to -1 (nobody knows how it ended: as a rule
        its host did, with all that was in flight there), and -n to n; what is above 0 stays. now: epoch seconds (UTC).
        """

    async def look(self, keys: Sequence[Key]) -> list[Known | None]:
        """What is on record, whichever token holds the claim; None where no progress is. Changes and claims nothing.

        Raises LedgerError when a row asked for is damaged.
        """

    async def save(self, records: Sequence[Record]) -> list[bool]:
        """Keep progress, durably. False: the token is no longer the holder's, and nothing was kept."""

    async def extend(self, tokens: Sequence[tuple[Uid, int, str]], until: float) -> list[bool]:
        """Let claims (uid, generation, token) end at `until`. False: no longer the holder's."""

    async def give_back(self, tokens: Sequence[tuple[Uid, int, str]]) -> None:
        """End claims (uid, generation, token) without a death: `deaths` below -1 is n - 1 for -n, else as it was.

        Tokens that hold nothing are passed over.
        """

    async def end(self, tokens: Sequence[tuple[Uid, int, str]]) -> None:
        """End claims of a dead worker, each counted as a death (`deaths` becomes at least 1, and n for -n)."""

    async def forget(self, before: float) -> int:
        """Remove rows of messages sent before that time (epoch seconds) that were not touched since; how many."""

    async def close(self) -> None:
        """Let go of connections and files. Twice is once."""
