"""The errors that Amazon SQS answers with: their two names, their status, their texts.

Current SDKs classify an error by the shape in `__type`; with `x-amzn-query-mode: true` they take the older code from
the header `x-amzn-query-error`. Both names come from botocore's service model, the texts from recorded answers of the
service.
"""

from typing import Final

__all__ = [
    "SqsError",
    "access_denied",
    "invalid_attribute_name",
    "invalid_attribute_value",
    "invalid_parameter",
    "invalid_parameter_for",
    "missing_parameter",
    "query_code",
    "queue_missing",
    "serialization",
]

_CLASSIC = "AWS.SimpleQueueService."

# shape: (namespace, code of the old query protocol)
_CODES: Final[dict[str, tuple[str, str]]] = {
    **{
        shape: ("com.amazonaws.sqs", _CLASSIC + shape)
        for shape in (
            "BatchEntryIdsNotDistinct",
            "BatchRequestTooLong",
            "EmptyBatchRequest",
            "InvalidBatchEntryId",
            "MessageNotInflight",
            "PurgeQueueInProgress",
            "QueueDeletedRecently",
            "TooManyEntriesInBatchRequest",
            "UnsupportedOperation",
        )
    },
    **{
        shape: ("com.amazonaws.sqs", shape)
        for shape in (
            "InvalidAddress",
            "InvalidAttributeName",
            "InvalidAttributeValue",
            "InvalidIdFormat",
            "InvalidMessageContents",
            "InvalidSecurity",
            "OverLimit",
            "ReceiptHandleIsInvalid",
            "RequestThrottled",
            "ResourceNotFoundException",
        )
    },
    "QueueDoesNotExist": ("com.amazonaws.sqs", _CLASSIC + "NonExistentQueue"),
    "QueueNameExists": ("com.amazonaws.sqs", "QueueAlreadyExists"),
    "KmsAccessDenied": ("com.amazonaws.sqs", "KMS.AccessDeniedException"),
    "KmsDisabled": ("com.amazonaws.sqs", "KMS.DisabledException"),
    "KmsInvalidKeyUsage": ("com.amazonaws.sqs", "KMS.InvalidKeyUsageException"),
    "KmsInvalidState": ("com.amazonaws.sqs", "KMS.InvalidStateException"),
    "KmsNotFound": ("com.amazonaws.sqs", "KMS.NotFoundException"),
    "KmsOptInRequired": ("com.amazonaws.sqs", "KMS.OptInRequired"),
    "KmsThrottled": ("com.amazonaws.sqs", "KMS.ThrottlingException"),
    "InvalidParameterValueException": ("com.amazon.coral.service", "InvalidParameterValue"),
    "MissingRequiredParameterException": ("com.amazon.coral.service", "MissingParameter"),
    "AccessDeniedException": ("com.amazon.coral.service", "AccessDenied"),
    "UnrecognizedClientException": ("com.amazon.coral.service", "InvalidClientTokenId"),
    "InvalidSignatureException": ("com.amazon.coral.service", "SignatureDoesNotMatch"),
    "IncompleteSignatureException": ("com.amazon.coral.service", "IncompleteSignature"),
    "MissingAuthenticationTokenException": ("com.amazon.coral.service", "MissingAuthenticationToken"),
    "ExpiredTokenException": ("com.amazon.coral.service", "ExpiredToken"),
    "SerializationException": ("com.amazon.coral.service", "MalformedInput"),
    "UnknownOperationException": ("com.amazon.coral.service", "InvalidAction"),
    "ThrottlingException": ("com.amazon.coral.service", "ThrottlingException"),
    "ServiceUnavailable": ("com.amazon.coral.service", "ServiceUnavailable"),
    "InternalFailure": ("com.amazon.coral.service", "InternalError"),
}

# every other shape is answered with 400
_STATUSES: Final[dict[str, int]] = {
    "AccessDeniedException": 403,
    "ExpiredTokenException": 403,
    "InternalFailure": 500,
    "InvalidSignatureException": 403,
    "MissingAuthenticationTokenException": 403,
    "PurgeQueueInProgress": 403,
    "ResourceNotFoundException": 404,
    "ServiceUnavailable": 503,
    "UnknownOperationException": 404,
    "UnrecognizedClientException": 403,
}


class SqsError(Exception):
    """An error that is the answer to a request. Actions raise it before they change anything.

    shape: the name in botocore's service model, or one of the names common to all of AWS.
    message: the text for a human.
    """

    def __init__(self, shape: str, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.shape = shape
        self.message = message
        self.status = status or _STATUSES.get(shape, 400)

    @property
    def type(self) -> str:
        """The value of `__type`."""
        return f"{_CODES.get(self.shape, ('com.amazonaws.sqs', ''))[0]}#{self.shape}"

    @property
    def code(self) -> str:
        """The code of the older query protocol, which SDKs still show."""
        return query_code(self.shape)

    @property
    def is_sender_fault(self) -> bool:
        """False when the same request may succeed later without a change."""
        return self.status < 500


def query_code(shape: str) -> str:
    """The older code of a shape; an unknown shape is its own code."""
    return _CODES.get(shape, ("", shape))[1]


def invalid_parameter(text: str) -> SqsError:
    """A parameter has a value that isn't allowed."""
    return SqsError("InvalidParameterValueException", text)


def invalid_parameter_for(name: str, value: object, reason: str) -> SqsError:
    """The same, in the wording that the service uses for most parameters."""
    return invalid_parameter(f"Value {value} for parameter {name} is invalid. Reason: {reason}")


def missing_parameter(name: str) -> SqsError:
    """A required parameter is missing."""
    return SqsError("MissingRequiredParameterException", f"The request must contain the parameter {name}.")


def invalid_attribute_name(name: str) -> SqsError:
    """A queue attribute is unknown."""
    return SqsError("InvalidAttributeName", f"Unknown Attribute {name}.")


def invalid_attribute_value(name: str, reason: str = "") -> SqsError:
    """A queue attribute has a value that isn't allowed."""
    return SqsError(
        "InvalidAttributeValue", f"Invalid value for the parameter {name}." + (f" Reason: {reason}" if reason else "")
    )


def queue_missing() -> SqsError:
    """The queue doesn't exist."""
    return SqsError("QueueDoesNotExist", "The specified queue does not exist.")


def access_denied(who: str, action: str, resource: str) -> SqsError:
    """The caller's role doesn't allow the action."""
    name = action.lower()
    return SqsError(
        "AccessDeniedException",
        f"User: {who} is not authorized to perform: sqs:{name} on resource: {resource} because no identity-based "
        f"policy allows the sqs:{name} action",
    )


def serialization(text: str) -> SqsError:
    """The body is not the JSON that the action expects."""
    return SqsError("SerializationException", text)
