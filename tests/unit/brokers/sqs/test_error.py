"""The table: every error of the service, and what it means for us."""

import pytest

from mulligan.brokers.sqs.codec import Failure, ServiceError
from mulligan.brokers.sqs.error import Reaction, entry_fault, reaction_to, refusal_text, stranger_hint
from mulligan.core.delivery import Fault

TABLE = [
    (400, "RequestThrottled", Reaction.BACK_OFF),
    (403, "RequestThrottled", Reaction.BACK_OFF),
    (400, "ThrottlingException", Reaction.BACK_OFF),
    (400, "KmsThrottled", Reaction.BACK_OFF),
    (400, "KMS.ThrottlingException", Reaction.BACK_OFF),
    (429, "Whatever", Reaction.BACK_OFF),
    (503, "ServiceUnavailable", Reaction.RETRY),
    (500, "InternalFailure", Reaction.RETRY),
    (500, "SomethingNew", Reaction.RETRY),
    (400, "QueueDeletedRecently", Reaction.RETRY),
    (400, "AWS.SimpleQueueService.QueueDeletedRecently", Reaction.RETRY),
    (400, "AWS.SimpleQueueService.PurgeQueueInProgress", Reaction.RETRY),
    (403, "OverLimit", Reaction.SLOW_DOWN),
    (403, "ExpiredToken", Reaction.RENEW_KEYS),
    (403, "ExpiredTokenException", Reaction.RENEW_KEYS),
    (403, "SignatureDoesNotMatch", Reaction.CHECK_SIGNATURE),
    (403, "InvalidSignatureException", Reaction.CHECK_SIGNATURE),
    (403, "RequestExpired", Reaction.CHECK_CLOCK),
    (400, "ReceiptHandleIsInvalid", Reaction.LEASE_LOST),
    (400, "AWS.SimpleQueueService.MessageNotInflight", Reaction.LEASE_LOST),
    (400, "KmsDisabled", Reaction.REFUSED),
    (400, "KmsAccessDenied", Reaction.REFUSED),
    (400, "KmsInvalidState", Reaction.REFUSED),
    (400, "InvalidSecurity", Reaction.REFUSED),
    (403, "AccessDenied", Reaction.REFUSED),
    (403, "AccessDeniedException", Reaction.REFUSED),
    (400, "AWS.SimpleQueueService.NonExistentQueue", Reaction.REFUSED),
    (400, "QueueDoesNotExist", Reaction.REFUSED),
    (400, "InvalidAddress", Reaction.REFUSED),
    (403, "InvalidClientTokenId", Reaction.OTHER_KEYS),
    (403, "UnrecognizedClientException", Reaction.OTHER_KEYS),
    (403, "InvalidAccessKeyId", Reaction.OTHER_KEYS),
    (400, "SomethingNew", Reaction.REFUSED),
]


@pytest.mark.parametrize(("status", "code", "reaction"), TABLE, ids=str)
def test_reaction_is_that_of_the_table(status, code, reaction):
    assert reaction_to(ServiceError(status, code, "")) is reaction


def test_reaction_is_a_lost_lease_when_only_the_words_say_so():
    text = "Value AQEB for parameter ReceiptHandle is invalid. Reason: The receipt handle has expired."

    assert reaction_to(ServiceError(400, "InvalidParameterValue", text)) is Reaction.LEASE_LOST
    assert reaction_to(ServiceError(400, "InvalidParameterValue", "another")) is Reaction.REFUSED


@pytest.mark.parametrize(
    ("failure", "fault"),
    [
        (Failure("0", "ReceiptHandleIsInvalid", "no", sender_fault=True), Fault.LEASE_LOST),
        (Failure("0", "MessageNotInflight", "no", sender_fault=True), Fault.LEASE_LOST),
        (
            Failure("0", "InvalidParameterValue", "Reason: The receipt handle has expired", sender_fault=True),
            Fault.LEASE_LOST,
        ),
        (
            Failure("0", "InvalidParameterValue", "Total VisibilityTimeout for the message is beyond", True),
            Fault.LEASE_LOST,
        ),
        (Failure("0", "InvalidMessageContents", "no", sender_fault=True), Fault.REFUSED),
        (Failure("0", "RequestThrottled", "no", sender_fault=True), Fault.RETRY),
        (Failure("0", "InternalError", "no", sender_fault=False), Fault.RETRY),
        (Failure("0", "OverLimit", None, sender_fault=True), Fault.RETRY),
    ],
)
def test_entry_fault_is_what_can_be_done_about_it(failure, fault):
    found = entry_fault(failure)

    assert found.fault is fault
    assert failure.code in found.reason


@pytest.mark.parametrize(
    ("code", "hint"),
    [
        ("AWS.SimpleQueueService.NonExistentQueue", "mulligan setup"),
        ("AccessDenied", "mulligan iam-policy"),
        ("InvalidSecurity", "https"),
        ("InvalidClientTokenId", "AWS_ACCESS_KEY_ID"),
        ("SignatureDoesNotMatch", "AWS_SECRET_ACCESS_KEY"),
        ("RequestTimeTooSkewed", "NTP"),
        ("ExpiredToken", "aws sso login"),
        ("KmsAccessDenied", "kms:Decrypt"),
        ("KmsDisabled", "KMS key"),
        ("KmsInvalidState", "KMS key"),
        ("InvalidAddress", "region"),
    ],
)
def test_refusal_text_says_where_what_and_what_to_do(code, hint):
    text = refusal_text("SendMessageBatch", "app-dead-q at https://sqs", ServiceError(400, code, "It said so."))

    assert text.startswith(
        f"app-dead-q at https://sqs: SendMessageBatch was refused with {code} (HTTP 400): It said so. "
    )
    assert hint in text


@pytest.mark.parametrize(
    ("status", "headers", "body", "hint"),
    [
        (407, {}, b"<html>", "HTTPS_PROXY"),
        (301, {b"location": b"https://u:secret@other/"}, b"", "(to https://***@other/) are not followed"),
        (200, {b"content-encoding": b"gzip"}, b"\x1f\x8b", "compresses answers (gzip)"),
        (200, {}, b"\r\n<!DOCTYPE html>", "login page of a network"),
        (502, {}, b"", ""),
        (200, {}, b"{", ""),
    ],
)
def test_stranger_hint_says_what_to_do_about_an_answer_that_is_not_the_services(status, headers, body, hint):
    told = stranger_hint(status, headers, body)

    assert hint in told
    assert bool(told) is bool(hint)
