import base64
import hashlib

import pytest

from mulligan.servers.sqs.wire.error import SqsError

MIB = 1_048_576


def text(content, kind="String"):
    return {"DataType": kind, "StringValue": content}


def refused(world, shape, url, body="x", **fields):
    with pytest.raises(SqsError) as error:
        world.send(url, body, **fields)
    assert error.value.shape == shape
    return error.value.message


def test_send_message_answers_id_and_checksums(world):
    url = world.queue()

    told = world.send(url, "hällo", MessageAttributes={"name": text("value")})

    assert told["MD5OfMessageBody"] == hashlib.md5("hällo".encode()).hexdigest()
    assert "SequenceNumber" not in told
    assert world.receive(url)[0]["MessageId"] == told["MessageId"]


def test_checksum_of_attributes_is_the_services_own(world):
    # recorded from the service: three String attributes
    url = world.queue()

    told = world.send(
        url, "msg", MessageAttributes={"Help.Me": text("Me"), "Hello": text("There"), "General": text("Kenobi")}
    )

    assert told["MD5OfMessageAttributes"] == "4c360f3fdafd970e05fae2f149d997f5"


def test_checksum_of_binary_attributes_is_the_services_own(world):
    url = world.queue()
    content = b"traceparent\x1e00-774062d6c37081a5a0b9b5b88e30627c-2d2482211f6489da-01"

    told = world.send(
        url,
        "test",
        MessageAttributes={"attr1": {"DataType": "Binary", "BinaryValue": base64.b64encode(content).decode()}},
    )

    assert told["MD5OfMessageAttributes"] == "8cbe4db156db8a94db8b801b7addb984"


@pytest.mark.parametrize("char", ["\x00", "\x0b", "\x1b", "\ufffe", "\uffff"])
def test_send_message_refuses_a_character_outside_the_allowed_set(world, char):
    refused(world, "InvalidMessageContents", world.queue(), f"a{char}b")


@pytest.mark.parametrize(
    "char", ["\t", "\n", "\r", " ", "\x7f", "\ud7ff", "\ue000", "\ufffd", "\U00010000", "\U0010ffff"]
)
def test_send_message_takes_every_allowed_character_unchanged(world, char):
    url = world.queue()

    world.send(url, f"a{char}b")

    assert world.bodies(url) == [f"a{char}b"]


def test_send_message_refuses_a_lone_surrogate(world):
    url = world.queue()
    with pytest.raises(SqsError) as error:
        world.send(url, "a\ud800b")
    assert error.value.shape == "InvalidMessageContents"


def test_send_message_refuses_an_empty_body(world):
    refused(world, "MissingRequiredParameterException", world.queue(), "")


def test_send_message_takes_exactly_the_size_limit_and_not_a_byte_more(world):
    url = world.queue()
    attributes = {"name": text("value")}  # 4 + 6 + 5 bytes

    world.send(url, "x" * (MIB - 15), MessageAttributes=attributes)
    message = refused(world, "InvalidParameterValueException", url, "x" * (MIB - 14), MessageAttributes=attributes)

    assert message == "One or more parameters are invalid. Reason: Message must be shorter than 1048576 bytes."


def test_size_counts_bytes_not_characters(world):
    url = world.queue(MaximumMessageSize="1024")

    world.send(url, "ä" * 512)

    refused(world, "InvalidParameterValueException", url, "ä" * 513)


@pytest.mark.parametrize(
    ("attributes", "part"),
    [
        (
            {f"a{n}": text("x") for n in range(11)},
            "Number of message attributes [11] exceeds the allowed maximum [10].",
        ),
        ({"AWS.x": text("x")}, "beginning with 'AWS.'"),
        ({"amazon.x": text("x")}, "beginning with 'AWS.'"),
        ({".x": text("x")}, "start or end with '.'"),
        ({"x.": text("x")}, "start or end with '.'"),
        ({"x..y": text("x")}, "succession"),
        ({"x y": text("x")}, "can only contain"),
        ({"": text("x")}, "between 1 and 256"),
        ({"x" * 257: text("x")}, "between 1 and 256"),
        ({"x": text("")}, "must contain a non-empty value of type 'String'"),
        ({"x": {"DataType": "Binary", "BinaryValue": ""}}, "must contain a non-empty value of type 'Binary'"),
        ({"x": {"DataType": "Binary", "StringValue": "x"}}, "must contain a non-empty value of type 'Binary'"),
        ({"x": {"DataType": "String", "BinaryValue": "AAE="}}, "must contain a non-empty value of type 'String'"),
        ({"x": {"StringValue": "x"}}, "non-empty message attribute type"),
        ({"x": text("x", "Text")}, "supported type prefixes"),
        ({"x": text("x", "String.")}, "supported type prefixes"),
        ({"x": text("x", "Stringy")}, "supported type prefixes"),
        ({"x": text("x", "String." + "l" * 250)}, "shorter than 256"),
        ({"x": text("abc", "Number")}, "to a number"),
        ({"x": text("1" * 39, "Number")}, "to a number"),
        ({"x": text("a\x00")}, "Invalid binary character"),
    ],
)
def test_send_message_refuses_a_wrong_attribute(world, attributes, part):
    message = refused(world, "InvalidParameterValueException", world.queue(), MessageAttributes=attributes)

    assert part in message


def test_send_message_refuses_list_values(world):
    refused(
        world,
        "UnsupportedOperation",
        world.queue(),
        MessageAttributes={"x": {"DataType": "String", "StringListValues": ["a"], "StringValue": "a"}},
    )


def test_attributes_come_back_as_they_were_sent(world):
    url = world.queue()
    sent = {
        "text": text("x"),
        "number": text("1.50", "Number"),
        "labelled": text("x", "String.json"),
        "bytes": {"DataType": "Binary", "BinaryValue": "AAE="},
        "gif": {"DataType": "Binary.gif", "BinaryValue": "AAE="},
    }

    world.send(url, MessageAttributes=sent)
    told = world.receive(url, MessageAttributeNames=["All"])[0]["MessageAttributes"]

    assert told == {
        **sent,
        "bytes": {"DataType": "Binary", "BinaryValue": b"\x00\x01"},
        "gif": {"DataType": "Binary.gif", "BinaryValue": b"\x00\x01"},
    }


@pytest.mark.parametrize("delay", [-1, 901])
def test_send_message_refuses_a_delay_out_of_range(world, delay):
    refused(world, "InvalidParameterValueException", world.queue(), DelaySeconds=delay)


def test_send_message_hides_the_message_for_its_delay(world):
    url = world.queue()

    world.send(url, "late", DelaySeconds=900)

    assert world.bodies(url) == []
    world.pass_time(900)
    assert world.bodies(url) == ["late"]


def test_send_message_takes_the_queues_delay_when_it_has_none(world):
    url = world.queue(DelaySeconds="5")
    world.send(url, "late")
    world.send(url, "now", DelaySeconds=0)

    assert world.bodies(url) == ["now"]
    world.pass_time(5)
    assert world.bodies(url) == ["late"]


def test_trace_header_is_told_and_other_system_attributes_are_refused(world):
    url = world.queue()

    told = world.send(url, MessageSystemAttributes={"AWSTraceHeader": text("Root=1")})

    assert len(told["MD5OfMessageSystemAttributes"]) == 32
    assert world.receive(url, AttributeNames=["AWSTraceHeader"])[0]["Attributes"] == {"AWSTraceHeader": "Root=1"}
    refused(world, "InvalidParameterValueException", url, MessageSystemAttributes={"SenderId": text("x")})


def test_standard_queue_takes_a_group_but_no_deduplication_id(world):
    url = world.queue()

    world.send(url, MessageGroupId="tenant")

    assert world.receive(url, AttributeNames=["All"])[0]["Attributes"]["MessageGroupId"] == "tenant"
    refused(world, "InvalidParameterValueException", url, MessageDeduplicationId="d")


def entry(number, body="x", **fields):
    return {"Id": f"e{number}", "MessageBody": body, **fields}


def test_send_batch_answers_entry_by_entry(world):
    url = world.queue()

    told = world.do(
        "SendMessageBatch",
        QueueUrl=url,
        Entries=[entry(1), entry(2, "\x00"), entry(3, DelaySeconds=901), entry(4, "y")],
    )

    assert [item["Id"] for item in told["Successful"]] == ["e1", "e4"]
    assert [(item["Id"], item["Code"], item["SenderFault"]) for item in told["Failed"]] == [
        ("e2", "InvalidMessageContents", True),
        ("e3", "InvalidParameterValue", True),
    ]
    assert world.bodies(url) == ["x", "y"]


@pytest.mark.parametrize(
    ("entries", "shape"),
    [
        ([], "EmptyBatchRequest"),
        ([entry(n) for n in range(11)], "TooManyEntriesInBatchRequest"),
        ([entry(1), entry(1)], "BatchEntryIdsNotDistinct"),
        ([{"Id": "a b", "MessageBody": "x"}], "InvalidBatchEntryId"),
        ([{"Id": "", "MessageBody": "x"}], "InvalidBatchEntryId"),
        ([{"Id": "i" * 81, "MessageBody": "x"}], "InvalidBatchEntryId"),
        ([entry(n, "x" * 600_000) for n in range(2)], "BatchRequestTooLong"),
    ],
)
def test_send_batch_refuses_a_wrong_batch_as_a_whole(world, entries, shape):
    url = world.queue()

    with pytest.raises(SqsError) as error:
        world.do("SendMessageBatch", QueueUrl=url, Entries=entries)

    assert error.value.shape == shape
    assert world.bodies(url) == []


def test_send_batch_takes_exactly_a_mebibyte(world):
    url = world.queue()

    told = world.do("SendMessageBatch", QueueUrl=url, Entries=[entry(n, "x" * (MIB // 2)) for n in range(2)])

    assert len(told["Successful"]) == 2


def test_fail_entries_fault_hits_entries_of_a_batch_and_leaves_the_others(world):
    url = world.queue()
    world.go_wrong(failing_share=0.5, failing_code="InternalFailure", failing_text="as asked")

    told = world.do("SendMessageBatch", QueueUrl=url, Entries=[entry(n) for n in range(10)])

    assert 0 < len(told["Failed"]) < 10
    assert told["Failed"][0] | {"Id": ""} == {
        "Id": "",
        "Code": "InternalError",
        "Message": "as asked",
        "SenderFault": False,
    }
    assert len(world.bodies(url)) == len(told["Successful"])
