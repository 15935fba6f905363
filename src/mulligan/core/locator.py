"""What a setting may call a queue: a name, or on Amazon SQS the URL or ARN of one, of another account, too. Pure.

Everywhere else queues go by their names: in the log, in events, in the lease table. The one that has to find a queue
elsewhere, `brokers.sqs`, asks here where that is.
"""

import re

from mulligan.core.message import QueueName
from mulligan.core.value import value

__all__ = ["FORM", "Locator", "locator_of"]

_NAME = r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,79}"
_ARN = rf"arn:aws[a-z-]*:sqs:[a-z]{{2}}[a-z0-9-]{{1,30}}:[0-9]{{12}}:{_NAME}"
_URL = rf"https?://[A-Za-z0-9._:\[\]-]+/[0-9]{{12}}/{_NAME}"
FORM = rf"^({_NAME}|{_ARN}|{_URL})$"
"""Of everything that a setting may call a queue, as a pattern."""

_REGION = r"[a-z]{2}(?:-[a-z]+)+-[0-9]+"
_HOSTS = (
    re.compile(rf"(?:[a-z0-9-]+\.)?sqs(?:-fips)?\.({_REGION})\.(?:vpce\.)?(?:amazonaws\.com(?:\.cn)?|api\.aws)"),
    re.compile(rf"({_REGION})\.queue\.amazonaws\.com(?:\.cn)?"),
)
"""Of the service itself: with the region in them. `queue.amazonaws.com` is that of us-east-1."""


@value
class Locator:
    """What says where a queue is. region, account, authority: None where that is left to BROKER_URL and the keys.

    authority: host and port of a server that is not of AWS, from the URL of a queue there.
    """

    name: QueueName
    region: str | None = None
    account: str | None = None
    authority: str | None = None


def locator_of(text: str) -> Locator:
    """The locator of a queue by its name, URL or ARN. What has another form is taken for a name."""
    if text.startswith("arn:"):
        _, _, _, region, account, name = text.split(":", 5)
        return Locator(QueueName(name), region, account)
    scheme, is_url, rest = text.partition("://")
    if not is_url:
        return Locator(QueueName(text))
    authority, account, name = rest.split("/", 2)
    authority = authority.lower().removesuffix(":443" if scheme == "https" else ":80")  # as the endpoint is written
    host_region = _region_of(authority)
    return Locator(QueueName(name), host_region, account, authority if host_region is None else None)


def _region_of(authority: str) -> str | None:
    host = authority.partition(":")[0].lower()
    if host == "queue.amazonaws.com":
        return "us-east-1"
    found = next((match for form in _HOSTS if (match := form.fullmatch(host))), None)
    return None if found is None else found[1]
