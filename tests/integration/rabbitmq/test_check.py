"""`mulligan check` and `python main.py` on a real server, as a user runs them."""

import os
import subprocess
import sysconfig
from pathlib import Path

import pytest

from mulligan.core.delivery import Outgoing

MULLIGAN = Path(sysconfig.get_path("scripts")) / "mulligan"


@pytest.fixture
def mulligan(tmp_path, url):
    """Runs commands in a folder as `mulligan init` lays it out, pointed at the test's virtual host."""
    environment = {name: item for name, item in os.environ.items() if not name.startswith(("MULLIGAN_", "SLACK_"))}
    environment["MULLIGAN_COMMON_PREFIX"] = "msgparser"  # what the fixtures declare

    def run(*arguments: str, address: str = url) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [MULLIGAN, *arguments], check=False, cwd=tmp_path, env=environment | {"MULLIGAN_BROKER_URL": address},
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=90,
        )  # fmt: skip

    laid_out = run("init")
    assert laid_out.returncode == 0, laid_out.stderr
    return run


async def test_check_tells_what_the_server_is_when_all_is_well(mulligan, broker):
    told = mulligan("check")

    assert told.returncode == 0, told.stdout
    assert "RabbitMQ 3." in told.stdout or "RabbitMQ 4." in told.stdout
    assert "the user may create queues" in told.stdout
    assert "problem" not in told.stdout


async def test_check_names_missing_rights_and_ends_with_an_error(mulligan, broker, rabbitmq, vhost):
    name = f"reader-{vhost}"
    rabbitmq.ctl("add_user", name, "secret")
    rabbitmq.ctl("set_permissions", "-p", vhost, name, "^$", "^$", ".*")

    told = mulligan("check", address=rabbitmq.url(vhost, name, "secret"))

    assert told.returncode != 0
    assert told.stdout.count("problem  server") >= 3
    assert "write" in told.stdout
    assert "secret" not in told.stdout


async def test_check_tells_of_letters_that_a_policy_of_the_server_has_put_on_dead(
    mulligan, broker, queues, rabbitmq, vhost
):
    rabbitmq.ctl("set_policy", "-p", vhost, "few", "requests-q$", '{"delivery-limit": 1}', "--apply-to", "queues")
    await broker.send(queues.requests, [Outgoing(b"returned too often", {})])
    for _ in range(2):
        (one,) = await broker.receive(queues.requests, 1, wait_s=5.0, lease_s=30.0)
        await broker.release(queues.requests, [(one.receipt, 0.0)])
    while (await broker.depth(queues.dead)).ready == 0:  # within the test's time limit
        await broker.receive(queues.requests, 1, wait_s=0.2, lease_s=30.0)

    told = mulligan("check")

    assert told.returncode == 0, told.stdout
    assert f"of the first 1 on {queues.dead}, RabbitMQ itself moved 1 there" in told.stdout
    assert f"rabbitmqctl -p {vhost} list_policies" in told.stdout


async def test_check_says_that_policies_are_not_seen_and_how_to_look_at_them(mulligan, broker, vhost):
    told = mulligan("check")

    assert f"AMQP doesn't show it: `rabbitmqctl -p {vhost} list_policies`" in told.stdout
    assert "RabbitMQ itself moved" not in told.stdout
    assert "unrouted" not in told.stdout


async def test_main_job_leaves_the_sqs_server_out_where_there_is_no_embedded_queue(mulligan, broker):
    told = mulligan("run", "--drain", "--with-sqs-server", "9324")

    assert told.returncode == 0, told.stderr
    assert "no SQS server on port 9324" in told.stderr
    assert "guest:guest" not in told.stderr
