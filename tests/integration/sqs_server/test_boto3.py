import json
import threading
import time

import pytest
from botocore.exceptions import ClientError

from mulligan.servers.sqs.actions.context import Limits
from mulligan.servers.sqs.wire.schema import REQUESTS


def failure(call, **fields):
    with pytest.raises(ClientError) as error:
        call(**fields)
    return error.value.response


def test_every_action_answers_what_boto3_understands(running, sqs):
    dead = sqs.create_queue(QueueName="dead")["QueueUrl"]
    dead_arn = sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    redrive = json.dumps({"deadLetterTargetArn": dead_arn, "maxReceiveCount": 1})
    url = sqs.create_queue(QueueName="q", Attributes={"RedrivePolicy": redrive}, tags={"a": "b"})["QueueUrl"]

    assert sqs.get_queue_url(QueueName="q")["QueueUrl"] == url
    assert sqs.list_queues()["QueueUrls"] == [dead, url]
    assert sqs.list_dead_letter_source_queues(QueueUrl=dead)["queueUrls"] == [url]
    sqs.tag_queue(QueueUrl=url, Tags={"c": "d"})
    sqs.untag_queue(QueueUrl=url, TagKeys=["a"])
    assert sqs.list_queue_tags(QueueUrl=url)["Tags"] == {"c": "d"}
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": "5"})
    sqs.add_permission(QueueUrl=url, Label="l", AWSAccountIds=["111111111111"], Actions=["SendMessage"])
    sqs.remove_permission(QueueUrl=url, Label="l")

    attributes = {
        "text": {"DataType": "String", "StringValue": "höhe"},
        "number": {"DataType": "Number", "StringValue": "1.50"},
        "bytes": {"DataType": "Binary", "BinaryValue": b"\x00\xff"},
    }
    sqs.send_message(QueueUrl=url, MessageBody="one", MessageAttributes=attributes)
    entries = [{"Id": str(number), "MessageBody": f"two {number}"} for number in range(3)]
    assert len(sqs.send_message_batch(QueueUrl=url, Entries=entries)["Successful"]) == 3

    got = sqs.receive_message(
        QueueUrl=url, MaxNumberOfMessages=10, MessageAttributeNames=["All"], MessageSystemAttributeNames=["All"]
    )["Messages"]
    assert [message["Body"] for message in got] == ["one", "two 0", "two 1", "two 2"]
    assert got[0]["MessageAttributes"] == attributes
    handles = [message["ReceiptHandle"] for message in got]
    sqs.delete_message(QueueUrl=url, ReceiptHandle=handles[0])
    assert sqs.delete_message_batch(QueueUrl=url, Entries=[{"Id": "1", "ReceiptHandle": handles[1]}])["Successful"]
    sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=handles[2], VisibilityTimeout=0)
    sqs.change_message_visibility_batch(
        QueueUrl=url, Entries=[{"Id": "1", "ReceiptHandle": handles[3], "VisibilityTimeout": 0}]
    )
    assert "Messages" not in sqs.receive_message(QueueUrl=url)  # both were received once too often

    task = sqs.start_message_move_task(SourceArn=dead_arn, MaxNumberOfMessagesPerSecond=1)["TaskHandle"]
    assert sqs.list_message_move_tasks(SourceArn=dead_arn)["Results"][0]["Status"] == "RUNNING"
    sqs.cancel_message_move_task(TaskHandle=task)
    sqs.purge_queue(QueueUrl=dead)
    sqs.delete_queue(QueueUrl=url)
    sqs.delete_queue(QueueUrl=dead)
    assert "QueueUrls" not in sqs.list_queues()

    assert set(running.server.counters.snapshot()["requests"]) == set(REQUESTS)


def test_error_has_the_old_code_and_the_new(sqs):
    response = failure(sqs.get_queue_url, QueueName="none")

    assert response["Error"] == {
        "Code": "AWS.SimpleQueueService.NonExistentQueue",
        "Message": "The specified queue does not exist.",
        "QueryErrorCode": "QueueDoesNotExist",
        "Type": "Sender",
    }
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 400
    assert isinstance(response["ResponseMetadata"]["RequestId"], str)


def test_modelled_errors_are_exceptions_of_their_own(sqs):
    url = sqs.create_queue(QueueName="q")["QueueUrl"]

    with pytest.raises(sqs.exceptions.QueueDoesNotExist):
        sqs.get_queue_url(QueueName="none")
    with pytest.raises(sqs.exceptions.InvalidMessageContents):
        sqs.send_message(QueueUrl=url, MessageBody="\x00")
    with pytest.raises(sqs.exceptions.ReceiptHandleIsInvalid):
        sqs.delete_message(QueueUrl=url, ReceiptHandle="x")
    with pytest.raises(sqs.exceptions.EmptyBatchRequest):
        sqs.delete_message_batch(QueueUrl=url, Entries=[])
    with pytest.raises(sqs.exceptions.QueueNameExists):
        sqs.create_queue(QueueName="q", Attributes={"DelaySeconds": "1"})
    sqs.purge_queue(QueueUrl=url)
    with pytest.raises(sqs.exceptions.PurgeQueueInProgress):
        sqs.purge_queue(QueueUrl=url)
    sqs.delete_queue(QueueUrl=url)
    with pytest.raises(sqs.exceptions.QueueDeletedRecently):
        sqs.create_queue(QueueName="q")


def test_long_poll_is_answered_at_once_by_a_send(running, sqs):
    url = sqs.create_queue(QueueName="q")["QueueUrl"]
    got = []
    thread = threading.Thread(
        target=lambda: got.append((sqs.receive_message(QueueUrl=url, WaitTimeSeconds=20), time.monotonic()))
    )
    thread.start()
    wait_for_poll(running, "q")

    sent_at = time.monotonic()
    running.client().send_message(QueueUrl=url, MessageBody="x")
    thread.join(5)

    assert got[0][0]["Messages"][0]["Body"] == "x"
    assert got[0][1] - sent_at < 1.0


def wait_for_poll(running, queue):
    deadline = time.monotonic() + 5
    while f"eu-west-1/{queue}" not in running.server._polls._waiters:
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_long_poll_gets_a_delayed_message_when_its_time_has_come(sqs):
    url = sqs.create_queue(QueueName="q")["QueueUrl"]
    sqs.send_message(QueueUrl=url, MessageBody="x", DelaySeconds=1)
    begun = time.monotonic()

    got = sqs.receive_message(QueueUrl=url, WaitTimeSeconds=10)

    assert got["Messages"][0]["Body"] == "x"
    assert 0.9 < time.monotonic() - begun < 3


def test_long_poll_gets_a_message_whose_lease_ends_meanwhile(running, sqs):
    url = sqs.create_queue(QueueName="q")["QueueUrl"]
    sqs.send_message(QueueUrl=url, MessageBody="x")
    sqs.receive_message(QueueUrl=url, VisibilityTimeout=300)
    got = []
    thread = threading.Thread(target=lambda: got.append(sqs.receive_message(QueueUrl=url, WaitTimeSeconds=20)))
    thread.start()
    wait_for_poll(running, "q")

    running.pass_time(301)
    thread.join(5)

    assert got[0]["Messages"][0]["Body"] == "x"


def test_long_poll_ends_with_nothing_after_its_time(sqs):
    url = sqs.create_queue(QueueName="q")["QueueUrl"]
    begun = time.monotonic()

    assert "Messages" not in sqs.receive_message(QueueUrl=url, WaitTimeSeconds=1)
    assert 0.9 < time.monotonic() - begun < 3


def test_each_of_many_long_polls_gets_its_message(running, sqs):
    url = sqs.create_queue(QueueName="q")["QueueUrl"]
    got = []
    threads = [
        threading.Thread(
            target=lambda: got.append(running.client().receive_message(QueueUrl=url, WaitTimeSeconds=10)["Messages"])
        )
        for _ in range(5)
    ]
    for thread in threads:
        thread.start()
    wait_for_poll(running, "q")

    for number in range(5):
        sqs.send_message(QueueUrl=url, MessageBody=str(number))
    for thread in threads:
        thread.join(10)

    assert sorted(message["Body"] for messages in got for message in messages) == list("01234")


def test_move_task_runs_by_itself(sqs):
    dead = sqs.create_queue(QueueName="dead")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    redrive = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 1})
    url = sqs.create_queue(QueueName="q", Attributes={"RedrivePolicy": redrive})["QueueUrl"]
    sqs.send_message(QueueUrl=url, MessageBody="x")
    sqs.receive_message(QueueUrl=url, VisibilityTimeout=0)
    assert "Messages" not in sqs.receive_message(QueueUrl=url)

    sqs.start_message_move_task(SourceArn=arn)
    got = sqs.receive_message(QueueUrl=url, WaitTimeSeconds=10)

    assert got["Messages"][0]["Body"] == "x"


def test_too_many_messages_in_flight_are_an_error(start):
    one = start(limits=Limits(in_flight_max=2))
    sqs = one.client()
    url = sqs.create_queue(QueueName="q")["QueueUrl"]
    for _ in range(3):
        sqs.send_message(QueueUrl=url, MessageBody="x")
    sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)

    with pytest.raises(sqs.exceptions.OverLimit):
        sqs.receive_message(QueueUrl=url)


def test_fifo_queue_keeps_order_and_deduplicates(sqs):
    url = sqs.create_queue(QueueName="q.fifo", Attributes={"FifoQueue": "true"})["QueueUrl"]
    for number in range(3):
        for _ in range(2):
            sqs.send_message(
                QueueUrl=url, MessageBody=str(number), MessageGroupId="g", MessageDeduplicationId=str(number)
            )

    got = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, AttributeNames=["All"])["Messages"]

    assert [message["Body"] for message in got] == ["0", "1", "2"]
