import subprocess
import sys

import pytest
from pydantic import ValidationError

from mulligan.core.policy import Backoff, Policy
from mulligan.settings.describe import NAMES, default_of, expected, help_of, shown, unit_of
from mulligan.settings.model import Settings


def test_settings_for_a_worker_say_what_the_settings_say():
    settings = Settings(
        broker_url="sqlite:////tmp/a b.db",
        log_file=None,
        middleware=("a.b:c",),
        lease_s=1.5,
        on_unrouted="drop",
        task_max_attempts=5,
        shutdown_s=10,
    )

    part = settings.for_worker()

    assert (part.broker_url, part.log_file, part.middleware) == ("sqlite:////tmp/a b.db", None, ("a.b:c",))
    assert (part.lease_s, part.on_unrouted, part.policy.max_attempts, part.grace_s) == (1.5, "drop", 5, 5.0)
    assert part.queues == settings.queues


def test_settings_can_not_be_changed():
    with pytest.raises(ValidationError):
        Settings().pool_size = 3


def test_settings_give_the_policy_of_tasks_that_say_nothing():
    settings = Settings(task_max_attempts=4, task_backoff_s=1, task_backoff_max_s=8, task_timeout_s=2)

    assert settings.policy == Policy(4, Backoff(first_s=1.0, factor=2.0, max_s=8.0), 2.0)


@pytest.mark.parametrize(("shutdown_s", "grace_s"), [(25.0, 20.0), (10.0, 5.0), (4.0, 2.0)])
def test_settings_leave_tasks_all_but_five_seconds_of_the_shutdown_and_at_least_half(shutdown_s, grace_s):
    assert Settings(shutdown_s=shutdown_s).grace_s == grace_s


def test_every_setting_is_described():
    for name in NAMES:
        assert help_of(name).endswith((".", "NAME")), name
        assert expected(name), name
        assert len(help_of(name)) <= 110, name


def test_every_default_is_valid():
    Settings.model_validate({name.lower(): default_of(name) for name in NAMES})


def test_expected_says_kind_unit_and_bounds():
    assert expected("CONCURRENCY") == "a whole number from 1 to 10,000"
    assert expected("TASK_TIMEOUT_S") == "a number of seconds, more than 0, at most 604,800"
    assert expected("LOG_FILE_MAX_BYTES") == "a whole number of bytes, at least 10,000"
    assert expected("ON_UNROUTED") == "one of 'dead_letter', 'drop'"
    assert expected("CREATE_QUEUES") == "True or False"
    assert unit_of("LEDGER_KEEP_DAYS") == "days"


def test_shown_survives_a_value_whose_repr_raises():
    class Bad:
        def __repr__(self):
            raise RuntimeError

    assert shown("LOG_FILE", Bad()) == "<Bad whose repr raises RuntimeError>"


def test_shown_cuts_long_values_to_a_line():
    assert len(shown("LOG_FILE", "x\n" * 500)) == 100


def test_importing_settings_brings_no_worker_broker_or_client():
    code = "import sys, mulligan.settings.load; print([m for m in sys.modules if m.startswith('mulligan.')])"

    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    for package in ("brokers", "ledger", "worker", "telemetry", "cli"):
        assert f"mulligan.{package}" not in out


def test_settings_and_what_a_worker_gets_of_them_hold_no_password_in_their_repr():
    settings = Settings(broker_url="amqp://me:Zq7canary@h/", ledger_url="postgresql://me:Zq7canary@h/db")

    assert "Zq7canary" not in f"{settings!r} {settings} {settings.for_worker()!r}"


def test_settings_take_a_url_without_the_line_end_of_the_file_that_it_came_from():
    settings = Settings(broker_url="amqp://me:pw@h/\n", ledger_url=" none\r\n")

    assert (settings.broker_url, settings.ledger_url) == ("amqp://me:pw@h/", "none")
