"""The schema of each action's request on the wire, and the names there: queue URLs, ARNs, message ids.

Decoding checks types; `actions` checks the rules. No field is required here although the service requires some: the
actions report what is missing, in the service's own words.
"""

import re
import secrets
from typing import Any

import msgspec

__all__ = [
    "REQUESTS",
    "AddPermission",
    "AttributeValue",
    "CancelMessageMoveTask",
    "ChangeEntry",
    "ChangeMessageVisibility",
    "ChangeMessageVisibilityBatch",
    "CreateQueue",
    "DeleteEntry",
    "DeleteMessage",
    "DeleteMessageBatch",
    "GetQueueAttributes",
    "GetQueueUrl",
    "ListDeadLetterSourceQueues",
    "ListMessageMoveTasks",
    "ListQueues",
    "OnQueue",
    "ReceiveMessage",
    "RemovePermission",
    "SendEntry",
    "SendMessage",
    "SendMessageBatch",
    "SetQueueAttributes",
    "StartMessageMoveTask",
    "TagQueue",
    "UntagQueue",
    "arn",
    "new_id",
    "parse_arn",
    "queue_name",
    "uuid_text",
]

_ARN = re.compile(r"arn:[a-z-]+:sqs:([a-z0-9-]+):(\d{12}):([A-Za-z0-9_-]{1,80}(?:\.fifo)?)")
_URL = re.compile(r"(?:(?:https?://[^/]+)?/(?P<account>\d{12})/)?(?P<name>[A-Za-z0-9_-]{1,80}(?:\.fifo)?)/?")


def arn(name: str, region: str, account: str) -> str:
    """The name by which policies know a queue."""
    return f"arn:aws:sqs:{region}:{account}:{name}"


def parse_arn(text: str) -> tuple[str, str, str] | None:
    """Region, account and name; None when it is not the ARN of a queue."""
    found = _ARN.fullmatch(text)
    return (found.group(1), found.group(2), found.group(3)) if found else None


def queue_name(url: str, account: str) -> str | None:
    """The name of the queue at a URL, whether the queue exists or not; None when the URL names none of this account."""
    found = _URL.fullmatch(url)
    return found["name"] if found is not None and found["account"] in {None, account} else None


def new_id() -> str:
    """A random message id, in the form of a UUID of version 4."""
    return uuid_text(secrets.token_hex(16))


def uuid_text(digits: str) -> str:
    """32 hexadecimal digits in the form of a UUID of version 4."""
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"


class _Schema(msgspec.Struct, rename="pascal"):
    pass


class AttributeValue(_Schema):
    """One message attribute."""

    data_type: str | None = None
    string_value: str | None = None
    binary_value: bytes | None = None
    string_list_values: list[Any] | None = None
    binary_list_values: list[Any] | None = None


class OnQueue(_Schema):
    """An action whose only parameter is a queue: DeleteQueue, PurgeQueue, ListQueueTags."""

    queue_url: str | None = None


class CreateQueue(_Schema):
    """CreateQueue. The tags are spelled in lower case, as in the service model."""

    queue_name: str | None = None
    attributes: dict[str, str] | None = None
    tags: dict[str, str] | None = msgspec.field(default=None, name="tags")


class GetQueueUrl(_Schema):
    """GetQueueUrl."""

    queue_name: str | None = None
    queue_owner_account_id: str | None = msgspec.field(default=None, name="QueueOwnerAWSAccountId")


class ListQueues(_Schema):
    """ListQueues."""

    queue_name_prefix: str | None = None
    next_token: str | None = None
    max_results: int | None = None


class ListDeadLetterSourceQueues(OnQueue):
    """ListDeadLetterSourceQueues."""

    next_token: str | None = None
    max_results: int | None = None


class GetQueueAttributes(OnQueue):
    """GetQueueAttributes."""

    attribute_names: list[str] | None = None


class SetQueueAttributes(OnQueue):
    """SetQueueAttributes."""

    attributes: dict[str, str] | None = None


class TagQueue(OnQueue):
    """TagQueue."""

    tags: dict[str, str] | None = None


class UntagQueue(OnQueue):
    """UntagQueue."""

    tag_keys: list[str] | None = None


class SendEntry(_Schema):
    """One message to send: an entry of a batch, and the fields that SendMessage shares with it."""

    id: str | None = None
    message_body: str | None = None
    delay_seconds: int | None = None
    message_attributes: dict[str, AttributeValue] | None = None
    message_system_attributes: dict[str, AttributeValue] | None = None
    message_deduplication_id: str | None = None
    message_group_id: str | None = None


class SendMessage(SendEntry):
    """SendMessage."""

    queue_url: str | None = None


class SendMessageBatch(OnQueue):
    """SendMessageBatch."""

    entries: list[SendEntry] | None = None


class ReceiveMessage(OnQueue):
    """ReceiveMessage."""

    attribute_names: list[str] | None = None
    message_system_attribute_names: list[str] | None = None
    message_attribute_names: list[str] | None = None
    max_number_of_messages: int | None = None
    visibility_timeout: int | None = None
    wait_time_seconds: int | None = None
    receive_request_attempt_id: str | None = None


class DeleteEntry(_Schema):
    """One receipt handle whose message is to be deleted."""

    id: str | None = None
    receipt_handle: str | None = None


class DeleteMessage(OnQueue):
    """DeleteMessage."""

    receipt_handle: str | None = None


class DeleteMessageBatch(OnQueue):
    """DeleteMessageBatch."""

    entries: list[DeleteEntry] | None = None


class ChangeEntry(_Schema):
    """One receipt handle whose lease is to be changed."""

    id: str | None = None
    receipt_handle: str | None = None
    visibility_timeout: int | None = None


class ChangeMessageVisibility(OnQueue):
    """ChangeMessageVisibility."""

    receipt_handle: str | None = None
    visibility_timeout: int | None = None


class ChangeMessageVisibilityBatch(OnQueue):
    """ChangeMessageVisibilityBatch."""

    entries: list[ChangeEntry] | None = None


class StartMessageMoveTask(_Schema):
    """StartMessageMoveTask."""

    source_arn: str | None = None
    destination_arn: str | None = None
    max_number_of_messages_per_second: int | None = None


class ListMessageMoveTasks(_Schema):
    """ListMessageMoveTasks."""

    source_arn: str | None = None
    max_results: int | None = None


class CancelMessageMoveTask(_Schema):
    """CancelMessageMoveTask."""

    task_handle: str | None = None


class AddPermission(OnQueue):
    """AddPermission."""

    label: str | None = None
    account_ids: list[str] | None = msgspec.field(default=None, name="AWSAccountIds")
    actions: list[str] | None = None


class RemovePermission(OnQueue):
    """RemovePermission."""

    label: str | None = None


REQUESTS: dict[str, type[msgspec.Struct]] = {
    "AddPermission": AddPermission,
    "CancelMessageMoveTask": CancelMessageMoveTask,
    "ChangeMessageVisibility": ChangeMessageVisibility,
    "ChangeMessageVisibilityBatch": ChangeMessageVisibilityBatch,
    "CreateQueue": CreateQueue,
    "DeleteMessage": DeleteMessage,
    "DeleteMessageBatch": DeleteMessageBatch,
    "DeleteQueue": OnQueue,
    "GetQueueAttributes": GetQueueAttributes,
    "GetQueueUrl": GetQueueUrl,
    "ListDeadLetterSourceQueues": ListDeadLetterSourceQueues,
    "ListMessageMoveTasks": ListMessageMoveTasks,
    "ListQueueTags": OnQueue,
    "ListQueues": ListQueues,
    "PurgeQueue": OnQueue,
    "ReceiveMessage": ReceiveMessage,
    "RemovePermission": RemovePermission,
    "SendMessage": SendMessage,
    "SendMessageBatch": SendMessageBatch,
    "SetQueueAttributes": SetQueueAttributes,
    "StartMessageMoveTask": StartMessageMoveTask,
    "TagQueue": TagQueue,
    "UntagQueue": UntagQueue,
}
"""The schema of each action's request."""
