"""Queues on SQS that are not as a start would make them, or change while the system works."""

import re

import pytest

CODE = """
    class Only(Task):
        async def run(self, data, context: TaskContext):
            with effect(data, context):
                if data == "slow":
                    await asyncio.sleep(1.5)
                if data == "never":
                    raise GiveUp("as its name says")
"""


@pytest.fixture
def job(app, sqs):
    """One worker, pointed at the server; nothing is started yet."""
    sqs.point(app)
    app.task("work", CODE)
    app.manifest("work Only")
    app.settings |= {"POOL_SIZE": 1, "LOG_LEVEL": "INFO", "SHUTDOWN_S": 2}
    return app


@pytest.fixture
def client(sqs):
    made = sqs.client()
    yield made
    made.close()


def test_start_on_queues_that_others_made_tells_what_differs_and_works(job, client):
    for kind in ("requests", "rejects", "dead"):
        client.create_queue(QueueName=f"msgparser-{kind}-q", Attributes={"SqsManagedSseEnabled": "false"})
    checked = job.cli("check", CREATE_QUEUES=False)
    job.publish("never")

    system = job.start(CREATE_QUEUES=False)
    job.until_effect("Only", "failed")

    for told in (system.log(), checked.stdout):
        assert "Queue msgparser-rejects-q: it keeps messages for 4 days" in told
        assert "Queue msgparser-requests-q: it has no redrive to the dead queue" in told
        assert "Queue msgparser-dead-q: messages are not encrypted at rest" in told
    assert checked.returncode == 0
    assert "problem" not in checked.stdout


def redriven(client, name, receives):
    """A queue as people have it: with a redrive of its own."""
    dead = client.create_queue(QueueName="msgparser-dead-q")["QueueUrl"]
    arn = client.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    policy = f'{{"deadLetterTargetArn": "{arn}", "maxReceiveCount": {receives}}}'
    client.create_queue(QueueName=name, Attributes={"RedrivePolicy": policy})


def test_start_is_refused_when_the_redrive_moves_a_message_after_one_receive(job, client):
    redriven(client, "msgparser-requests-q", 1)

    system = job.start()

    assert system.wait() == 2
    assert "its maxReceiveCount is 1" in system.log()
    assert "aws sqs set-queue-attributes --queue-url" in system.log()


def test_system_starts_on_a_queue_with_the_usual_redrive_and_says_what_mends_it(job, client):
    """It refused to start on what every Terraform module makes."""
    redriven(client, "msgparser-requests-q", 5)

    checked = job.cli("check")
    job.publish("never")
    system = job.start()
    job.until_effect("Only", "failed")

    for told in (system.log(), checked.stdout):
        assert "Queue msgparser-requests-q: its maxReceiveCount is 5" in told
        assert re.search(r"aws sqs set-queue-attributes --queue-url .*maxReceiveCount\\\":1000}\"}'", told)
    assert checked.returncode == 0


def test_start_is_refused_when_a_companys_dead_letter_queue_is_named_for_the_retries(job, client):
    """DEAD_LETTER_QUEUE was taken for the dead-letter queue: old messages of somebody else were run and removed."""
    theirs = client.create_queue(QueueName="orders-dlq")["QueueUrl"]
    client.send_message(QueueUrl=theirs, MessageBody="ok: an old dead letter")
    job.settings |= {"DEAD_LETTER_QUEUE": "orders-dlq", "REQUESTS_QUEUE": "orders"}

    checked = job.cli("check")
    system = job.start()

    assert system.wait() == 2
    assert checked.returncode == 2
    for told in (checked.stdout, system.log()):
        assert "DEAD_LETTER_QUEUE is an earlier name of REJECTS_QUEUE, and it is the queue of retries, not of" in told
        assert "Queue orders-dlq: REJECTS_QUEUE names it, it has no tag mulligan-prefix; 1 of about 1 messages" in told
        assert "set ADOPT_REJECTS=true" in told
    (message,) = client.receive_message(QueueUrl=theirs, WaitTimeSeconds=5)["Messages"]
    assert message["Body"] == "ok: an old dead letter"
    assert job.count("Only", "start") == 0


def test_start_is_refused_when_the_retries_go_where_sqs_moves_dead_messages_and_adopted_when_it_is_meant(job, client):
    dead = client.create_queue(QueueName="orders-dlq")["QueueUrl"]
    arn = client.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    policy = f'{{"deadLetterTargetArn": "{arn}", "maxReceiveCount": 500}}'
    client.create_queue(QueueName="orders", Attributes={"RedrivePolicy": policy})
    job.settings |= {"REJECTS_QUEUE": "orders-dlq", "REQUESTS_QUEUE": "orders"}

    refused = job.start()
    code = refused.wait()
    job.settings["ADOPT_REJECTS"] = True
    checked = job.cli("check")
    job.start().until_up()

    assert code == 2
    assert "it is where SQS moves the dead messages of orders (its redrive)" in refused.log()
    assert checked.returncode == 0
    assert "note     queues    ADOPT_REJECTS is true, and this is let pass. Queue orders-dlq" in checked.stdout


def test_check_tells_of_dead_letters_of_tasks_that_the_application_does_not_have_and_gives_them_back(job, until):
    job.publish("never")
    system = job.start().until_up()
    until(lambda: job.status()["dead"]["ready"] == 1, "the letter is there")
    system.end()
    job.task("work", CODE.replace("class Only", "class Other"))
    job.manifest("work Other")

    checked = job.cli("check")

    assert checked.returncode == 0
    assert "msgparser-dead-q: 1 of 1 copy looked at is of tasks that this application doesn't have: Only" in (
        checked.stdout
    )
    assert job.status()["dead"]["ready"] == 1


def test_start_and_check_say_that_a_ledger_is_of_one_host_when_the_queues_are_not(job):
    checked = job.cli("check")
    system = job.start().until_up()

    assert "note     ledger    the ledger is local (sqlite:" in checked.stdout
    assert "the ledger is local (sqlite:" in system.log()
    assert "note     settings  COMMON_PREFIX is 'msgparser', the default" in checked.stdout


def test_message_whose_attempts_are_cut_short_again_and_again_is_not_moved_away_by_the_redrive_of_its_queue(
    job, client, until
):
    """After two receives SQS would have moved it, without its retry state."""
    redriven(client, "msgparser-requests-q", 2)
    job.publish("slow")
    for starts in (1, 2, 3):
        system = job.start()
        until(lambda starts=starts: job.count("Only", "start") == starts, f"start {starts}")
        system.terminate()
        assert system.wait() == 0

    assert job.dead() == []
    job.drain(SHUTDOWN_S=25)
    assert job.count("Only", "end") == 1
    assert job.dead() == []


def test_start_names_each_queue_that_is_missing_and_makes_none_when_it_may_not(job, client):
    client.create_queue(QueueName="msgparser-requests-q")

    system = job.start(CREATE_QUEUES=False)

    assert system.wait() == 2
    assert (
        "The queues msgparser-rejects-q and msgparser-dead-q aren't there. `mulligan setup` makes them" in system.log()
    )
    assert len(client.list_queues()["QueueUrls"]) == 1


def test_check_tells_of_a_clock_that_is_off(job, sqs):
    job.cli("setup")
    sqs.play(1, {"action": "*", "fault": {"kind": "skew", "by_s": 1800}})

    checked = job.cli("check")

    assert checked.returncode == 0
    assert re.search(r"this machine's clock is off by -(1799|180[01]) s", checked.stdout)


def test_queue_that_is_deleted_is_told_loudly_and_not_made_anew_while_the_other_works_on(job, sqs, client, until):
    job.settings |= {"NO_OF_REQUESTS_CONSUMERS": 1, "NO_OF_REJECTS_CONSUMERS": 1}
    system = job.start().until_up()
    urls = {name: client.get_queue_url(QueueName=f"msgparser-{name}-q")["QueueUrl"] for name in ("requests", "rejects")}

    client.delete_queue(QueueUrl=urls["rejects"])
    until(lambda: "msgparser-rejects-q" in system.log() and "NonExistentQueue" in system.log(), "the log tells of it")
    job.publish("ok")
    job.until_effect("Only", "end", "ok")

    assert system.popen.poll() is None
    assert not any(url.endswith("rejects-q") for url in client.list_queues()["QueueUrls"])


def test_messages_that_are_purged_while_they_are_worked_on_do_no_harm(job, client, until):
    system = job.start().until_up()
    url = client.get_queue_url(QueueName="msgparser-requests-q")["QueueUrl"]
    job.publish("slow")
    job.until_effect("Only", "start", "slow")

    client.purge_queue(QueueUrl=url)
    job.until_effect("Only", "end", "slow")
    job.publish("after")
    job.until_effect("Only", "end", "after")

    system.terminate()
    assert system.wait() == 0
    assert "Traceback" not in system.log()
