"""The lease table: what a worker holds, in memory that it shares with the supervisor.

The worker writes a slot before it claims a message, marks it once the claim is granted, and frees it when the message
is settled; the supervisor reads. So
the supervisor can extend every lease however busy the worker's interpreter is, and knows what a worker held when it
died, without a message per lease between them. Each slot has one writer and carries a sequence number that is odd
while it is written and that differs at each use, so a reader never takes half of one and half of another. One field is
the supervisor's to write and the worker's to read: until when the claim was extended. Behind the slots are the stacks
of a worker that was asked for them.
"""

import mmap
import os
import struct
import tempfile
from collections.abc import Iterable, Iterator
from enum import IntEnum

from mulligan.core.message import Uid
from mulligan.core.value import value

__all__ = ["COUNTERS", "Counter", "HeldMessage", "LeaseTable", "SlotState"]


class SlotState(IntEnum):
    """What the worker does with a message that it holds; decides what the worker's death means for it."""

    FREE = 0
    HELD = 1  # not started, or only to be settled: a death is not its doing
    RUNNING = 2  # its tasks run in the worker: it is a suspect of a death
    ISOLATED = 3  # its tasks run, or are to run, in a process of their own: a suspect of its worker's SIGKILL, too


class Counter(IntEnum):
    """What a worker counts since its start."""

    RECEIVED = 0
    DONE = 1
    REJECTED = 2
    RELEASED = 3
    BURIED = 4
    SUCCEEDED = 5
    FAILED = 6
    FOLDED = 7


COUNTERS = len(Counter)


@value
class HeldMessage:
    """One message that a worker holds.

    slot, sequence: name this use of the slot.
    queue: 0 requests, 1 rejects.
    lease_until: monotonic seconds; the end that the receive gave.
    deadline: monotonic seconds by which its running attempts have to end; 0.0 when none runs.
    is_claimed: the worker knows that its claim was granted. Before, there may be one all the same: the ledger's answer
    may be on its way.
    """

    slot: int
    sequence: int
    standing: SlotState
    queue: int
    generation: int
    lease_until: float
    deadline: float
    is_claimed: bool
    uid: Uid
    token: str
    receipt: str

    @property
    def key(self) -> tuple[Uid, int, str]:
        """uid, generation and token, as the ledger's calls take them."""
        return self.uid, self.generation, self.token


# header: slots in use (4 bytes, 4 of padding), the loop's last tick (8), the counters (8 each)
_HEADER_BYTES = 256
_SLOT_BYTES = 2048
# sequence, standing, queue, is claimed, padding, generation, padding, lease_until, deadline, lengths of uid, token and
# receipt
_FIXED = struct.Struct("=IBBBxI4xddHHH")
_STANDING_AT = 4
_CLAIMED_AT = 6
_DEADLINE_AT = 24
_KEPT = struct.Struct("=Id")  # sequence, until; the supervisor's
_KEPT_AT = _SLOT_BYTES - 16
_TEXT_BYTES = _KEPT_AT - _FIXED.size
_TICK_AT = 8
_STACKS_BYTES = 1 << 20
_COUNTERS_AT = 16
# plain numbers: an enum's member is looked up and converted each time
_FREE, _HELD = int(SlotState.FREE), int(SlotState.HELD)


class LeaseTable:
    """A fixed number of slots in shared memory.

    `create` makes one (supervisor), `attach` opens it from an inherited descriptor (worker).
    """

    def __init__(self, descriptor: int, slots: int) -> None:
        self.descriptor = descriptor
        self.slots = slots
        self._memory = mmap.mmap(descriptor, _HEADER_BYTES + slots * _SLOT_BYTES)
        self._free = list(range(slots - 1, -1, -1))
        self._sequences = [0] * slots
        self._used = 0
        view = memoryview(self._memory)
        self._words = view.cast("I")
        self._times = view.cast("d")
        self.counters = view[_COUNTERS_AT : _COUNTERS_AT + 8 * COUNTERS].cast("Q")
        """The counters, by `Counter`; written by the worker."""

    @classmethod
    def create(cls, slots: int) -> "LeaseTable":
        """A new, empty table. Its descriptor is to be inherited by the worker."""
        if hasattr(os, "memfd_create"):
            descriptor = os.memfd_create("mulligan-leases")
        else:  # macOS: a file without a name does the same
            descriptor, path = tempfile.mkstemp(prefix="mulligan-leases-")
            os.unlink(path)  # noqa: PTH108 - the counterpart of mkstemp
        os.ftruncate(descriptor, _HEADER_BYTES + slots * _SLOT_BYTES)
        return cls(descriptor, slots)

    @property
    def free(self) -> int:
        """Slots that can be put to use now."""
        return len(self._free)

    def put(self, queue: int, receipt: str, uid: str, generation: int, token: str, lease_until: float) -> int:
        """Take a slot for a message; the slot's number. Raises IndexError when none is free, ValueError for a receipt
        that does not fit (SQS receipts have up to 1,024 characters).
        """
        text = f"{uid}{token}{receipt}".encode()
        length, uid_length, token_length = len(text), len(uid), len(token)
        if length > _TEXT_BYTES:
            raise ValueError(f"a receipt of {len(receipt)} characters does not fit the lease table")
        slot = self._free.pop()
        at = _HEADER_BYTES + slot * _SLOT_BYTES
        sequence = self._sequences[slot] + 2 & 0xFFFFFFFF
        self._sequences[slot] = sequence
        memory = self._memory
        # odd from the first byte on that differs; uid and token are ASCII, a receipt is what the broker gave
        _FIXED.pack_into(
            memory, at, sequence - 1 & 0xFFFFFFFF, _HELD, queue, 0, generation, lease_until, 0.0,
            uid_length, token_length, length - uid_length - token_length,
        )  # fmt: skip
        start = at + _FIXED.size
        memory[start : start + length] = text
        self._words[at >> 2] = sequence
        self._used += 1
        self._words[0] = self._used
        return slot

    def set_claimed(self, slots: Iterable[int]) -> None:
        """Say that the claims of these slots' messages were granted: from now on they are to be extended."""
        for slot in slots:
            self._memory[_HEADER_BYTES + slot * _SLOT_BYTES + _CLAIMED_AT] = 1

    def set_standing(self, slot: int, standing: SlotState, deadline: float = 0.0) -> None:
        """Say what is being done with the message of a slot, and until when it has to be over (monotonic seconds)."""
        at = _HEADER_BYTES + slot * _SLOT_BYTES
        self._times[at + _DEADLINE_AT >> 3] = deadline
        self._memory[at + _STANDING_AT] = standing

    def remove(self, slot: int) -> None:
        """Free a slot."""
        self._memory[_HEADER_BYTES + slot * _SLOT_BYTES + _STANDING_AT] = _FREE
        self._free.append(slot)
        self._used -= 1
        self._words[0] = self._used

    def tick(self, now: float) -> None:
        """Say that the worker's event loop turns (monotonic seconds)."""
        self._times[_TICK_AT >> 3] = now

    @property
    def used(self) -> int:
        """Slots in use, as the worker last said."""
        return self._words[0]

    @property
    def ticked_at(self) -> float:
        """When the worker's event loop last turned (monotonic seconds); 0.0 before the first time."""
        return self._times[_TICK_AT >> 3]

    def count(self, counter: Counter) -> int:
        """What the worker counted."""
        return self.counters[counter]

    def holdings(self) -> Iterator[HeldMessage]:
        """Every message that the worker holds. For the supervisor; slots that are being written are passed over."""
        if not self.used:
            return
        for slot in range(self.slots):
            if self._memory[_HEADER_BYTES + slot * _SLOT_BYTES + _STANDING_AT] != _FREE:
                holding = self._read(slot)
                if holding is not None:
                    yield holding

    def is_held(self, holding: HeldMessage) -> bool:
        """Whether the slot is still in the use that `holding` was read from."""
        at = _HEADER_BYTES + holding.slot * _SLOT_BYTES
        return self._words[at >> 2] == holding.sequence and self._memory[at + _STANDING_AT] != _FREE

    def keep(self, holding: HeldMessage, until: float) -> None:
        """Say that the claim of this use of the slot was extended (monotonic seconds). For the supervisor.

        Nothing is said when the table was closed: its worker ended while the ledger was asked.
        """
        if self._memory.closed:
            return
        _KEPT.pack_into(
            self._memory, _HEADER_BYTES + holding.slot * _SLOT_BYTES + _KEPT_AT, holding.sequence & 0xFFFFFFFF, until
        )

    def kept_until(self, slot: int) -> float:
        """Until when the claim of the slot's present use was extended; 0.0 while it was not. For the worker."""
        sequence, until = _KEPT.unpack_from(self._memory, _HEADER_BYTES + slot * _SLOT_BYTES + _KEPT_AT)
        return float(until) if sequence == self.sequence(slot) else 0.0

    def sequence(self, slot: int) -> int:
        """The sequence number of a slot's present use. For the worker, to tell one use from the next."""
        return self._sequences[slot]

    def stacks(self) -> str:
        """What the worker was at when it was asked (see `stack`); "" when it was not. For the supervisor."""
        end = _HEADER_BYTES + self.slots * _SLOT_BYTES
        return os.pread(self.descriptor, _STACKS_BYTES, end).decode("utf-8", "replace")

    def close(self) -> None:
        """Let go of the memory and the descriptor. Twice is once."""
        if self._memory.closed:
            return
        for view in (self.counters, self._words, self._times):
            view.release()
        self._memory.close()
        os.close(self.descriptor)

    def _read(self, slot: int) -> HeldMessage | None:
        at = _HEADER_BYTES + slot * _SLOT_BYTES
        raw = self._memory[at : at + _SLOT_BYTES]
        sequence, standing, queue, is_claimed, generation, lease_until, deadline, *lengths = _FIXED.unpack_from(raw)
        is_stable = sequence == self._words[at >> 2] and sequence % 2 == 0
        if not is_stable or standing == SlotState.FREE:
            return None
        first, second, third = (_FIXED.size + sum(lengths[:count]) for count in (1, 2, 3))
        return HeldMessage(
            slot, sequence, SlotState(standing), queue, generation, lease_until, deadline, bool(is_claimed),
            uid=Uid(raw[_FIXED.size : first].decode()),
            token=raw[first:second].decode(),
            receipt=raw[second:third].decode(),
        )  # fmt: skip
