"""The keys that a server accepts, and what each of them may do.

A key's permissions are a set of actions, an IAM policy, or both. Of policies the server knows Allow statements of
actions and resources, which is what `mulligan iam-policy` writes; it refuses a policy with Deny, conditions or
principals.
"""

import re
from dataclasses import field
from pathlib import Path
from typing import Literal

import msgspec

from mulligan.core.error import ConfigurationError
from mulligan.core.value import value

__all__ = ["Key", "Policy", "Statement", "read"]


class Statement(msgspec.Struct, rename="pascal", forbid_unknown_fields=True, frozen=True):
    """Which actions are allowed on which resources. * and ? are wildcards; actions ignore case."""

    effect: Literal["Allow"]
    action: str | list[str]
    resource: str | list[str]
    sid: str = ""


class Policy(msgspec.Struct, rename="pascal", forbid_unknown_fields=True, frozen=True):
    """An IAM policy document."""

    statement: list[Statement]
    version: str = ""

    def allows(self, action: str, resource: str) -> bool:
        """Whether a statement allows it. action: such as sqs:SendMessage. resource: an ARN."""
        return any(
            _matches(statement.action, action, re.IGNORECASE) and _matches(statement.resource, resource)
            for statement in self.statement
        )


def _matches(patterns: str | list[str], text: str, flags: re.RegexFlag = re.NOFLAG) -> bool:
    return any(
        re.fullmatch(re.escape(pattern).replace(r"\*", ".*").replace(r"\?", "."), text, flags)
        for pattern in ([patterns] if isinstance(patterns, str) else patterns)
    )


@value
class Key:
    """Credentials that the server accepts.

    token: the session token that must come with it, None for a permanent key.
    expires_at: epoch seconds after which the token is expired.
    actions: the allowed ones, None for all. policy: what is allowed on which queues, None for everything.
    """

    id: str
    secret: str = field(repr=False)
    token: str | None = None
    expires_at: float | None = None
    actions: frozenset[str] | None = None
    policy: Policy | None = None

    def may(self, action: str, arn: str) -> bool:
        """Whether the key may carry out the action on the queue of that ARN."""
        if self.actions is not None and action not in self.actions:
            return False
        return self.policy is None or self.policy.allows(f"sqs:{action}", arn)


class _KeyEntry(msgspec.Struct, forbid_unknown_fields=True):
    id: str
    secret: str
    token: str | None = None
    expires_at: float | None = None
    actions: list[str] | None = None
    policy: Policy | None = None


def read(path: Path) -> list[Key]:
    """The keys in a JSON file. Raises ConfigurationError, whose text never shows the file's content."""
    try:
        found = msgspec.json.decode(path.read_bytes(), type=list[_KeyEntry])
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
        raise ConfigurationError([f"{path}: the list of keys is empty, so no request could be signed: add a key."])
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
