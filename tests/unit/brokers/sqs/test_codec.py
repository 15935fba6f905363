"""Requests and answers: the protocol's own tests, checksums, and answers that are none."""

import json
from base64 import b64encode
from pathlib import Path

import pytest

from mulligan.brokers.sqs import codec
from mulligan.brokers.sqs.codec import Answered, Failure, InvalidResponse, SendEntry, ServiceError, WireAttribute
from mulligan.brokers.sqs.sign import Keys, Signer
from mulligan.core.message import Typed

CASES = json.loads((Path(__file__).parent / "vectors/protocol/cases.json").read_text(encoding="utf-8"))
ERRORS = [case for case in CASES if "errorCode" in case]
RESULTS = [case for case in CASES if "result" in case]
REQUESTS = [case for case in CASES if case["kind"] == "input"]
URL = "https://sqs.eu-west-1.amazonaws.com/000000000000/q"
HELLO_MD5 = "5d41402abc4b2a76b9719d911017c592"


def message(**changes):
    plain = {
        "MessageId": "m-1",
        "ReceiptHandle": "handle",
        "Body": "hello",
        "MD5OfBody": HELLO_MD5,
        "Attributes": {"SentTimestamp": "1700000000123", "ApproximateReceiveCount": "2"},
    }
    return plain | changes


def receive_answer(*messages):
    return json.dumps({"Messages": list(messages)}).encode()


# -- the protocol's tests ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", ERRORS, ids=lambda case: case["id"])
def test_read_error_finds_the_code_of(case):
    response = case["response"]
    headers = {name.lower().encode(): text.encode() for name, text in response.get("headers", {}).items()}

    error = codec.read_error(response["status_code"], headers, response.get("body", "").encode())

    assert error is not None
    assert error.code == case["errorCode"]
    assert error.message == (case.get("errorMessage") or "")


@pytest.mark.parametrize("case", RESULTS, ids=lambda case: case["id"])
def test_read_object_takes_the_empty_answer_of(case):
    found = codec.read_object(case["response"]["body"].encode())

    assert {name: found[name] for name in case["result"]} == case["result"]


@pytest.mark.parametrize("case", REQUESTS, ids=lambda case: case["id"])
def test_signer_sends_the_headers_of(case):
    target, action = case["serialized"]["headers"]["X-Amz-Target"].split(".")
    signer = Signer(Keys("AKID", "secret"), region="eu-west-1", host="h", target=target)
    body = codec.encode(case["params"])

    head = signer.head(action, "0" * 64, len(body), 1440938160.0).decode()

    assert body == case["serialized"]["body"].encode()
    assert head.startswith("POST / HTTP/1.1\r\n")
    for name, text in case["serialized"]["headers"].items():
        assert f"\r\n{name.lower()}: {text}\r\n" in head


# -- requests ---------------------------------------------------------------------------------------------------------


def test_receive_request_asks_for_all_attributes_of_messages():
    assert json.loads(codec.receive_request(URL, 10, 20, 60)) == {
        "QueueUrl": URL,
        "MaxNumberOfMessages": 10,
        "WaitTimeSeconds": 20,
        "VisibilityTimeout": 60,
        "MessageSystemAttributeNames": ["SentTimestamp", "ApproximateReceiveCount", "MessageGroupId", "AWSTraceHeader"],
        "MessageAttributeNames": ["All"],
    }


def test_receive_request_carries_the_attempt_id_when_there_is_one():
    assert json.loads(codec.receive_request(URL, 1, 0, 1, "again"))["ReceiveRequestAttemptId"] == "again"


def test_batch_requests_number_their_entries():
    assert json.loads(codec.delete_request(URL, ["a", 'quo"te'])) == {
        "QueueUrl": URL,
        "Entries": [{"Id": "0", "ReceiptHandle": "a"}, {"Id": "1", "ReceiptHandle": 'quo"te'}],
    }
    assert json.loads(codec.visibility_request(URL, [("a", 0), ("b", 43200)])) == {
        "QueueUrl": URL,
        "Entries": [
            {"Id": "0", "ReceiptHandle": "a", "VisibilityTimeout": 0},
            {"Id": "1", "ReceiptHandle": "b", "VisibilityTimeout": 43200},
        ],
    }


def test_send_request_leaves_out_what_is_not_set():
    entry = SendEntry("0", "text")
    full = SendEntry("1", "é", 5, {"n": WireAttribute("Binary", None, b"\x00\xff")}, "group", "once")

    assert json.loads(codec.send_request(URL, [entry, full]))["Entries"] == [
        {"Id": "0", "MessageBody": "text"},
        {
            "Id": "1",
            "MessageBody": "é",
            "DelaySeconds": 5,
            "MessageAttributes": {"n": {"DataType": "Binary", "BinaryValue": "AP8="}},
            "MessageGroupId": "group",
            "MessageDeduplicationId": "once",
        },
    ]


# -- receive ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [b"{}", b' {"Messages": []}', b'{"Messages":null}'])
def test_read_receive_takes_an_empty_queue_for_one_when_the_service_says_so(body):
    assert codec.read_receive(body) == ([], [])


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"   ",
        b"<html><body>503 Service Unavailable</body></html>",
        b"[]",
        b"null",
        b'"ok"',
        b'{"error": "try again"}',
        b'{"message": "Forbidden"}',
        b'{"Messages": [',
        b'{"Messages": "none"}',
        b"\xff\xfe{}",
    ],
)
def test_read_receive_never_takes_for_an_empty_queue(body):
    with pytest.raises(InvalidResponse):
        codec.read_receive(body)


def test_read_receive_gives_messages_with_their_attributes():
    attributes = {"n": {"DataType": "Number", "StringValue": "1493147359900"}}
    given = message(MessageAttributes=attributes, MD5OfMessageAttributes="08b5fd2a54e67d1dbbd2a1ea7e0b3a41")
    known = message(
        MessageAttributes={"timestamp": attributes["n"]}, MD5OfMessageAttributes="235c5c510d26fb653d073faed50ae77c"
    )

    good, problems = codec.read_receive(receive_answer(known, given, message(MessageId="m-2")))

    assert [item.message_id for item in good] == ["m-1", "m-2"]
    assert good[0].message_attributes is not None
    assert codec.read_attributes(good[0].message_attributes) == {"timestamp": Typed("Number", "1493147359900")}
    assert len(problems) == 1


@pytest.mark.parametrize(
    "damage",
    [
        {"MD5OfBody": "0" * 32},
        {"Body": "hellO"},
        {"MD5OfMessageAttributes": "0" * 32},
        {"Attributes": {"SentTimestamp": "soon", "ApproximateReceiveCount": "1"}},
        {"Attributes": {}},
        {"Body": 7},
        {"ReceiptHandle": None},
        {"MessageAttributes": {"b": {"DataType": "Binary", "BinaryValue": "not base64!"}}},
    ],
    ids=str,
)
def test_read_receive_leaves_out_only_the_damaged_message(damage):
    body = receive_answer(message(MessageId="a"), message(**damage), message(MessageId="b"))

    good, problems = codec.read_receive(body)

    assert [item.message_id for item in good] == ["a", "b"]
    assert len(problems) == 1


# -- attributes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("attributes", "digest"),  # as the service answered them
    [
        ({"timestamp": Typed("Number", "1493147359900")}, "235c5c510d26fb653d073faed50ae77c"),
        ({"timestamp": Typed("Number", "1493147359901")}, "994258b45346a2cc3f9cbb611aa7af30"),
        ({"SOME_Valid.attribute-Name": Typed("Number", "1493147359900")}, "36655e7e9d7c0e8479fa3f3f42247ae7"),
    ],
)
def test_attributes_md5_is_that_of_the_service(attributes, digest):
    assert codec.attributes_md5(codec.wire_attributes(attributes)) == digest


def test_attributes_md5_sorts_by_name_and_tells_text_from_bytes():
    text = codec.wire_attributes({"b": "1", "a": "2"})
    other_order = codec.wire_attributes({"a": "2", "b": "1"})
    binary = codec.wire_attributes({"b": b"1", "a": "2"})

    assert codec.attributes_md5(text) == codec.attributes_md5(other_order)
    assert codec.attributes_md5(text) != codec.attributes_md5(binary)


def test_attributes_of_every_kind_come_back_as_they_were_sent():
    attributes = {
        "text": "é",
        "bytes": b"\x00\xff",
        "number": Typed("Number", "1.50"),
        "json": Typed("String.json", "{}"),
        "png": Typed("Binary.png", b"\x89PNG"),
    }

    assert codec.read_attributes(codec.wire_attributes(attributes)) == attributes


# -- batches ----------------------------------------------------------------------------------------------------------


def batch_answer(successful=(), failed=()):
    return json.dumps({"Successful": list(successful), "Failed": list(failed)}).encode()


def test_read_batch_puts_each_answer_in_its_place():
    failed = {"Id": "1", "Code": "InternalError", "Message": "later", "SenderFault": False}

    answers, bad_count = codec.read_batch(batch_answer([{"Id": "2"}, {"Id": "0"}], [failed]), 4)

    assert answers == [Answered("0"), Failure("1", "InternalError", "later", False), Answered("2"), None]
    assert bad_count == 2


def test_read_batch_counts_an_entry_as_bad_when_it_is_named_twice_and_once_as_failed():
    answers, bad_count = codec.read_batch(
        batch_answer([{"Id": "0"}, {"Id": "0"}], [{"Id": "0", "Code": "x", "SenderFault": True}]), 1
    )

    assert isinstance(answers[0], Failure)
    assert bad_count == 1


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b"<html/>",
        batch_answer([{"Id": "7"}]),
        batch_answer([{"Id": "-1"}]),
        batch_answer([{"Id": "x"}]),
        b'{"Successful":{}}',
    ],
)
def test_read_batch_takes_no_answer_that_tells_nothing_of_what_was_sent(body):
    with pytest.raises(InvalidResponse):
        codec.read_batch(body, 2)


def test_sent_problem_tells_another_checksum_from_none():
    entry = SendEntry("0", "hello", 0, {"timestamp": WireAttribute("Number", "1493147359900")})

    assert codec.sent_problem(entry, Answered("0")) is None
    assert codec.sent_problem(entry, Answered("0", HELLO_MD5, "235c5c510d26fb653d073faed50ae77c")) is None
    assert "a different body" in (codec.sent_problem(entry, Answered("0", "0" * 32)) or "")
    assert "different attributes" in (codec.sent_problem(entry, Answered("0", HELLO_MD5, "0" * 32)) or "")


# -- errors -----------------------------------------------------------------------------------------------------------


def test_read_error_prefers_the_old_code_that_it_asked_for():
    headers = {b"x-amzn-query-error": b"AWS.SimpleQueueService.NonExistentQueue;Sender"}
    body = b'{"__type":"com.amazonaws.sqs#QueueDoesNotExist","message":"The specified queue does not exist."}'

    assert codec.read_error(400, headers, body) == ServiceError(
        400, "AWS.SimpleQueueService.NonExistentQueue", "The specified queue does not exist."
    )
    assert codec.read_error(400, {}, body) == ServiceError(
        400, "QueueDoesNotExist", "The specified queue does not exist."
    )


@pytest.mark.parametrize("body", [b"", b"<html>502</html>", b"[1]", b'{"__type": 7}', b'{"message": "no code"}'])
def test_read_error_finds_none_in(body):
    assert codec.read_error(502, {}, body) is None


def test_binary_attribute_is_base64_once_on_the_wire():
    body = codec.send_request(URL, [SendEntry("0", "x", 0, codec.wire_attributes({"b": b"\x00\x01\x02"}))])

    wire = json.loads(body)["Entries"][0]["MessageAttributes"]["b"]
    assert wire == {"DataType": "Binary", "BinaryValue": b64encode(b"\x00\x01\x02").decode()}
