"""What is worth knowing about settings that can be used: reported at the start and by `mulligan check`. Pure."""

from mulligan.core.event import LedgerLocal, SettingRenamed
from mulligan.core.secret import redacted_url
from mulligan.settings.describe import default_of
from mulligan.settings.load import Loaded
from mulligan.settings.model import Settings

__all__ = ["is_networked", "notices", "prefix_note"]

_NETWORKED = ("sqs:", "amqp:", "amqps:")


def is_networked(chosen: Settings) -> bool:
    """Whether other hosts can reach the queues."""
    return chosen.broker_url.startswith(_NETWORKED)


def notices(loaded: Loaded) -> list[SettingRenamed | LedgerLocal]:
    """The events of these settings, for a start to report."""
    chosen = loaded.settings
    is_local = is_networked(chosen) and chosen.ledger_url.startswith("sqlite:")
    local = [LedgerLocal(redacted_url(chosen.ledger_url), redacted_url(chosen.broker_url))] if is_local else []
    return [*loaded.renamed, *local]


def prefix_note(chosen: Settings) -> str | None:
    """A sentence about the default prefix where other applications may share the broker; None else."""
    if not is_networked(chosen) or chosen.common_prefix != default_of("COMMON_PREFIX"):
        return None
    return (
        f"COMMON_PREFIX is {chosen.common_prefix!r}, the default: another application on this broker "
        "that keeps the default takes these messages, and makes them dead letters. Set your own prefix before the "
        "first message; changing it later renames every queue."
    )
