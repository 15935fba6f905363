"""What commands print and log while the password of a URL is a nasty one: nothing of it."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.secret_url import leaks, urls

COMMANDS = [
    ["settings"], ["settings", "--json"], ["check"], ["status"], ["send", "hello"], ["peek", "requests"],
    ["dead", "ls"], ["setup"], ["iam-policy", "--role", "worker"],
]  # fmt: skip
# nothing listens there, so each command is done at once
NOBODY = ("127.0.0.1:1", "127.0.0.1:1,127.0.0.1:2")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(urls(hosts=NOBODY), st.sampled_from(["BROKER_URL", "LEDGER_URL"]), st.sampled_from(COMMANDS), st.booleans())
def test_a_command_prints_nothing_of_the_password_of_a_url(
    mulligan, application, monkeypatch, url, name, command, shows_tracebacks
):
    (application / "config").mkdir(exist_ok=True)
    (application / "config" / "configuration.py").write_text(f"{name} = {url!a}\n")
    monkeypatch.setenv("MULLIGAN_DEBUG", "1" if shows_tracebacks else "0")

    _, out, err = mulligan(*command)

    assert not leaks(out)
    assert not leaks(err)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("amqp://guest:Zq7 canary@127.0.0.1:1/v", "amqp://guest:***@127.0.0.1:1/v"),
        ("amqp://guest:Zq7canary%0A@127.0.0.1:1/v\n", "amqp://guest:***@127.0.0.1:1/v"),
        ("postgresql://me:p@Zq7canary@a:1,b:2/db?sslmode=require", "postgresql://me:***@a:1,b:2/db?sslmode=require"),
        ("postgresql:///db?user=me&password=Zq7canary", "postgresql:///db?user=me&password=***"),
    ],
)
def test_settings_shows_host_port_and_database_of_a_url_with_an_odd_password(
    mulligan, application, monkeypatch, url, shown
):
    monkeypatch.setenv("MULLIGAN_BROKER_URL", url)

    told = json.loads(mulligan("settings", "--json")[1])
    table = mulligan("settings")[1]

    assert told["BROKER_URL"]["value"] == shown
    assert repr(shown) in table


@pytest.mark.parametrize("sign", ["#", "/", "?"])
@pytest.mark.parametrize(
    ("name", "scheme"), [("BROKER_URL", "amqp"), ("LEDGER_URL", "postgresql"), ("BROKER_URL", "sqs")]
)
def test_check_says_how_to_write_a_sign_that_ends_the_password_early(
    mulligan, application, monkeypatch, name, scheme, sign
):
    monkeypatch.setenv(f"MULLIGAN_{name}", f"{scheme}://guest:Zq7canary{sign}9@host/db")

    code, out, _ = mulligan("check")

    assert code == 2
    assert "a # / ? in the password is written %23 / %2F / %3F" in out
    assert not leaks(out)


def test_check_refuses_a_line_break_in_a_password_and_says_where_it_comes_from(mulligan, application, monkeypatch):
    monkeypatch.setenv("MULLIGAN_BROKER_URL", "amqp://guest:Zq7canary\n@127.0.0.1:1/")

    code, out, _ = mulligan("check")

    assert code == 2
    assert "'amqp://guest:***@127.0.0.1:1/' can't be used: it holds the control character U+000A (a line break)" in out
    assert not leaks(out)


def test_an_error_that_nobody_expects_shows_nothing_of_a_password_that_it_quotes(
    mulligan, application, monkeypatch, capsys
):
    monkeypatch.setenv("MULLIGAN_BROKER_URL", "amqp://guest:Zq7%2Fcanary@127.0.0.1:1/")
    monkeypatch.setenv("MULLIGAN_DEBUG", "1")
    (application / "tasks" / "one.py").write_text(
        "from mulligan import Task\n\n\nclass One(Task):\n"
        "    async def run(self, data: str) -> None: ...\n"
        "    async def probe(self):\n"
        "        raise RuntimeError('invalid literal for int(): Zq7/canary, and of http://u:Zq7canary@host/')\n"
    )

    _, out, _ = mulligan("check")

    assert "its probe() raises RuntimeError: invalid literal for int(): ***, and of http://***@host/" in out


def test_a_failed_task_is_told_without_the_password_of_a_url_in_its_error(mulligan, application):
    (application / "tasks" / "one.py").write_text(
        "from mulligan import Task\n\n\nclass One(Task):\n"
        "    async def run(self, data: str) -> None:\n"
        "        raise RuntimeError('no answer of redis://me:Zq7 canary@cache:6379/0')\n"
    )

    code, out, _ = mulligan("tasks", "run", "One", "hello")

    assert code == 1
    assert "RuntimeError: no answer of redis://me:***@cache:6379/0" in out
    assert not leaks(out)


@pytest.mark.parametrize("command", ["status", "check"])
def test_an_endpoint_without_a_scheme_is_told(mulligan, application, monkeypatch, command):
    """The text said `://`, which is not a URL, and what was to take passwords out of it failed: status said nothing."""
    monkeypatch.setenv("MULLIGAN_BROKER_URL", "sqs://eu-west-1?endpoint=127.0.0.1:9324")

    code, out, err = mulligan(command)

    assert code == 2
    assert "is not http(s)://HOST:PORT: it is not a URL: it has no scheme with :// after it." in out + err
