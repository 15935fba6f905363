from dataclasses import replace

import pytest

from mulligan.servers.sqs.wire.error import SqsError
from tests.unit.servers.sqs.world import opened


def refused(world, shape, action, **body):
    with pytest.raises(SqsError) as error:
        world.do(action, **body)
    assert error.value.shape == shape
    return error.value.message


def change(world, url, handle, seconds):
    return world.do("ChangeMessageVisibility", QueueUrl=url, ReceiptHandle=handle, VisibilityTimeout=seconds)


def delete(world, url, handle):
    return world.do("DeleteMessage", QueueUrl=url, ReceiptHandle=handle)


def test_receive_hides_messages_for_the_queues_timeout_and_counts(world):
    url = world.queue(VisibilityTimeout="7")
    world.send(url)

    assert world.bodies(url) == ["x"]
    assert world.bodies(url) == []
    world.pass_time(7)
    told = world.receive(url, AttributeNames=["All"])[0]["Attributes"]

    assert told["ApproximateReceiveCount"] == "2"
    assert told["ApproximateFirstReceiveTimestamp"] == "1800000000000"
    assert told["SentTimestamp"] == "1800000000000"
    assert told["SenderId"] == "mulligan"


def test_receive_gives_one_message_unless_asked_for_more(world):
    url = world.queue()
    for body in "abc":
        world.send(url, body)

    assert len(world.do("ReceiveMessage", QueueUrl=url)["Messages"]) == 1
    assert world.bodies(url, 10) == ["b", "c"]


def test_receive_answers_an_empty_object_when_there_is_nothing(world):
    assert world.do("ReceiveMessage", QueueUrl=world.queue()) == {}


@pytest.mark.parametrize(
    "fields",
    [
        {"MaxNumberOfMessages": 0},
        {"MaxNumberOfMessages": 11},
        {"WaitTimeSeconds": -1},
        {"WaitTimeSeconds": 21},
        {"VisibilityTimeout": -1},
        {"VisibilityTimeout": 43_201},
        {"ReceiveRequestAttemptId": "a"},
    ],
)
def test_receive_refuses_what_is_out_of_range(world, fields):
    refused(world, "InvalidParameterValueException", "ReceiveMessage", QueueUrl=world.queue(), **fields)


def test_receive_refuses_an_unknown_system_attribute(world):
    message = refused(world, "InvalidAttributeName", "ReceiveMessage", QueueUrl=world.queue(), AttributeNames=["Foo"])

    assert message == "Unknown Attribute Foo."


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        (["All"], {"General", "Hello", "Help.Me"}),
        ([".*"], {"General", "Hello", "Help.Me"}),
        (["Hel.*"], {"Hello", "Help.Me"}),
        (["Hello", "Missing"], {"Hello"}),
        (["Missing", "AWS.x", ".x"], set()),
        ([], set()),
    ],
)
def test_receive_tells_the_attributes_that_were_asked_for(world, wanted, names):
    url = world.queue()
    item = {"DataType": "String", "StringValue": "x"}
    world.send(url, MessageAttributes={"General": item, "Hello": item, "Help.Me": item})

    message = world.receive(url, MessageAttributeNames=wanted)[0]

    assert set(message.get("MessageAttributes", {})) == names
    assert ("MD5OfMessageAttributes" in message) == bool(names)


def test_checksum_is_of_the_attributes_that_are_told(world):
    url = world.queue()
    sent = {"Help.Me": "Me", "Hello": "There", "General": "Kenobi"}
    attributes = {name: {"DataType": "String", "StringValue": content} for name, content in sent.items()}
    world.send(url, MessageAttributes=attributes)

    message = world.receive(url, MessageAttributeNames=["Hel.*"])[0]

    assert message["MD5OfMessageAttributes"] == "83fee93c1bcd8b9a5a923ffacdc636c7"  # recorded from the service


def test_receive_asks_to_wait_when_nothing_is_there(world):
    url = world.queue(ReceiveMessageWaitTimeSeconds="7")
    world.send(url, DelaySeconds=3)

    by_queue = world.answer("ReceiveMessage", QueueUrl=url).wait
    asked = world.answer("ReceiveMessage", QueueUrl=url, WaitTimeSeconds=20).wait
    short = world.answer("ReceiveMessage", QueueUrl=url, WaitTimeSeconds=0).wait

    assert (by_queue.queue, by_queue.for_s, by_queue.next_due) == ("eu-west-1/q", 7, world.now + 3)
    assert asked.for_s == 20
    assert short is None


def test_delete_removes_the_message_and_twice_is_once(world):
    url = world.queue()
    world.send(url)
    handle = world.receive(url)[0]["ReceiptHandle"]

    delete(world, url, handle)
    delete(world, url, handle)
    world.pass_time(60)

    assert world.bodies(url) == []
    assert world.attribute(url, "ApproximateNumberOfMessages") == "0"


def test_late_delete_works_on_a_standard_queue_while_nobody_else_received_the_message(world):
    url = world.queue()
    world.send(url)
    handle = world.receive(url)[0]["ReceiptHandle"]
    world.pass_time(31)

    delete(world, url, handle)

    assert world.bodies(url) == []


def test_stale_delete_succeeds_and_does_nothing_on_a_standard_queue(world):
    url = world.queue()
    world.send(url)
    old = world.receive(url)[0]["ReceiptHandle"]
    world.pass_time(31)
    world.receive(url)

    delete(world, url, old)
    world.pass_time(31)

    assert world.bodies(url) == ["x"]


@pytest.mark.parametrize("handle", ["nonsense", "AAAA", "", "ä"])
def test_a_handle_that_is_none_is_refused(world, handle):
    url = world.queue()
    shape = "ReceiptHandleIsInvalid" if handle else "MissingRequiredParameterException"

    refused(world, shape, "DeleteMessage", QueueUrl=url, ReceiptHandle=handle)
    refused(world, shape, "ChangeMessageVisibility", QueueUrl=url, ReceiptHandle=handle, VisibilityTimeout=1)


def test_a_handle_of_another_queue_is_refused(world):
    one, two = world.queue("one"), world.queue("two")
    world.send(one)
    handle = world.receive(one)[0]["ReceiptHandle"]

    refused(world, "ReceiptHandleIsInvalid", "DeleteMessage", QueueUrl=two, ReceiptHandle=handle)


def test_change_of_visibility_ends_the_lease_at_another_time(world):
    url = world.queue()
    world.send(url)
    handle = world.receive(url)[0]["ReceiptHandle"]

    change(world, url, handle, 100)
    world.pass_time(99)
    assert world.bodies(url) == []
    change(world, url, handle, 0)

    assert world.bodies(url) == ["x"]


def test_change_of_visibility_lasts_for_this_receive_only(world):
    url = world.queue()
    world.send(url)
    change(world, url, world.receive(url)[0]["ReceiptHandle"], 5)
    world.pass_time(5)

    world.receive(url)
    world.pass_time(6)

    assert world.bodies(url) == []


@pytest.mark.parametrize("seconds", [-1, 43_201])
def test_change_of_visibility_refuses_what_is_out_of_range(world, seconds):
    url = world.queue()
    world.send(url)
    handle = world.receive(url)[0]["ReceiptHandle"]

    refused(
        world,
        "InvalidParameterValueException",
        "ChangeMessageVisibility",
        QueueUrl=url,
        ReceiptHandle=handle,
        VisibilityTimeout=seconds,
    )


def test_lease_of_more_than_twelve_hours_from_the_receive_is_refused_not_cut(world):
    url = world.queue()
    world.send(url)
    handle = world.receive(url)[0]["ReceiptHandle"]
    world.pass_time(10)

    change(world, url, handle, 43_190)
    message = refused(
        world,
        "InvalidParameterValueException",
        "ChangeMessageVisibility",
        QueueUrl=url,
        ReceiptHandle=handle,
        VisibilityTimeout=43_191,
    )

    assert "Total VisibilityTimeout for the message is beyond the limit [43200 seconds]" in message
    world.pass_time(43_189)
    assert world.bodies(url) == []
    world.pass_time(1)
    assert world.bodies(url) == ["x"]


def test_change_by_any_handle_works_on_a_standard_queue_until_the_message_is_deleted(world):
    url = world.queue()
    world.send(url)
    older = world.receive(url)[0]["ReceiptHandle"]
    world.pass_time(31)
    change(world, url, older, 30)  # late, but nobody else received it
    assert world.bodies(url) == []
    world.pass_time(31)
    newer = world.receive(url)[0]["ReceiptHandle"]

    change(world, url, older, 0)  # late, and it takes the lease from who received it since

    assert world.receive(url, VisibilityTimeout=30) != []
    delete(world, url, newer)
    assert world.attribute(url, "ApproximateNumberOfMessagesNotVisible") == "1"  # a newer receipt is out


def test_change_of_a_deleted_message_is_refused_on_a_standard_queue(world):
    url = world.queue()
    world.send(url)
    handle = world.receive(url)[0]["ReceiptHandle"]
    delete(world, url, handle)

    message = refused(
        world,
        "InvalidParameterValueException",
        "ChangeMessageVisibility",
        QueueUrl=url,
        ReceiptHandle=handle,
        VisibilityTimeout=1,
    )

    assert "Message does not exist or is not available for visibility timeout change." in message


def test_batches_of_receipts_answer_entry_by_entry(world):
    url = world.queue()
    world.send(url, "a")
    world.send(url, "b")
    first, second = (message["ReceiptHandle"] for message in world.receive(url))

    changed = world.do(
        "ChangeMessageVisibilityBatch",
        QueueUrl=url,
        Entries=[
            {"Id": "1", "ReceiptHandle": first, "VisibilityTimeout": 0},
            {"Id": "2", "ReceiptHandle": "bad", "VisibilityTimeout": 0},
            {"Id": "3", "ReceiptHandle": second, "VisibilityTimeout": 43_201},
            {"Id": "4", "ReceiptHandle": second},
        ],
    )
    deleted = world.do(
        "DeleteMessageBatch",
        QueueUrl=url,
        Entries=[{"Id": "1", "ReceiptHandle": "bad"}, {"Id": "2", "ReceiptHandle": second}],
    )

    assert changed["Successful"] == [{"Id": "1"}]
    assert [(item["Id"], item["Code"]) for item in changed["Failed"]] == [
        ("2", "ReceiptHandleIsInvalid"),
        ("3", "InvalidParameterValue"),
        ("4", "MissingParameter"),
    ]
    assert deleted["Successful"] == [{"Id": "2"}]
    assert [item["Code"] for item in deleted["Failed"]] == ["ReceiptHandleIsInvalid"]
    assert world.bodies(url) == ["a"]


@pytest.mark.parametrize("action", ["DeleteMessageBatch", "ChangeMessageVisibilityBatch"])
def test_empty_batches_of_receipts_are_refused(world, action):
    refused(world, "EmptyBatchRequest", action, QueueUrl=world.queue(), Entries=[])


def test_too_many_messages_in_flight_are_an_error_on_a_standard_queue(world):
    world.limits = replace(world.limits, in_flight_max=3)
    url = world.queue()
    for _ in range(5):
        world.send(url)

    assert len(world.receive(url)) == 3
    refused(world, "OverLimit", "ReceiveMessage", QueueUrl=url)
    world.pass_time(31)
    assert len(world.receive(url)) == 3


def test_messages_older_than_the_retention_period_are_gone(world):
    url = world.queue(MessageRetentionPeriod="60")
    world.send(url, "old")
    world.pass_time(50)
    world.send(url, "new")
    world.pass_time(11)

    assert world.attribute(url, "ApproximateNumberOfMessages") == "1"
    assert world.bodies(url) == ["new"]


def test_message_received_too_often_goes_to_the_dead_letter_queue(world):
    dead = world.queue("dead")
    url = world.queue("q", RedrivePolicy=world.redrive("dead", 2), VisibilityTimeout="1")
    told = world.send(url, MessageAttributes={"a": {"DataType": "String", "StringValue": "b"}})
    for _ in range(2):
        assert world.bodies(url) == ["x"]
        world.pass_time(1)

    assert world.bodies(url) == []
    letter = world.receive(dead, AttributeNames=["All"], MessageAttributeNames=["All"])[0]

    assert letter["MessageId"] == told["MessageId"]
    assert letter["MessageAttributes"]["a"]["StringValue"] == "b"
    assert letter["Attributes"]["DeadLetterQueueSourceArn"] == world.arn("q")
    assert letter["Attributes"]["ApproximateReceiveCount"] == "3"
    assert letter["Attributes"]["SentTimestamp"] == "1800000000000"  # its age counts from the first send


def test_dead_letters_age_counts_from_the_original_send_on_a_standard_queue(world):
    dead = world.queue("dead", MessageRetentionPeriod="100")
    url = world.queue("q", RedrivePolicy=world.redrive("dead", 1), VisibilityTimeout="1")
    world.send(url)
    world.receive(url)
    world.pass_time(90)
    world.receive(url)
    assert world.attribute(dead, "ApproximateNumberOfMessages") == "1"

    world.pass_time(11)

    assert world.bodies(dead) == []


def test_receive_goes_on_past_dead_letters(world):
    world.queue("dead")
    url = world.queue("q", RedrivePolicy=world.redrive("dead", 1), VisibilityTimeout="1")
    for _ in range(3):
        world.send(url, "old")
    world.receive(url)
    world.pass_time(1)
    world.send(url, "new")

    assert world.bodies(url, 2) == ["new"]


def test_counts_tell_visible_leased_and_delayed_apart(world):
    url = world.queue()
    for _ in range(3):
        world.send(url)
    world.send(url, DelaySeconds=10)
    world.receive(url, 1)

    told = world.do("GetQueueAttributes", QueueUrl=url, AttributeNames=["All"])["Attributes"]

    assert told["ApproximateNumberOfMessages"] == "2"
    assert told["ApproximateNumberOfMessagesNotVisible"] == "1"
    assert told["ApproximateNumberOfMessagesDelayed"] == "1"


def test_empty_fault_hides_what_is_there_without_taking_it(world):
    url = world.queue()
    world.send(url)
    world.go_wrong(is_empty=True)

    answer = world.answer("ReceiveMessage", QueueUrl=url, WaitTimeSeconds=20)

    assert (answer.data, answer.wait) == ({}, None)
    world.go_wrong(is_empty=False)
    assert world.bodies(url) == ["x"]


def test_duplicate_fault_gives_a_twin_that_outlives_the_deletion(world):
    url = world.queue()
    sent = world.send(url)["MessageId"]
    world.go_wrong(duplicate_share=1.0)

    first = world.receive(url)[0]
    delete(world, url, first["ReceiptHandle"])
    twin = world.receive(url)

    assert [message["MessageId"] for message in twin] == [sent]
    delete(world, url, twin[0]["ReceiptHandle"])
    assert world.receive(url) == []  # a twin has no twins


def test_reorder_fault_loses_and_leases_nothing_by_the_way(world):
    url = world.queue()
    for number in range(30):
        world.send(url, str(number))
    world.go_wrong(is_reordered=True)

    got = [world.bodies(url) for _ in range(3)]

    flat = [body for bodies in got for body in bodies]
    assert sorted(flat, key=int) == [str(number) for number in range(30)]
    assert flat != sorted(flat, key=int)


def test_expire_early_fault_ends_the_lease_before_its_time(world):
    url = world.queue()
    world.send(url)
    world.go_wrong(lease_s=2.0)

    world.receive(url, VisibilityTimeout=300)
    world.pass_time(2)

    assert world.bodies(url) == ["x"]


def test_receive_ends_when_a_stored_queue_is_its_own_dead_letter_queue(world):
    url = world.queue("q", VisibilityTimeout="0")
    kept = world.store.queue("q")
    world.store.save_queue(replace(kept, attributes={**kept.attributes, "RedrivePolicy": world.redrive("q", 1)}))
    world.send(url)

    got = [world.bodies(url) for _ in range(3)]

    assert got == [["x"]] * 3


def test_long_poll_looks_on_when_more_went_to_the_dead_letter_queue_than_one_step_moves(world):
    dead = world.queue("dead")
    url = world.queue("q", VisibilityTimeout="1", RedrivePolicy=world.redrive("dead", 1))
    for _ in range(250):
        world.send(url)
    assert sum(len(world.bodies(url)) for _ in range(25)) == 250
    world.pass_time(1)
    world.send(url, "last")

    first = world.answer("ReceiveMessage", QueueUrl=url, WaitTimeSeconds=5, MaxNumberOfMessages=10)
    second = world.answer("ReceiveMessage", QueueUrl=url, WaitTimeSeconds=5, MaxNumberOfMessages=10)

    assert first.data == {}
    assert first.wait.next_due == world.now
    assert [message["Body"] for message in second.data["Messages"]] == ["last"]
    assert world.attribute(dead, "ApproximateNumberOfMessages") == "250"


def test_memory_does_not_grow_when_one_message_is_hidden_and_shown_again_and_again():
    with opened("memory") as world:
        url = world.queue()
        world.send(url)
        handle = world.receive(url)[0]["ReceiptHandle"]
        world.send(url, "other")
        assert world.bodies(url, VisibilityTimeout=5) == ["other"]
        content = world.store._contents["q"]

        for _ in range(15_000):
            change(world, url, handle, 30)
            change(world, url, handle, 0)
            world.attribute(url, "ApproximateNumberOfMessages")

        assert len(content.hidden) < 12_000
        assert len(content.ready) < 12_000
        assert world.bodies(url) == ["x"]


def test_both_stores_remember_a_hundred_move_tasks(world):
    dead = world.queue("dead")
    world.queue("q", RedrivePolicy=world.redrive("dead", 1))
    for _ in range(110):
        world.do("StartMessageMoveTask", SourceArn=world.arn("dead"), DestinationArn=world.arn("q"))
        world.pass_time(1)
        world.move()

    assert len(world.store.tasks()) == 100
    assert world.bodies(dead) == []
