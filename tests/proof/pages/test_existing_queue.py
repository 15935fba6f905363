"""The sections "A queue that you have already", followed literally on a queue that is in use."""

import json
import os
import shutil
import sysconfig
from contextlib import closing, contextmanager
from pathlib import Path

import pika
import pytest

from tests.acceptance.harness.sqs import KEY
from tests.acceptance.test_docs import ROOT, Reader
from tests.support.rabbitmq import running

BINARIES = Path(sysconfig.get_path("scripts"))


def section(page: str) -> str:
    """Of a page in docs, what stands below that headline."""
    text = (ROOT / "docs" / page).read_text()
    return text.partition("\n## A queue that you have already\n")[2].partition("\n## ")[0]


@pytest.fixture
def reader(tmp_path):
    """In the folder of a new application called shop. commands: shell scripts that stand before programs of a name."""

    def make(environment: dict[str, str], **commands: str) -> Reader:
        before = tmp_path / "bin"
        before.mkdir()
        for name, script in commands.items():
            (before / name).write_text(f"#!/bin/sh\n{script}\n")
            (before / name).chmod(0o755)
        made = Reader(tmp_path, before, environment | {"PATH": f"{BINARIES}:{os.environ['PATH']}"})
        made.run("mulligan init shop")
        made.run("cd shop")
        return made

    return make


def test_page_of_sqs_takes_over_a_queue_with_a_redrive_when_it_is_followed_literally(reader, start_sqs):
    if not (BINARIES / "aws").exists():
        pytest.skip("the aws command line is not installed: make setup")
    server = start_sqs()
    keys = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": KEY, "AWS_DEFAULT_REGION": "eu-west-1"}
    # version 1 of the command line takes its endpoint from no variable
    aws = f'exec "{BINARIES}/aws" --endpoint-url {server.url} "$@"'
    shop = reader({**keys, "AWS_ENDPOINT_URL_SQS": server.url}, aws=aws)
    redrive = {"deadLetterTargetArn": "arn:aws:sqs:eu-west-1:000000000000:orders-dlq", "maxReceiveCount": 5}
    attributes = json.dumps({"RedrivePolicy": json.dumps(redrive)})
    shop.run("aws sqs create-queue --queue-name orders-dlq")
    shop.run(f"aws sqs create-queue --queue-name orders --attributes '{attributes}'")
    shop.run("aws sqs send-message --queue-url orders --message-body s1")
    shop.run("aws sqs send-message --queue-url orders-dlq --message-body theirs")

    shop.follow(section("sqs.md").replace("123456789012", "000000000000"))

    checked = shop.run("mulligan check")
    counts = json.loads(shop.run("mulligan status --json"))["queues"]
    assert [counts[kind]["ready"] for kind in ("requests", "rejects", "dead")] == [0, 0, 0]
    assert "maxReceiveCount" not in checked
    assert "redrive" not in checked
    assert "theirs" in shop.run("aws sqs receive-message --queue-url orders-dlq")
    assert shop.seen.count("console") == 4


@contextmanager
def channel_of(url: str):
    """A channel of pika, until the end of the block."""
    with closing(pika.BlockingConnection(pika.URLParameters(url))) as connection:
        yield connection.channel()


def test_page_of_rabbitmq_leads_messages_to_the_application_when_it_is_followed_literally(reader):
    program = shutil.which("rabbitmqadmin")
    if program is None:
        pytest.skip("rabbitmqadmin is not installed: tools/install/rabbitmq.sh")
    with running(plugins=["rabbitmq_management"]) as server, channel_of(url := server.url("%2F")) as channel:
        channel.exchange_declare("orders-xchange", "topic", durable=True)
        channel.queue_declare("orders", durable=True)
        channel.queue_bind("orders", "orders-xchange", "orders")
        channel.basic_publish("orders-xchange", "orders", b"theirs")
        admin = f'exec "{program}" --host 127.0.0.1 --port {server.management_port} "$@"'
        shop = reader({"MULLIGAN_BROKER_URL": url}, rabbitmqadmin=admin)

        shop.follow(section("rabbitmq.md"))
        channel.basic_publish("orders-xchange", "orders", b"s1")
        told = shop.run("mulligan run --drain")

        assert "is done: " in told
        assert channel.queue_declare("orders", passive=True).method.message_count == 1
        assert shop.seen.count("console") == 3


def test_classic_queue_is_refused_with_the_page_that_says_what_to_do(reader, rabbitmq):
    url = rabbitmq.url(rabbitmq.new_vhost())
    with channel_of(url) as channel:
        channel.queue_declare("orders", durable=True)
    shop = reader({"MULLIGAN_BROKER_URL": url, "MULLIGAN_REQUESTS_QUEUE": "orders"})

    told = shop.run("mulligan setup; test $? = 2")

    assert "Queue orders: " in told
    assert 'docs/rabbitmq.md, "A queue that you have already"' in told
