"""What all batch actions have in common: rules for the entries, and an answer entry by entry."""

import re
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

from mulligan.servers.sqs.actions.context import Twist
from mulligan.servers.sqs.actions.limit import Limits
from mulligan.servers.sqs.wire.error import SqsError, query_code

__all__ = ["Entry", "answered", "checked"]

_ID = re.compile(r"[A-Za-z0-9_-]{1,80}")


class Entry(Protocol):
    """Any entry of a batch."""

    @property
    def id(self) -> str | None:
        """Chosen by the client; the answer comes under it."""


E = TypeVar("E", bound=Entry)


def checked(entries: Sequence[E] | None, kind: str, limits: Limits) -> Sequence[E]:
    """The entries, if there are 1 to 10 with distinct, well formed ids. kind: their name in the service model."""
    if not entries:
        raise SqsError("EmptyBatchRequest", f"There should be at least one {kind} in the request.")
    if len(entries) > limits.batch_max:
        raise SqsError(
            "TooManyEntriesInBatchRequest",
            f"Maximum number of entries per request are {limits.batch_max}. You have sent {len(entries)}.",
        )
    seen: set[str] = set()
    for entry in entries:
        if not entry.id or not _ID.fullmatch(entry.id):
            raise SqsError(
                "InvalidBatchEntryId",
                "A batch entry id can only contain alphanumeric characters, hyphens and underscores. It can be at most "
                "80 letters long.",
            )
        if entry.id in seen:
            raise SqsError("BatchEntryIdsNotDistinct", f"Id {entry.id} repeated.")
        seen.add(entry.id)
    return entries


def answered(entries: Sequence[E], twist: Twist, act: Callable[[E], dict[str, Any]]) -> dict[str, Any]:
    """`act` on every entry; those for which it raises SqsError are told as failed, the others keep what they did.

    A list without entries is left out, as the service does.
    """
    successful: list[dict[str, Any]] = []
    failed: list[dict[str, Any]] = []
    for entry in entries:
        if twist.failing_share and twist.random.random() < twist.failing_share:
            code = query_code(twist.failing_code)
            failed.append(_failure(entry.id, code, twist.failing_text, is_sender_fault=twist.is_sender_fault))
            continue
        try:
            successful.append({"Id": entry.id, **act(entry)})
        except SqsError as error:
            failed.append(_failure(entry.id, error.code, error.message, is_sender_fault=error.is_sender_fault))
    told = {"Successful": successful, "Failed": failed}
    return {name: found for name, found in told.items() if found}


def _failure(entry_id: str | None, code: str, text: str, *, is_sender_fault: bool) -> dict[str, Any]:
    return {"Id": entry_id, "SenderFault": is_sender_fault, "Code": code, "Message": text}
