"""Strangers use the server as a program: the `aws` command line, from its own process."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

AWS = Path(sys.executable).with_name("aws")


@pytest.fixture
def program():
    """Starts `python -m mulligan.servers.sqs` and tells the URL that it prints."""
    started = []

    def start(*options, port=0):
        process = subprocess.Popen(
            [sys.executable, "-m", "mulligan.servers.sqs", "--port", str(port), *options],
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        line = process.stderr.readline()
        assert line.startswith("SQS on http://"), line + process.stderr.read()
        return process, line.split()[2]

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stderr.close()


def aws(url, *words):
    if not AWS.exists():
        pytest.skip("the aws command line is not installed: make setup")
    environment = {
        "PATH": os.environ["PATH"],
        "AWS_ACCESS_KEY_ID": "mulligan",
        "AWS_SECRET_ACCESS_KEY": "mulligan",
        # version 1 of the command line overrides the endpoint for the regions of its early days: not for later ones
        "AWS_DEFAULT_REGION": "eu-south-2",
        "AWS_ENDPOINT_URL_SQS": url,
        "AWS_MAX_ATTEMPTS": "1",
    }
    done = subprocess.run(
        [str(AWS), "sqs", *words], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    return done.returncode, json.loads(done.stdout) if done.stdout.strip() else {}, done.stderr


def test_aws_command_line_sends_receives_and_deletes(program):
    process, url = program()

    queue = aws(url, "create-queue", "--queue-name", "q")[1]["QueueUrl"]
    attributes = '{"colour": {"DataType": "String", "StringValue": "blue"}}'
    sent = aws(url, "send-message", "--queue-url", queue, "--message-body", "hi", "--message-attributes", attributes)[1]
    got = aws(url, "receive-message", "--queue-url", queue, "--message-attribute-names", "All")[1]["Messages"][0]
    deleted = aws(url, "delete-message", "--queue-url", queue, "--receipt-handle", got["ReceiptHandle"])
    told = aws(url, "get-queue-attributes", "--queue-url", queue, "--attribute-names", "All")[1]["Attributes"]
    failed = aws(url, "get-queue-url", "--queue-name", "none")
    old_region = ("--region", "eu-west-1", "--endpoint-url", url)
    elsewhere = aws(url, "list-queues", *old_region)[1]
    made = aws(url, "create-queue", "--queue-name", "q", *old_region)[1]["QueueUrl"]

    assert (got["Body"], got["MessageId"]) == ("hi", sent["MessageId"])
    assert got["MessageAttributes"]["colour"]["StringValue"] == "blue"
    assert deleted[0] == 0
    assert elsewhere == {}  # each region has its own queues
    assert made == queue
    assert (told["ApproximateNumberOfMessages"], told["ApproximateNumberOfMessagesNotVisible"]) == ("0", "0")
    assert failed[0] != 0
    assert "AWS.SimpleQueueService.NonExistentQueue" in failed[2]
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0
    assert process.stderr.read() == "SQS server stopped.\n"


def run_program(*options):
    done = subprocess.run(
        [sys.executable, "-m", "mulligan.servers.sqs", *options],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stderr


def test_wrong_use_is_told_without_a_traceback(tmp_path):
    text = tmp_path / "text.db"
    text.write_text("no database")
    script = tmp_path / "script.json"
    script.write_text("{")
    keys = tmp_path / "keys.json"
    keys.write_text('[{"id": "x", "secret": 1}]')

    for options, part in (
        (("--host", "0.0.0.0"), "--allow-remote"),
        (("--db", "redis://x"), "the scheme redis:// is unknown"),
        (("--db", f"sqlite:///{text}"), "is not a database"),
        (("--fault-script", str(script)), "not a fault script"),
        (("--fault-script", str(tmp_path / "none")), "can't be read"),
        (("--keys", str(keys)), "expected a list like"),
        (("--port", "99999"), "--port 99999"),
    ):
        code, told = run_program("--port", "0", *options)
        assert (code, part in told, "Traceback" in told) == (2, True, False), told


def test_program_ends_when_its_database_is_taken_away(program, tmp_path):
    path = tmp_path / "queue.db"
    process, url = program("--db", f"sqlite:///{path}")
    path.unlink()

    code, _, told = aws(url, "create-queue", "--queue-name", "q")

    assert code != 0
    assert "was deleted, moved or replaced" in told
    assert process.wait(10) == 1
    assert "was deleted, moved or replaced" in process.stderr.read()


@pytest.mark.parametrize("is_embedded", [False, True])
def test_lenient_server_lets_a_queue_be_made_and_purged_again_at_once(program, tmp_path, is_embedded):
    process, url = program("--lenient", *(["--db", f"sqlite:///{tmp_path}/queue.db"] if is_embedded else []))
    named = ("--queue-name", "q")
    queue = aws(url, "create-queue", *named)[1]["QueueUrl"]

    purged = [aws(url, "purge-queue", "--queue-url", queue)[0] for _ in range(2)]
    deleted = aws(url, "delete-queue", "--queue-url", queue)[0]
    again = aws(url, "create-queue", *named)[1]

    assert (purged, deleted, again) == ([0, 0], 0, {"QueueUrl": queue})
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0
