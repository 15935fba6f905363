"""A uid without an entry in the system's list of users, and a home that is missing or another user's: a container's."""

import errno
import os
import pwd
from pathlib import Path

import pytest

from mulligan.core.error import ConfigurationError
from mulligan.ledger.postgres.fault import opening_fault


@pytest.fixture
def nameless(monkeypatch: pytest.MonkeyPatch) -> None:
    """The system knows no name for this process, and no home."""

    def unknown(uid: int) -> None:
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    for name in ("USER", "LOGNAME", "LNAME", "USERNAME", "HOME", "PGUSER"):
        monkeypatch.delenv(name, raising=False)


def test_check_says_to_name_a_user_when_the_ledgers_url_names_none_and_the_uid_has_no_name(
    mulligan, application, monkeypatch, nameless
):
    monkeypatch.setenv("MULLIGAN_LEDGER_URL", "postgresql://127.0.0.1:1/db")

    code, out, _ = mulligan("check")

    assert code == 2
    assert (
        "problem  ledger    LEDGER_URL: 'postgresql://127.0.0.1:1/db' names no user, and this process runs as uid "
        f"{os.getuid()}, which has no name on this system. Write postgresql://USER@HOST/DATABASE."
    ) in out
    assert "ok       bodies    var/bodies: can be written" in out


@pytest.mark.parametrize(
    ("url", "user"), [("postgresql://me@127.0.0.1:1/db", None), ("postgresql://127.0.0.1:1/db", "me")]
)
def test_check_reaches_for_the_server_when_the_uid_has_no_name_and_the_user_is_given(
    mulligan, application, monkeypatch, nameless, url, user
):
    monkeypatch.setenv("MULLIGAN_LEDGER_URL", url)
    if user is not None:
        monkeypatch.setenv("PGUSER", user)

    _, out, _ = mulligan("check")

    assert f"problem  ledger    ledger {url}: [Errno 111] Connect call failed" in out


def test_check_names_the_bundle_when_it_is_below_a_home_that_nobody_knows(mulligan, application, monkeypatch, nameless):
    monkeypatch.setenv("MULLIGAN_BROKER_URL", "sqs://eu-west-1?endpoint=https://127.0.0.1:1")
    monkeypatch.setenv("AWS_CA_BUNDLE", "~/ca.pem")

    code, out, err = mulligan("check")

    assert code == 2
    assert "AWS_CA_BUNDLE is '~/ca.pem', which can't be read as certificates" in out
    assert err == ""


def test_a_file_of_another_users_home_is_told_as_what_keeps_the_ledger_from_opening():
    exc = PermissionError(errno.EACCES, "Permission denied", Path("/root/.postgresql/postgresql.key"))

    fault = opening_fault(exc, "postgresql://me@h/db")

    assert isinstance(fault, ConfigurationError)
    assert str(fault) == (
        "LEDGER_URL: 'postgresql://me@h/db': /root/.postgresql/postgresql.key can't be read (Permission denied). Let "
        "this user read it, or set HOME to a folder of this user's."
    )
