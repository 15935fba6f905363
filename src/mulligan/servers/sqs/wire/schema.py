"""What each action takes, as it stands on the wire. Types are checked while decoding; rules come later.

Nothing is required here although the service requires it, so that what is missing is told in the service's own words.
"""

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
]


class _Shape(msgspec.Struct, rename="pascal"):
    pass


class AttributeValue(_Shape):
    """One message attribute."""

    data_type: str | None = None
    string_value: str | None = None
    binary_value: bytes | None = None
    string_list_values: list[Any] | None = None
    binary_list_values: list[Any] | None = None


class OnQueue(_Shape):
    """An action that takes nothing but a queue: DeleteQueue, PurgeQueue, ListQueueTags."""

    queue_url: str | None = None


class CreateQueue(_Shape):
    """CreateQueue. The tags are spelled in lower case, as in the service model."""

    queue_name: str | None = None
    attributes: dict[str, str] | None = None
    tags: dict[str, str] | None = msgspec.field(default=None, name="tags")


class GetQueueUrl(_Shape):
    """GetQueueUrl."""

    queue_name: str | None = None
    queue_owner_account_id: str | None = msgspec.field(default=None, name="QueueOwnerAWSAccountId")


class ListQueues(_Shape):
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


class SendEntry(_Shape):
    """One message to send; the entry of a batch, and what SendMessage shares with it."""

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


class DeleteEntry(_Shape):
    """One receipt whose message is done."""

    id: str | None = None
    receipt_handle: str | None = None


class DeleteMessage(OnQueue):
    """DeleteMessage."""

    receipt_handle: str | None = None


class DeleteMessageBatch(OnQueue):
    """DeleteMessageBatch."""

    entries: list[DeleteEntry] | None = None


class ChangeEntry(_Shape):
    """One receipt whose lease changes."""

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


class StartMessageMoveTask(_Shape):
    """StartMessageMoveTask."""

    source_arn: str | None = None
    destination_arn: str | None = None
    max_number_of_messages_per_second: int | None = None


class ListMessageMoveTasks(_Shape):
    """ListMessageMoveTasks."""

    source_arn: str | None = None
    max_results: int | None = None


class CancelMessageMoveTask(_Shape):
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
"""The shape of each action's request."""
