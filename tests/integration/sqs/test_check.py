"""What `mulligan check` prints of queues that can't be used as they are."""


async def test_check_tells_each_problem_of_the_queues_on_a_line_of_its_own(server, broker, mulligan, monkeypatch):
    """They were one line of a screen's height, and the exit code was another one than a start's."""
    monkeypatch.setenv("MULLIGAN_COMMON_PREFIX", "app")
    policy = '{"deadLetterTargetArn":"arn:aws:sqs:eu-west-1:000000000000:app-dead-q","maxReceiveCount":1}'
    client = await broker._open()
    for name in ("app-requests-q", "app-rejects-q"):
        data = {"QueueUrl": broker._queues[name].url, "Attributes": {"RedrivePolicy": policy}}
        await client.call_object("SetQueueAttributes", data, where="test")

    code, told = await mulligan("check")

    assert code == 2
    assert "problem  queues    Queue app-requests-q: its maxReceiveCount is 1" in told
    assert "problem  queues    Queue app-rejects-q: its maxReceiveCount is 1" in told
