"""What to do about each error of the service: the one table. Pure.

A code has a `Reaction`; the client acts on it for whole calls, `entry_fault` for single entries of a batch.
"""

from collections.abc import Mapping
from enum import Enum

from mulligan.brokers.sqs.codec import Failure, ServiceError
from mulligan.core.delivery import EntryFault, Fault
from mulligan.core.error import BrokerRefused
from mulligan.core.secret import redacted

__all__ = ["MISSING_QUEUE", "Reaction", "ServiceRefused", "entry_fault", "reaction_to", "refusal_text", "stranger_hint"]


class Reaction(Enum):
    """What to do about an error."""

    RETRY = "a transient fault of the service: retry soon"
    BACK_OFF = "throttled: retry later"
    SLOW_DOWN = "too much in flight: no retry within this call"
    RENEW_KEYS = "the credentials have expired: get new ones, sign again, once"
    OTHER_KEYS = "the keys are not known: if others are found, sign again, once"
    CHECK_CLOCK = "the request is too old or too new: if the clock is off, correct it and sign again, once"
    CHECK_SIGNATURE = "the signature is refused: as for the clock, and if it is right, as for keys that are not known"
    LEASE_LOST = "the receipt is stale"
    REFUSED = "a retry would not help"


class ServiceRefused(BrokerRefused):
    """The service refused a call. code: its error code, which provisioning and the splitting of batches read."""

    def __init__(self, code: str, text: str) -> None:
        self.code = code
        super().__init__(text)


MISSING_QUEUE = frozenset({"QueueDoesNotExist", "AWS.SimpleQueueService.NonExistentQueue", "NonExistentQueue"})

_LEASE_LOST = (
    "ReceiptHandleIsInvalid",
    "MessageNotInflight",
    "AWS.SimpleQueueService.MessageNotInflight",
)
_BACK_OFF = (
    "RequestThrottled",
    "Throttling",
    "ThrottlingException",
    "ThrottledException",
    "RequestThrottledException",
    "TooManyRequestsException",
    "RequestLimitExceeded",
    "BandwidthLimitExceeded",
    "SlowDown",
    "PriorRequestNotComplete",
    "TransactionInProgressException",
    "KmsThrottled",
    "KMS.ThrottlingException",
)
_RETRY = (
    "ServiceUnavailable",
    "InternalError",
    "InternalFailure",
    "InternalServerError",
    "RequestTimeout",
    "RequestTimeoutException",
    # creating what was deleted within 60 s, purging twice within 60 s: later it works
    "QueueDeletedRecently",
    "AWS.SimpleQueueService.QueueDeletedRecently",
    "PurgeQueueInProgress",
    "AWS.SimpleQueueService.PurgeQueueInProgress",
)
_RENEW_KEYS = ("ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired")
_OTHER_KEYS = ("InvalidClientTokenId", "UnrecognizedClientException", "InvalidAccessKeyId")
_CHECK_CLOCK = ("RequestExpired", "RequestInTheFuture", "RequestTimeTooSkewed")
_CHECK_SIGNATURE = ("InvalidSignatureException", "SignatureDoesNotMatch", "AuthFailure")
_REACTIONS: Mapping[str, Reaction] = {
    **dict.fromkeys(_LEASE_LOST, Reaction.LEASE_LOST),
    **dict.fromkeys(_BACK_OFF, Reaction.BACK_OFF),
    **dict.fromkeys(_RETRY, Reaction.RETRY),
    **dict.fromkeys(("OverLimit", "AWS.SimpleQueueService.OverLimit"), Reaction.SLOW_DOWN),
    **dict.fromkeys(_RENEW_KEYS, Reaction.RENEW_KEYS),
    **dict.fromkeys(_OTHER_KEYS, Reaction.OTHER_KEYS),
    **dict.fromkeys(_CHECK_CLOCK, Reaction.CHECK_CLOCK),
    **dict.fromkeys(_CHECK_SIGNATURE, Reaction.CHECK_SIGNATURE),
}

_HINTS: Mapping[str, str] = {
    **dict.fromkeys(
        MISSING_QUEUE, "`mulligan setup` makes the queues; or check the region, the account and COMMON_PREFIX."
    ),
    **dict.fromkeys(
        ("AccessDenied", "AccessDeniedException"),
        "Allow the action to these credentials (`mulligan iam-policy` prints what each role needs).",
    ),
    **dict.fromkeys(
        ("InvalidSecurity", "AWS.SimpleQueueService.InvalidSecurity"), "The queue's policy asks for TLS: use https."
    ),
    **dict.fromkeys(
        (*_OTHER_KEYS, "MissingAuthenticationToken"),
        "The access key is unknown there, and no other was found: check AWS_ACCESS_KEY_ID or the profile, and the "
        "region. A file or profile that is changed is read again.",
    ),
    **dict.fromkeys(
        ("InvalidSignatureException", "SignatureDoesNotMatch"),
        "The clock agrees with the service's, so the secret key is wrong, and no other was found: check "
        "AWS_SECRET_ACCESS_KEY or the profile.",
    ),
    **dict.fromkeys(
        _CHECK_CLOCK,
        "By the service's answer this machine's clock is right by now: see whether it jumps (NTP), or something on the "
        "way, such as a proxy, holds requests back for minutes.",
    ),
    **dict.fromkeys(_RENEW_KEYS, "Renew them (for SSO: `aws sso login`)."),
    **dict.fromkeys(
        ("KmsAccessDenied", "KMS.AccessDeniedException"),
        "Allow kms:Decrypt and kms:GenerateDataKey on the queue's key to these credentials.",
    ),
    **dict.fromkeys(
        ("KmsDisabled", "KMS.DisabledException", "KmsInvalidState", "KMS.InvalidStateException"),
        "Enable the queue's KMS key, or give the queue another one.",
    ),
    **dict.fromkeys(("KmsNotFound", "KMS.NotFoundException"), "Give the queue a KMS key that exists in its region."),
    **dict.fromkeys(
        ("KmsOptInRequired", "KMS.OptInRequired", "OptInRequired"),
        "Subscribe the account to the service that it names.",
    ),
    **dict.fromkeys(
        ("InvalidAddress", "AWS.SimpleQueueService.InvalidAddress"),
        "The queue's address is of another account, region or server: check the region and the endpoint.",
    ),
}


def reaction_to(error: ServiceError) -> Reaction:
    """What to do about an error of a whole call. An unknown code goes by its status."""
    known = _REACTIONS.get(error.code)
    if known is not None:
        return known
    if _is_lost_receipt(error.code, error.message):
        return Reaction.LEASE_LOST
    if error.status == 429:
        return Reaction.BACK_OFF
    return Reaction.RETRY if error.status >= 500 else Reaction.REFUSED


def entry_fault(failure: Failure) -> EntryFault:
    """What a failed entry of a batch means."""
    reason = f"{failure.code}: {failure.message or 'no reason given'}"
    match _REACTIONS.get(failure.code):
        case Reaction.LEASE_LOST:
            return EntryFault(Fault.LEASE_LOST, reason)
        case Reaction.RETRY | Reaction.BACK_OFF | Reaction.SLOW_DOWN:
            return EntryFault(Fault.RETRY, reason)
        case _:
            pass
    if _is_lost_receipt(failure.code, failure.message or ""):
        return EntryFault(Fault.LEASE_LOST, reason)
    return EntryFault(Fault.REFUSED if failure.sender_fault else Fault.RETRY, reason)


def refusal_text(action: str, where: str, error: ServiceError) -> str:
    """The sentence for a refused call. where: the queue and the endpoint."""
    hint = _HINTS.get(error.code, "")
    said = error.message.rstrip(".") or "no reason given"
    return f"{where}: {action} was refused with {error.code} (HTTP {error.status}): {said}.{' ' if hint else ''}{hint}"


def stranger_hint(status: int, headers: Mapping[bytes, bytes], body: bytes) -> str:
    """What to do about an answer that is not from the service; "" where nothing more is known."""
    if status == 407:
        return "A proxy wants credentials: set HTTPS_PROXY=http://USER:PASSWORD@HOST:PORT, or NO_PROXY to this host."
    if 300 <= status < 400:
        place = headers.get(b"location", b"").decode("latin-1")[:200]
        to = f" (to {redacted(place)})" if place else ""
        return f"Redirects{to} are not followed: correct the endpoint or the region."
    if (coding := headers.get(b"content-encoding", b"identity").lower()) != b"identity":
        name = coding.decode("latin-1")[:20]
        return f"Something between here and SQS compresses answers ({name}), unasked: let it pass them unchanged."
    if body.lstrip()[:1] == b"<":
        return (
            "A proxy, a gateway or the login page of a network answers for SQS, or this is not an SQS endpoint: "
            "check what is between, or correct the endpoint."
        )
    return ""


def _is_lost_receipt(code: str, message: str) -> bool:
    """FIFO queues, and leases at the end of their 12 hours, report it in the text only."""
    if code not in ("InvalidParameterValue", "InvalidParameterValueException"):
        return False
    return "receipt handle has expired" in message or "Total VisibilityTimeout" in message
