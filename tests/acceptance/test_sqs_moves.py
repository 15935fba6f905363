"""An operator moves dead letters with boto3: by SQS's own redrive, as the console's button does, or by hand."""

import pytest

from tests.acceptance.harness.source import GIVES_UP_UNTIL_REPLAYED
from tests.acceptance.harness.sqs import MULLIGAN


@pytest.fixture(params=["embedded", "memory"])
def job(request, app, start_sqs):
    """The main job, and `mulligan sqs-server` before the embedded queue, or with queues that the job is pointed at."""
    app.task("work", GIVES_UP_UNTIL_REPLAYED)
    app.manifest("work Good", "work Bad")
    app.settings |= {"POOL_SIZE": 1, "LOG_LEVEL": "INFO", "SHUTDOWN_S": 2}
    options = ["--memory"] if request.param == "memory" else []
    server = start_sqs(*options, command=(str(MULLIGAN), "sqs-server"), cwd=app.folder, env=app._environment({}))
    if request.param == "memory":
        server.point(app)
    client = server.client()
    yield app, client, redrive if request.param == "memory" else move_by_hand  # no queue redrives to the embedded ones
    client.close()


def redrive(client, source: str, target: str) -> None:
    """Have SQS move all messages, as it does from any queue that is the redrive target of another."""
    source_arn, target_arn = (
        client.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        for url in (source, target)
    )
    client.start_message_move_task(SourceArn=source_arn, DestinationArn=target_arn)


def move_by_hand(client, source: str, target: str) -> None:
    """As sqsmover does."""
    (message,) = client.receive_message(QueueUrl=source, MessageAttributeNames=["All"], WaitTimeSeconds=5)["Messages"]
    client.send_message(QueueUrl=target, MessageBody=message["Body"], MessageAttributes=message["MessageAttributes"])
    client.delete_message(QueueUrl=source, ReceiptHandle=message["ReceiptHandle"])


@pytest.mark.parametrize("target", ["rejects", "requests"])
def test_dead_letter_that_an_operator_moves_runs_its_failed_task_again_and_no_other(job, until, target):
    """Moved to rejects it was deleted, and only a line at DEBUG told so; moved to requests all its tasks ran again."""
    app, client, move = job
    system = app.start().until_up()
    app.send(["order 1"])
    (letter,) = until(app.dead, "the dead letter is there")

    move(client, *(client.get_queue_url(QueueName=f"msgparser-{kind}-q")["QueueUrl"] for kind in ("dead", target)))
    app.until_effect("Bad", "end", "order 1")
    until(lambda: not any(app.left().values()), "nothing is left")

    assert (app.count("Good", "start"), app.count("Bad", "start")) == (1, 2)
    assert app.dead() == []
    moved = f"{letter['uid']} was moved to msgparser-{target}-q from outside: replayed, generation 1"
    assert [line for line in system.log().splitlines() if moved in line and "info" in line.lower()]
