"""What has to be there before any worker works: the ledger, the queues, and clocks that agree."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from mulligan.brokers.base import Broker, Declared, Owners
from mulligan.clock import SystemClock
from mulligan.core.error import BrokerUnavailable, ConfigurationError, LedgerError, LedgerUnavailable, MulliganError
from mulligan.core.event import BrokerWarning, ClockDiffers, Event, QueuesDeclared
from mulligan.core.secret import redacted_url
from mulligan.ledger.base import Ledger
from mulligan.settings.model import Settings
from mulligan.worker.opening import insist
from mulligan.worker.outage import of_start
from mulligan.worker.supervisor.run_state import RunState

__all__ = ["Preparation"]

T = TypeVar("T")


class Preparation:
    """The steps of a start, in the order of the methods. One that fails begins the end of the run, with its error."""

    def __init__(
        self,
        settings: Settings,
        broker: Broker,
        ledger: Ledger,
        run: RunState,
        clock: SystemClock,
        emit: Callable[[Event], None],
    ) -> None:
        self._settings = settings
        self._broker = broker
        self._ledger = ledger
        self._run = run
        self._clock = clock
        self._emit = emit

    async def open_ledger(self) -> None:
        """Wait for the ledger for as long as a start may wait."""
        await self._insist(self._ledger.open, LedgerUnavailable, "ledger")

    async def declare_queues(self) -> None:
        """Make the queues, or look at them, for as long as a start may wait."""
        queues = self._settings.queues
        found = await self._insist(self._looked_at, BrokerUnavailable, "broker")
        if found is None:
            return
        declared, owned = found
        if problems := declared.problems or owned.problems:
            self._run.stop("the queues can't be used", ConfigurationError(problems))
        else:
            self._emit(QueuesDeclared(queues.all, declared.created))
            for note in (*declared.notes, *owned.notes):
                self._emit(BrokerWarning("queues", note))

    async def compare_clocks(self) -> None:
        """Report a clock that differs much from those that this host works with."""
        try:
            of_ledger = await self._run.unless_stopping(self._ledger.lead())
        except LedgerError:  # the part that needs the ledger reports what is wrong with it
            of_ledger = None
        settings = self._settings
        for url, lead in ((settings.broker_url, self._broker.lead), (settings.ledger_url, of_ledger)):
            if lead is not None and lead.matters:
                self._emit(ClockDiffers(redacted_url(url), lead.ahead_s))

    async def _looked_at(self) -> tuple[Declared, Owners]:
        """Make the queues, and see whose they are."""
        queues = self._settings.queues
        declared = await self._broker.declare(queues, create=self._settings.create_queues)
        if declared.problems:
            return declared, Owners()
        return declared, (await self._broker.owners(queues)).judged(is_meant=self._settings.adopt_rejects)

    async def _insist(self, call: Callable[[], Awaitable[T]], passing: type[MulliganError], what: str) -> T | None:
        """What `call` gives, waited for as long as a start may wait. None when the end has begun, by its error too."""
        wait_s = self._settings.start_wait_s
        outage = of_start(self._clock, self._emit, what, wait_s)
        try:
            return await self._run.unless_stopping(insist(call, passing, outage, self._clock, within_s=wait_s))
        except MulliganError as exc:
            self._run.stop(f"the {what} can't be used", exc)
            return None
