"""`mulligan check` and `python main.py` on a real server, as a user runs them."""

import os
import subprocess
import sysconfig
from pathlib import Path

import pytest

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


async def test_main_job_leaves_the_sqs_server_out_where_there_is_no_embedded_queue(mulligan, broker):
    told = mulligan("run", "--drain", "--with-sqs-server", "9324")

    assert told.returncode == 0, told.stderr
    assert "no SQS server on port 9324" in told.stderr
    assert "guest:guest" not in told.stderr
