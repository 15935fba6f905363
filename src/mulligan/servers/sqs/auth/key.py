"""Reading the keys that a server accepts from a file."""

from pathlib import Path

import msgspec

from mulligan.core.error import ConfigurationError
from mulligan.servers.sqs.auth.policy import Policy
from mulligan.servers.sqs.auth.signature import Key

__all__ = ["read"]


class _Key(msgspec.Struct, forbid_unknown_fields=True):
    id: str
    secret: str
    token: str | None = None
    expires_at: float | None = None
    actions: list[str] | None = None
    policy: Policy | None = None


def read(path: Path) -> list[Key]:
    """The keys of a JSON file. Raises ConfigurationError; the text never shows what is in the file."""
    try:
        found = msgspec.json.decode(path.read_bytes(), type=list[_Key])
    except OSError as exc:
        raise ConfigurationError([f"{path}: can't be read ({exc.strerror}): give the path of a JSON file."]) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise ConfigurationError(
            [
                f"{path}: {exc}; expected a list like "
                '[{"id": "worker", "secret": "...", "actions": ["ReceiveMessage"]}].'
            ]
        ) from None
    if not found:
        raise ConfigurationError([f"{path}: no key in it, so nobody could sign a request: add one."])
    return [
        Key(
            item.id,
            item.secret,
            item.token,
            item.expires_at,
            None if item.actions is None else frozenset(name.removeprefix("sqs:") for name in item.actions),
            item.policy,
        )
        for item in found
    ]
