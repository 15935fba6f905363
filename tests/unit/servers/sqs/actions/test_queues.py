import json
from dataclasses import replace

import pytest

from mulligan.servers.sqs.wire.error import SqsError


def refused(world, shape, action, **body):
    with pytest.raises(SqsError) as error:
        world.do(action, **body)
    assert error.value.shape == shape
    return error.value.message


def create(world, name, tags=None, **attributes):
    return world.do("CreateQueue", QueueName=name, Attributes=attributes, tags=tags or {})["QueueUrl"]


def test_created_queue_has_the_services_defaults(world):
    url = create(world, "q")

    told = world.do("GetQueueAttributes", QueueUrl=url, AttributeNames=["All"])["Attributes"]

    assert url == "http://sqs.test/000000000000/q"
    assert told == {
        "ApproximateNumberOfMessages": "0",
        "ApproximateNumberOfMessagesDelayed": "0",
        "ApproximateNumberOfMessagesNotVisible": "0",
        "CreatedTimestamp": "1800000000",
        "DelaySeconds": "0",
        "LastModifiedTimestamp": "1800000000",
        "MaximumMessageSize": "1048576",
        "MessageRetentionPeriod": "345600",
        "QueueArn": "arn:aws:sqs:eu-west-1:000000000000:q",
        "ReceiveMessageWaitTimeSeconds": "0",
        "SqsManagedSseEnabled": "true",
        "VisibilityTimeout": "30",
    }


def test_created_fifo_queue_has_the_services_defaults(world):
    url = create(world, "q.fifo", FifoQueue="true")

    told = world.do(
        "GetQueueAttributes",
        QueueUrl=url,
        AttributeNames=["FifoQueue", "ContentBasedDeduplication", "DeduplicationScope", "FifoThroughputLimit"],
    )

    assert told["Attributes"] == {
        "FifoQueue": "true",
        "ContentBasedDeduplication": "false",
        "DeduplicationScope": "queue",
        "FifoThroughputLimit": "perQueue",
    }


@pytest.mark.parametrize("name", ["a b", "x" * 81, "q.fifo", "ä", "a/b"])
def test_create_refuses_a_wrong_name(world, name):
    refused(world, "InvalidParameterValueException", "CreateQueue", QueueName=name)


@pytest.mark.parametrize("name", ["q", "x" * 76 + ".fifo", ".fifo"])
def test_create_refuses_a_wrong_fifo_name(world, name):
    refused(world, "InvalidParameterValueException", "CreateQueue", QueueName=name, Attributes={"FifoQueue": "true"})


@pytest.mark.parametrize("name", ["x" * 80, "A-z_9"])
def test_create_takes_a_name_of_the_allowed_form(world, name):
    assert create(world, name).endswith(name)


@pytest.mark.parametrize(
    ("name", "text", "shape"),
    [
        ("VisibilityTimeout", "-1", "InvalidAttributeValue"),
        ("VisibilityTimeout", "43201", "InvalidAttributeValue"),
        ("VisibilityTimeout", "x", "InvalidAttributeValue"),
        ("VisibilityTimeout", "", "InvalidAttributeValue"),
        ("DelaySeconds", "901", "InvalidAttributeValue"),
        ("MaximumMessageSize", "1023", "InvalidAttributeValue"),
        ("MaximumMessageSize", "1048577", "InvalidAttributeValue"),
        ("MessageRetentionPeriod", "59", "InvalidAttributeValue"),
        ("MessageRetentionPeriod", "1209601", "InvalidAttributeValue"),
        ("ReceiveMessageWaitTimeSeconds", "21", "InvalidAttributeValue"),
        ("KmsDataKeyReusePeriodSeconds", "59", "InvalidAttributeValue"),
        ("SqsManagedSseEnabled", "yes", "InvalidAttributeValue"),
        ("Policy", "{", "InvalidAttributeValue"),
        ("Foo", "1", "InvalidAttributeName"),
        ("QueueArn", "1", "InvalidAttributeName"),
        ("FifoQueue", "false", "InvalidAttributeName"),
        ("ContentBasedDeduplication", "true", "InvalidAttributeName"),
        ("RedrivePolicy", "[]", "InvalidParameterValueException"),
        ("RedrivePolicy", "{}", "InvalidParameterValueException"),
        ("RedriveAllowPolicy", '{"redrivePermission": "some"}', "InvalidParameterValueException"),
        ("RedriveAllowPolicy", '{"redrivePermission": "byQueue"}', "InvalidParameterValueException"),
        ("RedriveAllowPolicy", '{"redrivePermission": "denyAll", "x": 1}', "InvalidParameterValueException"),
    ],
)
def test_wrong_attributes_are_refused_at_creation_and_later(world, name, text, shape):
    url = create(world, "there")

    refused(world, shape, "CreateQueue", QueueName="new", Attributes={name: text})
    refused(world, shape, "SetQueueAttributes", QueueUrl=url, Attributes={name: text})

    assert [item.name for item in world.store.queues()] == ["there"]


def test_create_of_the_same_queue_is_the_same_queue(world):
    first = create(world, "q", DelaySeconds="1")

    assert create(world, "q", DelaySeconds="1") == first
    assert create(world, "q") == first


def test_create_with_other_attributes_is_refused(world):
    create(world, "q")

    message = refused(world, "QueueNameExists", "CreateQueue", QueueName="q", Attributes={"DelaySeconds": "1"})

    assert message == "A queue already exists with the same name and a different value for attribute DelaySeconds"


def test_deleted_name_can_be_taken_after_a_minute(world):
    url = create(world, "q")
    world.send(url)
    world.do("DeleteQueue", QueueUrl=url)

    refused(world, "QueueDoesNotExist", "SendMessage", QueueUrl=url, MessageBody="x")
    refused(world, "QueueDeletedRecently", "CreateQueue", QueueName="q")
    world.pass_time(60)
    create(world, "q")

    assert world.bodies(url) == []


def test_handle_of_a_deleted_queue_is_none_of_its_successor(world):
    world.limits = replace(world.limits, recreate_s=0.0)
    url = create(world, "q")
    world.send(url)
    handle = world.receive(url)[0]["ReceiptHandle"]
    world.do("DeleteQueue", QueueUrl=url)
    world.pass_time(1)
    create(world, "q")

    refused(world, "ReceiptHandleIsInvalid", "DeleteMessage", QueueUrl=url, ReceiptHandle=handle)


@pytest.mark.parametrize(
    ("url", "shape"),
    [
        (None, "MissingRequiredParameterException"),
        ("", "MissingRequiredParameterException"),
        ("missing", "QueueDoesNotExist"),
        ("a name", "QueueDoesNotExist"),
        ("http://sqs.test/", "QueueDoesNotExist"),
        ("http://sqs.test/000000000000/missing", "QueueDoesNotExist"),
        ("http://sqs.test/111111111111/q", "QueueDoesNotExist"),
    ],
)
def test_wrong_queue_url_is_told(world, url, shape):
    create(world, "q")
    body = {} if url is None else {"QueueUrl": url}

    for action in ("PurgeQueue", "ReceiveMessage", "ListQueueTags", "DeleteQueue"):
        refused(world, shape, action, **body)


def test_get_queue_url_knows_names_and_owners(world):
    url = create(world, "q")

    assert world.do("GetQueueUrl", QueueName="q") == {"QueueUrl": url}
    refused(world, "QueueDoesNotExist", "GetQueueUrl", QueueName="other")
    refused(world, "QueueDoesNotExist", "GetQueueUrl", QueueName="q", QueueOwnerAWSAccountId="111111111111")


def test_list_queues_tells_pages_in_order_of_names(world):
    assert world.do("ListQueues") == {}
    urls = [create(world, name) for name in ("a1", "a2", "a3", "b")]

    first = world.do("ListQueues", QueueNamePrefix="a", MaxResults=2)
    rest = world.do("ListQueues", QueueNamePrefix="a", MaxResults=2, NextToken=first["NextToken"])

    assert first["QueueUrls"] + rest["QueueUrls"] == urls[:3]
    assert "NextToken" not in rest
    assert world.do("ListQueues")["QueueUrls"] == urls
    refused(world, "InvalidParameterValueException", "ListQueues", MaxResults=1_001)


def test_purge_removes_all_once_a_minute(world):
    url = create(world, "q")
    world.send(url)
    world.send(url)
    world.receive(url, 1)
    world.send(url, DelaySeconds=5)

    world.do("PurgeQueue", QueueUrl=url)
    message = refused(world, "PurgeQueueInProgress", "PurgeQueue", QueueUrl=url)

    assert message == "Only one PurgeQueue operation on q is allowed every 60 seconds."
    world.pass_time(60)
    assert world.bodies(url) == []
    world.do("PurgeQueue", QueueUrl=url)


def test_set_attributes_changes_what_is_named_and_nothing_else(world):
    url = create(world, "q", DelaySeconds="3")
    world.pass_time(100)

    world.do("SetQueueAttributes", QueueUrl=url, Attributes={"VisibilityTimeout": "69"})
    told = world.do("GetQueueAttributes", QueueUrl=url, AttributeNames=["All"])["Attributes"]

    assert (told["VisibilityTimeout"], told["DelaySeconds"]) == ("69", "3")
    assert (told["CreatedTimestamp"], told["LastModifiedTimestamp"]) == ("1800000000", "1800000100")


def test_get_attributes_tells_nothing_unasked_and_refuses_what_it_does_not_know(world):
    url = create(world, "q")

    assert world.do("GetQueueAttributes", QueueUrl=url) == {}
    assert world.do("GetQueueAttributes", QueueUrl=url, AttributeNames=["Policy", "RedrivePolicy"]) == {}
    refused(world, "InvalidAttributeName", "GetQueueAttributes", QueueUrl=url, AttributeNames=["Foo"])


def test_kind_of_a_queue_can_not_be_changed(world):
    url = create(world, "q.fifo", FifoQueue="true")

    message = refused(
        world, "InvalidAttributeValue", "SetQueueAttributes", QueueUrl=url, Attributes={"FifoQueue": "false"}
    )

    assert message == ("Invalid value for the parameter FifoQueue. Reason: Modifying queue type is not supported.")


def test_one_kind_of_encryption_at_a_time(world):
    url = create(world, "q")
    world.do("SetQueueAttributes", QueueUrl=url, Attributes={"KmsMasterKeyId": "key"})

    assert world.attribute(url, "SqsManagedSseEnabled") == "false"
    world.do("SetQueueAttributes", QueueUrl=url, Attributes={"SqsManagedSseEnabled": "true"})
    assert world.do("GetQueueAttributes", QueueUrl=url, AttributeNames=["KmsMasterKeyId"]) == {}
    refused(
        world,
        "InvalidAttributeName",
        "SetQueueAttributes",
        QueueUrl=url,
        Attributes={"KmsMasterKeyId": "key", "SqsManagedSseEnabled": "true"},
    )


@pytest.mark.parametrize(
    ("policy", "part"),
    [
        ({"deadLetterTargetArn": "dummy", "maxReceiveCount": 42}, "Invalid value for deadLetterTargetArn."),
        ({"deadLetterTargetArn": "arn:aws:sqs:eu-west-1:000000000000:no", "maxReceiveCount": 4}, "does not exist"),
        ({"deadLetterTargetArn": "arn:aws:sqs:eu-west-1:000000000000:dead"}, "mandatory attribute: maxReceiveCount"),
        ({"deadLetterTargetArn": "arn:aws:sqs:eu-west-1:000000000000:dead", "maxReceiveCount": 0}, "from 1 to 1000"),
        ({"deadLetterTargetArn": "arn:aws:sqs:eu-west-1:000000000000:dead", "maxReceiveCount": 1001}, "from 1 to 1000"),
        ({"deadLetterTargetArn": "arn:aws:sqs:eu-west-1:000000000000:dead.fifo", "maxReceiveCount": 4}, "same type"),
        ({"deadLetterTargetArn": "arn:aws:sqs:eu-west-1:000000000000:deny", "maxReceiveCount": 4}, "does not allow"),
        ({"deadLetterTargetArn": "arn:aws:sqs:eu-west-1:000000000000:some", "maxReceiveCount": 4}, "does not allow"),
    ],
)
def test_wrong_redrive_policy_is_refused(world, policy, part):
    create(world, "dead")
    create(world, "dead.fifo", FifoQueue="true")
    create(world, "deny", RedriveAllowPolicy='{"redrivePermission": "denyAll"}')
    allowed = {"redrivePermission": "byQueue", "sourceQueueArns": [world.arn("friend")]}
    create(world, "some", RedriveAllowPolicy=json.dumps(allowed))

    message = refused(
        world,
        "InvalidParameterValueException",
        "CreateQueue",
        QueueName="q",
        Attributes={"RedrivePolicy": json.dumps(policy)},
    )

    assert part in message


def test_redrive_allow_policy_lets_the_named_queue_in(world):
    allowed = {"redrivePermission": "byQueue", "sourceQueueArns": [world.arn("friend")]}
    dead = create(world, "dead", RedriveAllowPolicy=json.dumps(allowed))

    url = create(world, "friend", RedrivePolicy=world.redrive("dead", "3"))

    assert world.do("ListDeadLetterSourceQueues", QueueUrl=dead) == {"queueUrls": [url]}
    assert world.do("ListDeadLetterSourceQueues", QueueUrl=url) == {"queueUrls": []}


def test_empty_redrive_policy_takes_it_away(world):
    dead = create(world, "dead")
    url = create(world, "q", RedrivePolicy=world.redrive("dead", 3))

    world.do("SetQueueAttributes", QueueUrl=url, Attributes={"RedrivePolicy": ""})

    assert world.do("ListDeadLetterSourceQueues", QueueUrl=dead) == {"queueUrls": []}


def test_tags_are_added_replaced_and_taken_away(world):
    url = create(world, "q", {"a": "1"})

    world.do("TagQueue", QueueUrl=url, Tags={"a": "2", "b": ""})
    assert world.do("ListQueueTags", QueueUrl=url) == {"Tags": {"a": "2", "b": ""}}
    world.do("UntagQueue", QueueUrl=url, TagKeys=["a", "b", "c"])

    assert world.do("ListQueueTags", QueueUrl=url) == {}


@pytest.mark.parametrize(
    "tags", [{"": "x"}, {"k" * 129: "x"}, {"k": "v" * 257}, {"aws:k": "x"}, {f"k{n}": "" for n in range(51)}]
)
def test_wrong_tags_are_refused(world, tags):
    url = create(world, "q")

    refused(world, "InvalidParameterValueException", "TagQueue", QueueUrl=url, Tags=tags)


def test_permissions_make_and_unmake_the_policy(world):
    url = create(world, "q")
    fields = {"QueueUrl": url, "Label": "l", "AWSAccountIds": ["111111111111"], "Actions": ["ReceiveMessage"]}

    world.do("AddPermission", **fields)
    assert json.loads(world.attribute(url, "Policy")) == {
        "Version": "2008-10-17",
        "Id": "arn:aws:sqs:eu-west-1:000000000000:q/SQSDefaultPolicy",
        "Statement": [
            {
                "Sid": "l",
                "Effect": "Allow",
                "Principal": {"AWS": "arn:aws:iam::111111111111:root"},
                "Action": "SQS:ReceiveMessage",
                "Resource": "arn:aws:sqs:eu-west-1:000000000000:q",
            }
        ],
    }
    assert "Already exists" in refused(world, "InvalidParameterValueException", "AddPermission", **fields)
    refused(world, "InvalidParameterValueException", "AddPermission", **{**fields, "Label": "m", "Actions": ["Fly"]})
    world.do("RemovePermission", QueueUrl=url, Label="l")

    assert world.do("GetQueueAttributes", QueueUrl=url, AttributeNames=["Policy"]) == {}
    refused(world, "InvalidParameterValueException", "RemovePermission", QueueUrl=url, Label="l")


def test_request_with_a_wrong_type_is_told_where(world):
    message = refused(world, "SerializationException", "ReceiveMessage", QueueUrl="x", MaxNumberOfMessages="ten")

    assert "MaxNumberOfMessages" in message
