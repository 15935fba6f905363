"""Queues of a named account: where they must be, and what their owner must allow. Makes no call.

They are neither created nor changed from here: SQS lets only the account itself do that.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from mulligan.brokers.sqs.environment import is_loopback
from mulligan.brokers.sqs.policy import ACTIONS
from mulligan.core.delivery import Queues
from mulligan.core.message import QueueName

__all__ = ["Accounts", "accounts_of", "denied", "locator_problems", "not_there", "notes", "question"]

Accounts = Mapping[QueueName, str]
"""The account of each queue, by name. Queues without one belong to the account of the keys."""

_ALLOWED = f"{', '.join(ACTIONS[:-1])} and {ACTIONS[-1]}"


def accounts_of(queues: Queues, account: str | None) -> dict[QueueName, str]:
    """The account in a queue's URL or ARN; otherwise `account`, the one in BROKER_URL."""
    found = {} if account is None else dict.fromkeys(queues.all, account)
    return found | {locator.name: locator.account for locator in queues.locators if locator.account is not None}


def locator_problems(queues: Queues, *, region: str, authority: str) -> list[str]:
    """Sentences about queues that are not where requests go. authority: host and port of the endpoint."""
    found_notes = []
    for one in queues.locators:
        if one.region not in (None, region):
            found_notes.append(
                f"Queue {one.name}: its URL or ARN is of region {one.region!r}, and BROKER_URL asks {region!r}: "
                f"all three queues must be in one region. Name a queue of {region}, or set BROKER_URL to "
                f"sqs://{one.region}."
            )
        elif one.authority is not None and not _is_same(one.authority, authority):
            found_notes.append(
                f"Queue {one.name}: its URL is of the server {one.authority!r}, and BROKER_URL asks {authority!r}. "
                f"Write the queue's name alone, or correct the endpoint in BROKER_URL."
            )
    return found_notes


def _is_same(one: str, other: str) -> bool:
    """Whether two authorities are of one server: as they stand, or as names of this machine with one port."""
    if one == other:
        return True
    (host, port), (other_host, other_port) = _parts(one), _parts(other)
    return port == other_port and is_loopback(host) and is_loopback(other_host)


def _parts(authority: str) -> tuple[str, str]:
    """Host without brackets, and port; "" for the scheme's own."""
    host, bracket, port = authority.rpartition("]")
    if bracket:
        return host.removeprefix("["), port.removeprefix(":")
    host, _, port = authority.partition(":")
    return host, port


def question(name: QueueName, accounts: Accounts) -> dict[str, Any]:
    """The GetQueueUrl request for a queue."""
    owner = accounts.get(name)
    return {"QueueName": name} if owner is None else {"QueueName": name, "QueueOwnerAWSAccountId": owner}


def not_there(missing: Sequence[QueueName], accounts: Accounts) -> list[str]:
    """The sentences about such queues that aren't there: one per account."""
    found: dict[str, list[str]] = {}
    for name in missing:
        found.setdefault(accounts[name], []).append(name)
    return [_not_there(names, account) for account, names in found.items()]


def _not_there(names: Sequence[str], account: str) -> str:
    *others, last = names
    queues = f"Queues {', '.join(others)} and {last}" if others else f"Queue {last}"
    none, them, are, its = (
        ("these names", "them", "They are", "their") if others else ("this name", "it", "It is", "its")
    )
    return (
        f"{queues}: account {account} has none of {none}, or doesn't show {them} to these credentials. {are} not made "
        f"from here, because {its} account is named: have its owner make {them}, or allow sqs:GetQueueUrl."
    )


def denied(account: str) -> str:
    """What to add to a refusal."""
    return f"It is account {account}'s: its owner's queue policy has to allow {_ALLOWED}, too."


def notes(queues: Queues, found: Mapping[QueueName, Mapping[str, str]], accounts: Accounts) -> list[str]:
    """A sentence per queue of another account than that of the queues without a named one."""
    ours = {_account_in(attributes.get("QueueArn", "")) for name, attributes in found.items() if name not in accounts}
    found_notes = []
    for name in queues.all:
        account = accounts.get(name)
        if account is None or name not in found or account in ours:
            continue
        found_notes.append(
            f"Queue {name}: it is account {account}'s, and nothing is changed there. Its owner's queue "
            f"policy has to allow these credentials {_ALLOWED}. What SQS itself moves away from it (its "
            f"redrive) stays in that account: it can't lead to a queue of another one."
        )
    return found_notes


def _account_in(arn: str) -> str:
    return arn.split(":")[4] if arn.count(":") == 5 else ""
