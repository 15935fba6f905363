import json
import time

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError, ReadTimeoutError

from mulligan.core.error import ConfigurationError
from mulligan.servers.sqs.auth import key
from mulligan.servers.sqs.auth.key import Key
from mulligan.servers.sqs.faults import script
from mulligan.servers.sqs.faults.script import Rule, Script


@pytest.fixture
def faulty(running):
    """A server with one message in its queue, and a way to set a fault for one call."""
    running.url = running.client().create_queue(QueueName="q")["QueueUrl"]
    running.client().send_message(QueueUrl=running.url, MessageBody="x")

    def play(item, action="*", **fields):
        running.server.faults.play(Script((Rule(item, action, **fields),)))

    running.play = play
    return running


def receive(running, **config):
    return running.client(**config).receive_message(QueueUrl=running.url, MaxNumberOfMessages=10).get("Messages", [])


def code_of(call):
    with pytest.raises(ClientError) as error:
        call()
    return error.value.response["Error"]["Code"], error.value.response["ResponseMetadata"]["HTTPStatusCode"]


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        (script.Throttle(), ("RequestThrottled", 400)),
        (script.Throttle("ThrottlingException"), ("ThrottlingException", 400)),
        (script.Throttle("KmsThrottled"), ("KMS.ThrottlingException", 400)),
        (script.Fail(), ("ServiceUnavailable", 503)),
        (script.Fail("InternalFailure"), ("InternalError", 500)),
        (script.Fail("ExpiredTokenException"), ("ExpiredToken", 403)),
        (script.Fail("AccessDeniedException"), ("AccessDenied", 403)),
        (script.Fail("MessageNotInflight"), ("AWS.SimpleQueueService.MessageNotInflight", 400)),
        (script.Fail("KmsDisabled"), ("KMS.DisabledException", 400)),
        (script.Fail("InvalidSecurity"), ("InvalidSecurity", 400)),
        (script.Html(502), ("502", 502)),
    ],
)
def test_error_fault_comes_instead_of_the_action(faulty, item, expected):
    faulty.play(item, times=1)

    assert code_of(lambda: receive(faulty)) == expected
    assert [message["Body"] for message in receive(faulty)] == ["x"]


def test_throttled_boto3_gets_through_by_trying_again(faulty):
    faulty.play(script.Throttle(), times=2)

    assert receive(faulty, retries={"total_max_attempts": 5, "mode": "standard"})
    assert faulty.server.counters.snapshot()["requests"]["ReceiveMessage"] == {"RequestThrottled": 2, "ok": 1}


def test_cut_before_the_action_changes_nothing(faulty):
    faulty.play(script.Cut("before"), "SendMessage", times=1)

    with pytest.raises(ConnectionClosedError):
        faulty.client().send_message(QueueUrl=faulty.url, MessageBody="y")

    assert [message["Body"] for message in receive(faulty)] == ["x"]


def test_half_a_reply_is_half_a_reply(faulty):
    faulty.play(script.Cut("after", -5), "SendMessage", times=1)

    told = faulty.client().send_message(QueueUrl=faulty.url, MessageBody="y")

    assert "MessageId" not in told  # boto3 takes what it can't read for an empty answer, and for a success
    assert [message["Body"] for message in receive(faulty)] == ["x", "y"]


def test_lost_reply_leaves_the_message_sent(faulty):
    faulty.play(script.Cut("after"), "SendMessage", times=1)

    with pytest.raises(ConnectionClosedError):
        faulty.client().send_message(QueueUrl=faulty.url, MessageBody="y")

    assert [message["Body"] for message in receive(faulty)] == ["x", "y"]


def test_lost_reply_that_is_tried_again_makes_two_messages(faulty):
    faulty.play(script.Cut("after"), "SendMessage", times=1)

    faulty.client(retries={"total_max_attempts": 3}).send_message(QueueUrl=faulty.url, MessageBody="y")

    assert [message["Body"] for message in receive(faulty)] == ["x", "y", "y"]


def test_black_hole_never_answers(faulty):
    faulty.play(script.BlackHole(), "ListQueues", times=1)

    with pytest.raises(ReadTimeoutError):
        faulty.client(read_timeout=0.3).list_queues()

    assert faulty.client().list_queues()["QueueUrls"]


def test_black_hole_after_the_action_leaves_it_done(faulty):
    faulty.play(script.BlackHole("after"), "SendMessage", times=1)

    with pytest.raises(ReadTimeoutError):
        faulty.client(read_timeout=0.3).send_message(QueueUrl=faulty.url, MessageBody="y")

    assert [message["Body"] for message in receive(faulty)] == ["x", "y"]


def test_delay_comes_late(faulty):
    faulty.play(script.Delay(0.3))
    begun = time.monotonic()

    assert receive(faulty)
    assert time.monotonic() - begun >= 0.3


def test_false_empty_ends_even_a_long_poll_at_once(faulty):
    faulty.play(script.Empty(), times=1)

    assert "Messages" not in faulty.client().receive_message(QueueUrl=faulty.url, WaitTimeSeconds=20)
    assert receive(faulty)


def test_duplicate_comes_back_after_its_deletion(faulty):
    faulty.play(script.Duplicate(), "ReceiveMessage", times=1)
    sqs = faulty.client()
    first = receive(faulty)[0]
    sqs.delete_message(QueueUrl=faulty.url, ReceiptHandle=first["ReceiptHandle"])

    assert [message["MessageId"] for message in receive(faulty)] == [first["MessageId"]]


def test_early_expiry_makes_the_handle_stale_before_its_time(faulty):
    faulty.play(script.ExpireEarly(0.0), "ReceiveMessage", times=1)
    old = receive(faulty)[0]["ReceiptHandle"]
    again = receive(faulty)

    faulty.client().delete_message(QueueUrl=faulty.url, ReceiptHandle=old)

    assert len(again) == 1
    attributes = faulty.client().get_queue_attributes(QueueUrl=faulty.url, AttributeNames=["All"])["Attributes"]
    assert attributes["ApproximateNumberOfMessagesNotVisible"] == "1"


def test_entries_of_a_batch_fail_and_the_rest_is_done(faulty):
    faulty.play(script.FailEntries(share=0.5, is_sender_fault=True, code="AccessDeniedException"), "SendMessageBatch")

    entries = [{"Id": str(number), "MessageBody": "y"} for number in range(10)]
    told = faulty.client().send_message_batch(QueueUrl=faulty.url, Entries=entries)

    assert 0 < len(told["Failed"]) < 10
    assert {(item["Code"], item["SenderFault"]) for item in told["Failed"]} == {("AccessDenied", True)}
    assert len(told["Successful"]) + len(told["Failed"]) == 10


def test_skewed_clock_refuses_the_signature_and_tells_its_time(faulty):
    faulty.play(script.Skew(3600.0), times=1)

    with pytest.raises(ClientError) as error:
        faulty.client().list_queues()

    response = error.value.response
    assert response["Error"]["Code"] == "SignatureDoesNotMatch"
    assert response["Error"]["Message"].startswith("Signature expired")
    here = time.strptime(response["ResponseMetadata"]["HTTPHeaders"]["date"], "%a, %d %b %Y %H:%M:%S GMT")
    assert 3500 < time.mktime(here) - time.mktime(time.gmtime()) < 3700


def test_role_may_do_what_it_is_allowed_and_nothing_else(start):
    one = start(
        keys=[
            Key("admin", "a"),
            Key("worker", "w", token="t", actions=frozenset({"ReceiveMessage", "DeleteMessage"})),
            Key("expired", "e", token="t", expires_at=1.0),
        ]
    )
    url = one.client("admin", "a").create_queue(QueueName="q")["QueueUrl"]
    worker = one.client("worker", "w", "t")

    assert "Messages" not in worker.receive_message(QueueUrl=url)
    worker.delete_message_batch(QueueUrl=url, Entries=[{"Id": "1", "ReceiptHandle": "x"}])  # a batch needs no more
    with pytest.raises(ClientError) as error:
        worker.send_message_batch(QueueUrl=url, Entries=[{"Id": "1", "MessageBody": "x"}])
    assert error.value.response["Error"]["Code"] == "AccessDenied"
    assert "is not authorized to perform: sqs:sendmessage on resource: arn:aws:sqs:eu-west-1:000000000000:q" in str(
        error.value
    )
    assert code_of(one.client("expired", "e", "t").list_queues) == ("ExpiredToken", 403)
    assert code_of(one.client("admin", "wrong").list_queues) == ("SignatureDoesNotMatch", 403)
    assert code_of(one.client("nobody", "x").list_queues) == ("InvalidClientTokenId", 403)
    assert one.server.counters.snapshot()["requests"]["SendMessageBatch"] == {"AccessDeniedException": 1}


def test_policy_allows_an_action_on_its_queues_only(start, tmp_path):
    statement = {"Effect": "Allow", "Action": "sqs:SendM*", "Resource": ["arn:aws:sqs:eu-west-?:*:requests"]}
    find = {"Effect": "Allow", "Action": ["sqs:getqueueurl"], "Resource": "arn:aws:sqs:*:*:requests"}
    file = tmp_path / "keys.json"
    document = {"Version": "2012-10-17", "Statement": [statement, find]}
    file.write_text(json.dumps([{"id": "p", "secret": "s", "policy": document}]))
    one = start(keys=[Key("admin", "a"), *key.read(file)])
    for name in ("requests", "dead"):
        one.client("admin", "a").create_queue(QueueName=name)
    client = one.client("p", "s")

    url = client.get_queue_url(QueueName="requests")["QueueUrl"]
    client.send_message(QueueUrl=url, MessageBody="x")

    assert code_of(lambda: client.get_queue_url(QueueName="dead")) == ("AccessDenied", 403)
    assert code_of(lambda: client.send_message(QueueUrl=url.replace("requests", "dead"), MessageBody="x")) == (
        "AccessDenied",
        403,
    )
    assert code_of(lambda: client.receive_message(QueueUrl=url)) == ("AccessDenied", 403)
    assert code_of(client.list_queues) == ("AccessDenied", 403)


def test_policy_that_says_more_than_the_server_knows_is_refused(tmp_path):
    file = tmp_path / "keys.json"
    statement = {"Effect": "Allow", "Action": "*", "Resource": "*", "Condition": {}}
    file.write_text(json.dumps([{"id": "p", "secret": "s", "policy": {"Statement": [statement]}}]))

    with pytest.raises(ConfigurationError, match="Condition"):
        key.read(file)
