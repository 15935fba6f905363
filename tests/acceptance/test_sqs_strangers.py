"""Strangers beside the main job: boto3 and the `aws` command line send, and see rejects and dead letters."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.acceptance.harness.sqs import KEY, MULLIGAN, REGION

PAGE = Path(__file__).resolve().parents[2] / "docs" / "producers.md"
AWS = Path(sys.executable).with_name("aws")
CODE = """
    class Only(Task):
        async def run(self, data, context: TaskContext):
            with effect(data, context):
                if data.startswith("later"):
                    raise Retry(after_s=600, reason="not today")
                if data.startswith("never"):
                    raise GiveUp("never")
"""


@pytest.fixture(params=["embedded", "memory"])
def job(request, app, start_sqs):
    """The main job, and `mulligan sqs-server` before the embedded queue, or with queues that the job is pointed at."""
    app.task("work", CODE)
    app.manifest("work Only")
    app.settings |= {"POOL_SIZE": 1, "LOG_LEVEL": "INFO", "SHUTDOWN_S": 2}
    options = ["--memory"] if request.param == "memory" else []
    server = start_sqs(*options, command=(str(MULLIGAN), "sqs-server"), cwd=app.folder, env=app._environment({}))
    if request.param == "memory":
        server.point(app)
    app.start().until_up()
    return app, server


def aws(server, *words: str):
    """The answer of an `aws sqs` command."""
    if not AWS.exists():
        pytest.skip("the aws command line is not installed: make setup")
    environment = {
        "PATH": os.environ["PATH"],
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": KEY,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ENDPOINT_URL_SQS": server.url,
    }
    done = subprocess.run(
        [str(AWS), "sqs", *words], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_what_boto3_and_aws_send_is_done_and_rejects_and_dead_letters_are_seen_by_boto3(job, until):
    app, server = job
    client = server.client()
    until(lambda: len(client.list_queues().get("QueueUrls", [])) == 3, "the queues are there")
    requests, rejects, dead = (
        client.get_queue_url(QueueName=f"msgparser-{kind}-q")["QueueUrl"] for kind in ("requests", "rejects", "dead")
    )
    colour = {"colour": {"DataType": "String", "StringValue": "blue"}}

    client.send_message(QueueUrl=requests, MessageBody="boto3", MessageAttributes=colour)
    client.send_message_batch(
        QueueUrl=requests,
        Entries=[{"Id": "1", "MessageBody": "later"}, {"Id": "2", "MessageBody": "never", "MessageAttributes": colour}],
    )
    sent = aws(server, "send-message", "--queue-url", requests, "--message-body", "aws")
    for body, what in (("boto3", "end"), ("aws", "end"), ("later", "failed"), ("never", "failed")):
        app.until_effect("Only", what, body)

    def depth(url: str, kind: str = "") -> int:
        name = f"ApproximateNumberOfMessages{kind}"
        return int(client.get_queue_attributes(QueueUrl=url, AttributeNames=[name])["Attributes"][name])

    until(lambda: depth(rejects, "Delayed") + depth(rejects, "NotVisible") == 1, "the reject waits for its time")
    until(lambda: depth(dead) == 1, "the dead letter is there")
    (letter,) = client.receive_message(QueueUrl=dead, MessageAttributeNames=["All"], WaitTimeSeconds=5)["Messages"]
    until(lambda: depth(requests) + depth(requests, "NotVisible") == 0, "all requests are settled")
    client.close()

    assert letter["Body"] == "never"
    assert letter["MessageAttributes"]["colour"] == colour["colour"]
    story = json.loads(letter["MessageAttributes"]["mulligan"]["StringValue"])
    assert story["tasks"]["Only"][:2] == ["x", 1]  # exhausted at the first attempt
    assert sent["MessageId"]


def test_second_send_of_the_page_for_producers_is_no_second_message(job, until):
    app, server = job
    (code,) = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    client = server.client()
    until(lambda: len(client.list_queues().get("QueueUrls", [])) == 3, "the queues are there")
    url = client.get_queue_url(QueueName="msgparser-requests-q")["QueueUrl"]
    sent = {"sqs": client, "url": url}
    exec(code, sent)
    app.until_effect("Only", "end", "s1")

    attributes = {"mulligan-uid": {"DataType": "String", "StringValue": sent["message_id"]}}
    client.send_message(QueueUrl=url, MessageBody="s1", MessageAttributes=attributes)
    client.send_message(QueueUrl=url, MessageBody="last")
    app.until_effect("Only", "end", "last")
    until(lambda: sum(app.status()["requests"][kind] for kind in ("ready", "in_flight")) == 0, "all is settled")
    client.close()

    assert app.count("Only", "start", "s1") == 1
