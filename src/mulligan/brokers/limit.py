"""What doesn't fit a broker's `Features`, reported per entry and in the same words by every broker."""

from mulligan.brokers.base import Features
from mulligan.core.delivery import EntryFault, Fault, Outgoing
from mulligan.core.packing import size_bytes

__all__ = ["batch_fault", "delay_fault", "lease_fault", "size_fault"]


def size_fault(entry: Outgoing, features: Features) -> EntryFault | None:
    """Why the entry is too big, or None."""
    size = size_bytes(entry.body, entry.attributes, features.type_bytes)
    if size <= features.max_message_bytes:
        return None
    return EntryFault(
        Fault.REFUSED,
        f"the message has {size} bytes (body {len(entry.body)}, attributes {size - len(entry.body)}), at most"
        f" {features.max_message_bytes} can be sent. Store the content elsewhere and send a reference to it.",
    )


def delay_fault(delay_s: float, features: Features) -> EntryFault | None:
    """Why a send or a release can't be delayed so long, or None."""
    # written so that NaN is refused too
    if 0.0 <= delay_s <= features.max_delay_s:
        return None
    return EntryFault(Fault.REFUSED, f"a delay of {delay_s} s, expected 0 to {features.max_delay_s:.0f} s")


def lease_fault(lease_s: float, features: Features) -> EntryFault | None:
    """Why a lease can't last so long, or None."""
    if 0.0 < lease_s <= features.max_lease_s:
        return None
    return EntryFault(
        Fault.REFUSED, f"a lease of {lease_s} s, expected more than 0 and at most {features.max_lease_s:.0f} s"
    )


def batch_fault(count: int, features: Features) -> EntryFault | None:
    """Why a batch can't have that many entries, or None."""
    if count <= features.max_batch:
        return None
    return EntryFault(Fault.REFUSED, f"a batch of {count} entries, expected at most {features.max_batch}")
