"""The deliveries of one queue in the lease table, from which the supervisor extends leases and claims."""

from collections.abc import Iterator, Sequence

from mulligan.worker.in_flight import InFlight
from mulligan.worker.ipc.lease_table import Counter, LeaseTable

__all__ = ["Slots"]


class Slots:
    """index: the queue's, as the lease table names it. most: slots that it may take."""

    def __init__(self, table: LeaseTable, index: int, most: int) -> None:
        self._table = table
        self._index = index
        self._most = most
        self._flights: dict[int, InFlight] = {}
        self.set_standing = table.set_standing
        """Have a slot say what becomes of its message now, as `LeaseTable.set_standing`."""

    @property
    def free(self) -> int:
        """Slots that nobody has. A message keeps its slot until its settlement has ended."""
        return self._most - len(self._flights)

    def enter(self, flights: Sequence[InFlight], lease_until: float) -> None:
        """Give each a slot. lease_until: monotonic seconds at which their leases end."""
        put, index = self._table.put, self._index
        for flight in flights:
            slot = flight.slot = put(
                index, flight.delivery.receipt, flight.message.uid, flight.generation, flight.token, lease_until
            )
            self._flights[slot] = flight

    def enter_anew(self, flight: InFlight, lease_until: float) -> None:
        """Have the lease table say whose claim is extended, now that the message is known."""
        self.leave((flight,))
        self.enter((flight,), lease_until)

    def leave(self, flights: Sequence[InFlight]) -> None:
        """Free the slots."""
        remove = self._table.remove
        for flight in flights:
            slot, flight.slot = flight.slot, -1
            del self._flights[slot]
            remove(slot)

    def find(self, slot: int, sequence: int) -> InFlight | None:
        """Who has the slot, if it is still the one that had it when the table's sequence number was this one."""
        flight = self._flights.get(slot)
        return flight if flight is not None and self._table.sequence(slot) == sequence else None

    def count(self, counter: Counter, more: int) -> None:
        """Count what happened to messages, where the supervisor sees it."""
        self._table.counters[counter] += more

    def __iter__(self) -> Iterator[InFlight]:
        return iter(self._flights.values())
