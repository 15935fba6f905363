"""What a key may do, as an IAM policy says it: Allow statements of actions and resources.

That is what `mulligan iam-policy` writes. Deny, conditions and principals are refused rather than passed over.
"""

import re
from typing import Literal

import msgspec

__all__ = ["Policy", "Statement", "allows"]


class Statement(msgspec.Struct, rename="pascal", forbid_unknown_fields=True, frozen=True):
    """What is allowed on what. In both * and ? stand for anything; actions know no case."""

    effect: Literal["Allow"]
    action: str | list[str]
    resource: str | list[str]
    sid: str = ""


class Policy(msgspec.Struct, rename="pascal", forbid_unknown_fields=True, frozen=True):
    """An IAM policy document."""

    statement: list[Statement]
    version: str = ""


def allows(policy: Policy, action: str, resource: str) -> bool:
    """Whether some statement allows it. action: such as sqs:SendMessage. resource: an ARN."""
    return any(
        _matches(statement.action, action, re.IGNORECASE) and _matches(statement.resource, resource)
        for statement in policy.statement
    )


def _matches(patterns: str | list[str], text: str, flags: re.RegexFlag = re.NOFLAG) -> bool:
    return any(
        re.fullmatch(re.escape(pattern).replace(r"\*", ".*").replace(r"\?", "."), text, flags)
        for pattern in ([patterns] if isinstance(patterns, str) else patterns)
    )
