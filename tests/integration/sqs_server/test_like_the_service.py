"""What clients of Amazon SQS rely on, on both stores: one test a kind of thing that differed from the service once."""

import json
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection

import pytest
from botocore.exceptions import ClientError

from mulligan.servers.sqs.actions.context import Limits
from mulligan.servers.sqs.auth.key import Key, Policy, Statement
from mulligan.servers.sqs.embedded import EmbeddedBackend
from mulligan.servers.sqs.server import DEFAULT_KEY
from mulligan.servers.sqs.wire.schema import new_id


@pytest.fixture(params=["memory", "embedded"])
def running(request, start, clock, tmp_path):
    """A server on each of the two stores."""
    if request.param == "memory":
        return start(clock=clock)
    return start(clock=clock, backend=EmbeddedBackend(tmp_path / "queue.db", clock, Limits(), new_id))


def make(sqs, name, **attributes):
    if name.endswith(".fifo"):
        attributes = {"FifoQueue": "true", "ContentBasedDeduplication": "true", **attributes}
    return sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]


def receive(sqs, url, count=10, **fields):
    return sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=count, **fields).get("Messages", [])


def bodies(sqs, url, count=10, **fields):
    return [message["Body"] for message in receive(sqs, url, count, **fields)]


def failure(call, **fields):
    with pytest.raises(ClientError) as error:
        call(**fields)
    return error.value.response


def test_fifo_message_that_is_given_back_comes_again_while_later_ones_of_its_group_are_in_flight(sqs):
    url = make(sqs, "q.fifo")
    for body in ("m0", "m1", "m2"):
        sqs.send_message(QueueUrl=url, MessageBody=body, MessageGroupId="g")
    first, *_ = receive(sqs, url, 3)

    sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=first["ReceiptHandle"], VisibilityTimeout=0)

    assert bodies(sqs, url, WaitTimeSeconds=1) == ["m0"]
    assert bodies(sqs, url) == []


def test_server_goes_on_when_a_queue_is_made_its_own_dead_letter_queue(sqs):
    url = make(sqs, "self", VisibilityTimeout="0")
    sqs.send_message(QueueUrl=url, MessageBody="x")
    policy = json.dumps({"deadLetterTargetArn": "arn:aws:sqs:eu-west-1:000000000000:self", "maxReceiveCount": 1})

    refused = failure(sqs.set_queue_attributes, QueueUrl=url, Attributes={"RedrivePolicy": policy})

    assert refused["Error"]["Code"] == "InvalidParameterValue"
    assert "its own dead-letter queue" in refused["Error"]["Message"]
    assert [bodies(sqs, url) for _ in range(3)] == [["x"]] * 3


def test_flags_are_taken_as_python_writes_them(sqs):
    flags = {"FifoQueue": str(True), "ContentBasedDeduplication": str(True)}

    url = sqs.create_queue(QueueName="x.fifo", Attributes=flags)["QueueUrl"]
    again = sqs.create_queue(QueueName="x.fifo", Attributes={"FifoQueue": "true"})["QueueUrl"]
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"ContentBasedDeduplication": "FALSE"})

    assert again == url
    told = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=list(flags))["Attributes"]
    assert told == {"FifoQueue": "true", "ContentBasedDeduplication": "false"}


def test_queue_is_found_by_its_bare_name(sqs):
    url = make(sqs, "my-queue")

    sqs.send_message(QueueUrl="my-queue", MessageBody="x")

    assert bodies(sqs, url) == ["x"]


def test_address_of_no_queue_is_told_as_a_queue_that_does_not_exist(sqs):
    for address in ("http://whatever-incorrect-queue-address", "my queue", "https://sqs/000000000000/"):
        with pytest.raises(sqs.exceptions.QueueDoesNotExist):
            sqs.get_queue_attributes(QueueUrl=address, AttributeNames=["All"])


def test_policy_of_a_key_holds_for_the_queue_that_a_request_means(start, clock):
    policy = Policy([Statement("Allow", "sqs:*", "arn:aws:sqs:eu-west-1:000000000000:mine")])
    running = start(clock=clock, keys=[DEFAULT_KEY, Key("k", "s", policy=policy)])
    owner, sqs = running.client(), running.client("k", "s")
    make(owner, "mine")
    make(owner, "other")

    sqs.tag_queue(QueueUrl="mine", Tags={"a": "b"})
    decoy = {"QueueUrl": "http://host/000000000000/mine"}
    refused = [
        failure(sqs.tag_queue, QueueUrl="other", Tags=decoy),
        failure(sqs.create_queue, QueueName="new", tags=decoy),
        failure(sqs.get_queue_url, QueueName="other"),
        failure(sqs.list_queues),
    ]

    assert {one["Error"]["Code"] for one in refused} == {"AccessDenied"}
    assert owner.list_queue_tags(QueueUrl="other").get("Tags") is None


def test_fifo_message_that_was_sent_before_a_purge_is_a_new_one_after_it(sqs):
    url = make(sqs, "q.fifo")
    sent = {"QueueUrl": url, "MessageGroupId": "g", "MessageDeduplicationId": "d"}
    sqs.send_message(MessageBody="before", **sent)

    sqs.purge_queue(QueueUrl=url)
    sqs.send_message(MessageBody="after", **sent)

    assert bodies(sqs, url) == ["after"]


def test_batch_answer_has_no_empty_list(sqs):
    url = make(sqs, "q")

    sent = sqs.send_message_batch(QueueUrl=url, Entries=[{"Id": "1", "MessageBody": "a"}])
    (message,) = receive(sqs, url)
    handle = message["ReceiptHandle"]
    changes = [{"Id": "1", "ReceiptHandle": handle, "VisibilityTimeout": 30}]
    changed = sqs.change_message_visibility_batch(QueueUrl=url, Entries=changes)
    deleted = sqs.delete_message_batch(QueueUrl=url, Entries=[{"Id": "1", "ReceiptHandle": handle}])
    failed = sqs.delete_message_batch(QueueUrl=url, Entries=[{"Id": "1", "ReceiptHandle": "none"}])

    assert [set(one) - {"ResponseMetadata"} for one in (sent, changed, deleted)] == [{"Successful"}] * 3
    assert set(failed) - {"ResponseMetadata"} == {"Failed"}


def test_counters_count_no_message_for_a_batch_that_failed(running, sqs):
    url = make(sqs, "q")

    sqs.delete_message_batch(QueueUrl=url, Entries=[{"Id": "1", "ReceiptHandle": "none"}])

    assert running.server.counters.snapshot()["messages"]["deleted"] == 0


def test_older_handle_still_changes_the_lease_of_its_message_on_a_standard_queue(sqs):
    url = make(sqs, "q")
    sqs.send_message(QueueUrl=url, MessageBody="x")
    (older,) = receive(sqs, url, VisibilityTimeout=0)
    assert bodies(sqs, url, VisibilityTimeout=600) == ["x"]

    sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=older["ReceiptHandle"], VisibilityTimeout=0)

    assert bodies(sqs, url) == ["x"]


def test_star_asks_for_all_message_attributes(sqs):
    url = make(sqs, "q")
    sent = {"a": {"DataType": "String", "StringValue": "1"}, "b.c": {"DataType": "Number", "StringValue": "2"}}
    sqs.send_message(QueueUrl=url, MessageBody="x", MessageAttributes=sent)

    (message,) = receive(sqs, url, MessageAttributeNames=["*"])

    assert message["MessageAttributes"] == sent


def test_trace_of_the_request_becomes_that_of_its_messages(sqs):
    url = make(sqs, "q")
    trace = "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1"
    own = {"AWSTraceHeader": {"DataType": "String", "StringValue": "Root=2"}}

    def add_trace(request, **_):
        request.headers["X-Amzn-Trace-Id"] = trace

    sqs.meta.events.register("before-sign.sqs.*", add_trace)
    sqs.send_message(QueueUrl=url, MessageBody="one")
    sqs.send_message_batch(
        QueueUrl=url,
        Entries=[
            {"Id": "1", "MessageBody": "two"},
            {"Id": "2", "MessageBody": "three", "MessageSystemAttributes": own},
        ],
    )

    got = receive(sqs, url, MessageSystemAttributeNames=["AWSTraceHeader"])
    assert {message["Body"]: message["Attributes"]["AWSTraceHeader"] for message in got} == {
        "one": trace,
        "two": trace,
        "three": "Root=2",
    }


def test_attribute_names_may_have_letters_of_any_language(sqs):
    url = make(sqs, "q")
    sent = {"attr.1öß": {"DataType": "String", "StringValue": "x"}}

    sqs.send_message(QueueUrl=url, MessageBody="x", MessageAttributes=sent)

    assert receive(sqs, url, MessageAttributeNames=["All"])[0]["MessageAttributes"] == sent


def test_second_purge_within_a_minute_is_answered_with_403(sqs):
    url = make(sqs, "q")
    sqs.purge_queue(QueueUrl=url)

    refused = failure(sqs.purge_queue, QueueUrl=url)

    assert refused["Error"]["Code"] == "AWS.SimpleQueueService.PurgeQueueInProgress"
    assert refused["ResponseMetadata"]["HTTPStatusCode"] == 403


def test_fifo_receive_gives_as_many_of_one_group_as_there_are(sqs):
    url = make(sqs, "q.fifo")
    for body in ("g1-1", "g2-1", "g1-2", "g1-3"):
        sqs.send_message(QueueUrl=url, MessageBody=body, MessageGroupId=body[:2])

    assert bodies(sqs, url) == ["g1-1", "g1-2", "g1-3", "g2-1"]


def test_deduplication_ids_stay_known_when_high_throughput_is_switched_on(sqs):
    url = make(sqs, "q.fifo")
    sent = {"QueueUrl": url, "MessageDeduplicationId": "d"}
    sqs.send_message(MessageBody="first", MessageGroupId="g", **sent)
    fast = {"DeduplicationScope": "messageGroup", "FifoThroughputLimit": "perMessageGroupId"}

    sqs.set_queue_attributes(QueueUrl=url, Attributes=fast)
    sqs.send_message(MessageBody="second", MessageGroupId="g", **sent)

    assert bodies(sqs, url) == ["first"]


def test_each_region_has_its_own_queues(running):
    here, there = running.client(), running.client(region="us-east-1")
    url = make(here, "x")
    with pytest.raises(there.exceptions.QueueDoesNotExist):
        there.get_queue_url(QueueName="x")
    foreign = json.dumps({"deadLetterTargetArn": "arn:aws:sqs:eu-west-1:000000000000:x", "maxReceiveCount": 1})
    refused = failure(there.create_queue, QueueName="y", Attributes={"RedrivePolicy": foreign})

    other = make(there, "x", VisibilityTimeout="7")
    here.send_message(QueueUrl=url, MessageBody="here")
    there.send_message(QueueUrl=other, MessageBody="there")

    assert refused["Error"]["Code"] == "InvalidParameterValue"
    assert bodies(here, url) == ["here"]
    assert bodies(there, other) == ["there"]
    told = there.get_queue_attributes(QueueUrl=other, AttributeNames=["QueueArn", "VisibilityTimeout"])["Attributes"]
    assert told == {"QueueArn": "arn:aws:sqs:us-east-1:000000000000:x", "VisibilityTimeout": "7"}
    there.delete_queue(QueueUrl=other)
    assert here.list_queues()["QueueUrls"] == [url]
    assert there.list_queues().get("QueueUrls") is None
    make(here, "new")
    assert failure(there.create_queue, QueueName="x")["Error"]["Code"].endswith("QueueDeletedRecently")


def test_long_poll_in_one_region_is_not_answered_by_another(running):
    here, there = running.client(), running.client(region="us-east-1")
    url, other = make(here, "x"), make(there, "x")

    with ThreadPoolExecutor(2) as pool:
        polls = [pool.submit(bodies, sqs, one, WaitTimeSeconds=20) for sqs, one in ((here, url), (there, other))]
        there.send_message(QueueUrl=other, MessageBody="there")
        assert polls[1].result(10) == ["there"]
        here.send_message(QueueUrl=url, MessageBody="here")
        assert polls[0].result(10) == ["here"]


def test_move_tasks_run_in_each_region(running):
    for region in ("eu-west-1", "us-east-1"):
        sqs = running.client(region=region)
        arn = f"arn:aws:sqs:{region}:000000000000:dead"
        dead = make(sqs, "dead")
        url = make(sqs, "x", RedrivePolicy=json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 1}))
        sqs.send_message(QueueUrl=dead, MessageBody=region)

        sqs.start_message_move_task(SourceArn=arn, DestinationArn=arn.replace("dead", "x"))

        assert bodies(sqs, url, WaitTimeSeconds=10) == [region]


@pytest.mark.parametrize("target", ["AmazonSQS.ListQueues", None])
def test_request_for_another_host_is_refused_on_a_loopback_address(start, clock, target):
    running = start(clock=clock, verifies=False, also_hosts=["queue.internal"])

    def ask(host):
        connection = HTTPConnection(running.server.host, running.server.port)
        headers = {"Host": host, "Content-Type": "application/x-amz-json-1.0"}
        if target:
            connection.request("POST", "/", b"{}", {**headers, "X-Amz-Target": target})
        else:
            connection.request("GET", "/_mulligan/counters", headers=headers)
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        return answer.status, text

    taken = ["127.0.0.1:9700", "LOCALHOST", "[::1]:9324", "sqs.localhost:1", "queue.internal:9324"]
    refused = ["evil.example:9700", "127.0.0.1.evil.example", "localhost.evil.example", "10.0.0.1", "[::2]", "a:b:c"]
    assert [ask(host)[0] for host in taken] == [200] * 5
    assert [ask(host)[0] for host in refused] == [403] * 6
    assert "'evil.example:9700' is not a name of this server" in ask("evil.example:9700")[1]
