"""The system as it is started, with passwords that are nasty in a URL: nothing of them on a terminal or in a log."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.rabbitmq import RabbitServer
from tests.support.secret_url import leaks

NASTY = [
    ("BROKER_URL", "amqp://guest:Zq7 canary@127.0.0.1:1/"),
    ("BROKER_URL", "amqp://guest:Zq7canary\n@127.0.0.1:1/"),
    ("BROKER_URL", "amqp://guest:Zq7%canary#9@127.0.0.1:1/"),
    ("LEDGER_URL", "postgresql://me:p@Zq7canary@127.0.0.1:1/db"),
    ("LEDGER_URL", "postgresql://127.0.0.1:1/db?user=me&password=a%26Zq7canary"),
]


def started(folder: Path, *arguments: str, **env: str) -> subprocess.CompletedProcess[bytes]:
    """The program, in the application of a folder, until it has ended."""
    clean = {name: text for name, text in os.environ.items() if not name.startswith("MULLIGAN_")}
    command = [sys.executable, "-m", "mulligan", *arguments]
    return subprocess.run(command, cwd=folder, env={**clean, **env}, capture_output=True, timeout=120, check=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh application."""
    made = tmp_path_factory.mktemp("application")
    assert started(made, "init").returncode == 0
    return made


@pytest.mark.parametrize("log_format", ["text", "json"])
@pytest.mark.parametrize(("name", "url"), NASTY)
def test_a_run_that_can_not_reach_its_services_logs_nothing_of_a_password(folder, tmp_path, name, url, log_format):
    env = {
        f"MULLIGAN_{name}": url,
        "MULLIGAN_LOG_FILE": str(tmp_path / "log"),
        "MULLIGAN_LOG_FORMAT": log_format,
        "MULLIGAN_LOG_LEVEL": "DEBUG",
        "MULLIGAN_DEBUG": "1",
        "MULLIGAN_POOL_SIZE": "1",
        "MULLIGAN_START_WAIT_S": "0.5",
    }

    ended = started(folder, "run", "--for", "1", **env)

    told = ended.stdout + ended.stderr + (tmp_path / "log").read_bytes()
    assert ended.returncode != 0 or b"stopped" in told
    assert not leaks(told.decode())


def test_a_run_on_a_broker_whose_password_has_blanks_says_where_it_is_up_without_it(
    folder, rabbitmq: RabbitServer, tmp_path
):
    vhost = rabbitmq.new_vhost()
    rabbitmq.ctl("add_user", "blank", "Zq7 canary @ 7")
    rabbitmq.ctl("set_permissions", "-p", vhost, "blank", ".*", ".*", ".*")
    url = f"amqp://blank:Zq7 canary @ 7@127.0.0.1:{rabbitmq.port}/{vhost}"

    ended = started(folder, "run", "--for", "1", MULLIGAN_BROKER_URL=url, MULLIGAN_LOG_FILE=str(tmp_path / "log"))

    told = ended.stdout + ended.stderr + (tmp_path / "log").read_bytes()
    assert ended.returncode == 0, told
    assert f"up on amqp://blank:***@127.0.0.1:{rabbitmq.port}/{vhost}" in told.decode()
    assert not leaks(told.decode())
