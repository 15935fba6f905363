import pytest

from mulligan.servers.sqs.wire.error import SqsError


def send(world, url, body, group="g", dedup=None):
    return world.send(url, body, MessageGroupId=group, MessageDeduplicationId=dedup or f"d-{body}")


def refused(world, shape, action, **body):
    with pytest.raises(SqsError) as error:
        world.do(action, **body)
    assert error.value.shape == shape
    return error.value.message


def delete(world, url, message):
    world.do("DeleteMessage", QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])


def test_group_is_blocked_behind_a_message_in_flight(world):
    url = world.queue("q.fifo")
    for body in ("a1", "a2", "a3"):
        send(world, url, body, "a")
    send(world, url, "b1", "b")

    head = world.receive(url, 1)
    other = world.bodies(url, 10)

    assert [message["Body"] for message in head] == ["a1"]
    assert other == ["b1"]
    assert world.bodies(url) == []
    delete(world, url, head[0])
    assert world.bodies(url) == ["a2", "a3"]


def test_messages_of_a_group_come_in_order_in_one_receive(world):
    url = world.queue("q.fifo")
    for body in "abcdefghijkl":
        send(world, url, body)

    first = world.receive(url)

    assert [message["Body"] for message in first] == list("abcdefghij")
    assert world.bodies(url) == []


def test_released_head_comes_back_while_what_is_behind_it_is_in_flight(world):
    url = world.queue("q.fifo")
    for body in "abc":
        send(world, url, body)
    head, *tail = world.receive(url)

    world.do("ChangeMessageVisibility", QueueUrl=url, ReceiptHandle=head["ReceiptHandle"], VisibilityTimeout=0)

    assert world.bodies(url) == ["a"]
    for message in tail:
        world.do("ChangeMessageVisibility", QueueUrl=url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0)
    assert world.bodies(url) == []


def test_released_message_waits_for_what_is_in_flight_before_it(world):
    url = world.queue("q.fifo")
    for body in "abcd":
        send(world, url, body)
    first, second, third = world.receive(url, 3)

    world.do("ChangeMessageVisibility", QueueUrl=url, ReceiptHandle=second["ReceiptHandle"], VisibilityTimeout=0)

    assert world.bodies(url) == []
    delete(world, url, first)
    assert world.bodies(url) == ["b"]
    delete(world, url, third)
    assert world.bodies(url) == []


def test_deleted_message_opens_its_group_for_what_it_blocked(world):
    url = world.queue("q.fifo")
    for body in "abc":
        send(world, url, body)
    first, second = world.receive(url, 2)
    world.do("ChangeMessageVisibility", QueueUrl=url, ReceiptHandle=first["ReceiptHandle"], VisibilityTimeout=0)
    (first,) = world.receive(url, 2)

    delete(world, url, first)
    assert world.bodies(url) == []
    delete(world, url, second)

    assert world.bodies(url) == ["c"]


def test_expired_lease_opens_the_group_from_its_head(world):
    url = world.queue("q.fifo", VisibilityTimeout="5")
    for body in "ab":
        send(world, url, body)
    world.receive(url, 1)
    world.pass_time(5)

    assert world.bodies(url) == ["a", "b"]


def test_groups_run_side_by_side(world):
    url = world.queue("q.fifo")
    for number in range(3):
        for group in "xyz":
            send(world, url, f"{group}{number}", group)

    got = [world.bodies(url, 3) for _ in range(3)]

    assert sorted(body for bodies in got for body in bodies) == sorted(f"{g}{n}" for g in "xyz" for n in range(3))[:9]


def test_group_order_holds_over_many_receives_and_deletes(world):
    url = world.queue("q.fifo")
    for number in range(20):
        for group in "xyz":
            send(world, url, f"{group}{number:02}", group)
    seen = {"x": [], "y": [], "z": []}

    while messages := world.receive(url, 7):
        for message in messages:
            seen[message["Body"][0]].append(message["Body"])
            delete(world, url, message)

    assert {group: bodies == sorted(bodies) and len(bodies) for group, bodies in seen.items()} == {
        "x": 20,
        "y": 20,
        "z": 20,
    }


def test_same_deduplication_id_within_five_minutes_is_one_message(world):
    url = world.queue("q.fifo")

    first = send(world, url, "a", dedup="d")
    again = send(world, url, "b", group="other", dedup="d")
    message = world.receive(url)
    delete(world, url, message[0])
    world.pass_time(299)
    after_delete = send(world, url, "c", dedup="d")
    world.pass_time(2)
    later = send(world, url, "d", dedup="d")

    assert again["MessageId"] == after_delete["MessageId"] == first["MessageId"]
    assert again["SequenceNumber"] == first["SequenceNumber"]
    assert later["MessageId"] != first["MessageId"]
    assert world.bodies(url) == ["d"]


def test_deduplication_is_by_group_when_the_queue_says_so(world):
    url = world.queue("q.fifo", DeduplicationScope="messageGroup", FifoThroughputLimit="perMessageGroupId")

    send(world, url, "a", "g1", "d")
    send(world, url, "b", "g2", "d")
    send(world, url, "c", "g1", "d")

    assert sorted(world.bodies(url)) == ["a", "b"]


def test_content_is_the_deduplication_id_when_the_queue_says_so(world):
    url = world.queue("q.fifo", ContentBasedDeduplication="true")

    first = world.send(url, "a", MessageGroupId="g")
    again = world.send(url, "a", MessageGroupId="g")
    world.send(url, "b", MessageGroupId="g")

    assert first["MessageId"] == again["MessageId"]
    assert world.bodies(url) == ["a", "b"]


def test_sequence_numbers_have_twenty_digits_and_grow(world):
    url = world.queue("q.fifo")

    numbers = [send(world, url, body)["SequenceNumber"] for body in "abc"]

    assert [len(number) for number in numbers] == [20, 20, 20]
    assert numbers == sorted(set(numbers))
    told = world.receive(url, AttributeNames=["All"])[0]["Attributes"]
    assert told["SequenceNumber"] == numbers[0]
    assert (told["MessageGroupId"], told["MessageDeduplicationId"]) == ("g", "d-a")


def test_fifo_send_needs_group_and_deduplication_id_and_takes_no_delay(world):
    url = world.queue("q.fifo")

    refused(world, "MissingRequiredParameterException", "SendMessage", QueueUrl=url, MessageBody="x")
    refused(world, "InvalidParameterValueException", "SendMessage", QueueUrl=url, MessageBody="x", MessageGroupId="g")
    message = refused(
        world,
        "InvalidParameterValueException",
        "SendMessage",
        QueueUrl=url,
        MessageBody="x",
        MessageGroupId="g",
        MessageDeduplicationId="d",
        DelaySeconds=2,
    )

    assert message == (
        "Value 2 for parameter DelaySeconds is invalid. Reason: The request include parameter that is not valid for "
        "this queue type."
    )


@pytest.mark.parametrize("wrong", ["", "a b", "ä", "x" * 129])
def test_fifo_ids_must_be_letters_digits_and_punctuation(world, wrong):
    url = world.queue("q.fifo", ContentBasedDeduplication="true")
    both = {"QueueUrl": url, "MessageBody": "x"}

    refused(world, "InvalidParameterValueException", "SendMessage", **both, MessageGroupId=wrong)
    refused(
        world, "InvalidParameterValueException", "SendMessage", **both, MessageGroupId="g", MessageDeduplicationId=wrong
    )


def test_fifo_batch_without_group_is_refused_as_a_whole(world):
    url = world.queue("q.fifo")

    message = refused(
        world,
        "InvalidParameterValueException",
        "SendMessageBatch",
        QueueUrl=url,
        Entries=[{"Id": "1", "MessageBody": "x", "MessageDeduplicationId": "d"}],
    )

    assert message == "The request must contain the parameter MessageGroupId."


def test_handle_of_an_ended_lease_is_an_error_on_a_fifo_queue(world):
    url = world.queue("q.fifo", VisibilityTimeout="5")
    send(world, url, "a")
    handle = world.receive(url)[0]["ReceiptHandle"]
    world.pass_time(5)

    for action, fields in (("DeleteMessage", {}), ("ChangeMessageVisibility", {"VisibilityTimeout": 5})):
        message = refused(world, "InvalidParameterValueException", action, QueueUrl=url, ReceiptHandle=handle, **fields)
        assert (
            message == f"Value {handle} for parameter ReceiptHandle is invalid. Reason: The receipt handle has expired."
        )


def test_second_delete_of_a_fifo_message_succeeds(world):
    url = world.queue("q.fifo")
    send(world, url, "a")
    message = world.receive(url)[0]

    delete(world, url, message)
    delete(world, url, message)

    assert world.bodies(url) == []


def test_same_receive_attempt_gives_the_same_messages_again(world):
    url = world.queue("q.fifo", VisibilityTimeout="30")
    send(world, url, "a")
    send(world, url, "b")

    first = world.receive(url, 1, ReceiveRequestAttemptId="try-1")
    world.pass_time(20)
    again = world.receive(url, 1, ReceiveRequestAttemptId="try-1")
    world.pass_time(20)

    assert again == first
    assert world.bodies(url) == []  # the lease began anew
    delete(world, url, again[0])
    assert [message["Body"] for message in world.receive(url, 1, ReceiveRequestAttemptId="try-1")] == ["b"]


def test_dead_letters_of_a_fifo_queue_keep_group_and_begin_a_new_age(world):
    dead = world.queue("dead.fifo")
    url = world.queue("q.fifo", RedrivePolicy=world.redrive("dead.fifo", 1), VisibilityTimeout="1")
    send(world, url, "a")
    send(world, url, "b")
    world.receive(url, 1)
    world.pass_time(1)

    assert world.bodies(url) == ["b"]
    letter = world.receive(dead, AttributeNames=["All"])[0]

    assert (letter["Body"], letter["Attributes"]["MessageGroupId"]) == ("a", "g")
    assert letter["Attributes"]["SentTimestamp"] == "1800000001000"


def test_queues_delay_holds_a_fifo_message_back(world):
    url = world.queue("q.fifo", DelaySeconds="5")
    send(world, url, "a")

    assert world.bodies(url) == []
    world.pass_time(5)
    assert world.bodies(url) == ["a"]


def test_later_message_does_not_overtake_a_head_that_is_still_delayed(world):
    url = world.queue("q.fifo", DelaySeconds="5")
    send(world, url, "a")
    world.do("SetQueueAttributes", QueueUrl=url, Attributes={"DelaySeconds": "0"})
    send(world, url, "b")

    assert world.bodies(url) == []
    world.pass_time(5)
    assert world.bodies(url) == ["a", "b"]


def test_receive_attempt_is_a_new_one_once_its_messages_have_changed_hands(world):
    url = world.queue("q.fifo", VisibilityTimeout="5")
    send(world, url, "a")
    first = world.receive(url, ReceiveRequestAttemptId="try-1")[0]
    world.pass_time(5)

    second = world.receive(url, ReceiveRequestAttemptId="try-2")[0]
    again = world.receive(url, ReceiveRequestAttemptId="try-1")

    assert again == []
    assert second["ReceiptHandle"] != first["ReceiptHandle"]


def test_receive_attempt_is_a_new_one_once_its_lease_has_ended(world):
    url = world.queue("q.fifo", VisibilityTimeout="5")
    send(world, url, "a")
    first = world.receive(url, ReceiveRequestAttemptId="try")[0]
    world.pass_time(5)

    again = world.receive(url, ReceiveRequestAttemptId="try", AttributeNames=["All"])[0]

    assert again["Attributes"]["ApproximateReceiveCount"] == "2"
    assert again["ReceiptHandle"] != first["ReceiptHandle"]
