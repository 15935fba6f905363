from pathlib import Path

import pytest

from mulligan.core.error import ConfigurationError
from mulligan.storage.url import scheme_of, sqlite_path

BASE = Path("/app")


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///var/x.db", "/app/var/x.db"),
        ("sqlite:////abs/x.db", "/abs/x.db"),
        ("sqlite:///with%20space.db", "/app/with space.db"),
    ],
)
def test_sqlite_path_is_below_the_base_unless_it_is_absolute(url, path):
    assert sqlite_path(url, "BROKER_URL", BASE) == Path(path)


@pytest.mark.parametrize(
    "url", ["sqlite:", "sqlite://", "sqlite:///", "sqlite://host/x.db", "sqlite:///x.db?a=b", "sqlite:///d/"]
)
def test_sqlite_path_refuses_what_names_no_file(url):
    with pytest.raises(ConfigurationError, match=r"BROKER_URL: .* names no file"):
        sqlite_path(url, "BROKER_URL", BASE)


def test_scheme_of_names_what_is_known_and_guesses_what_was_meant():
    with pytest.raises(ConfigurationError) as caught:
        scheme_of("sqlit:///x.db", "BROKER_URL", ("sqlite", "sqs"), unlisted=("memory",))

    assert str(caught.value) == (
        "BROKER_URL: the scheme sqlit:// is unknown in 'sqlit:///x.db', expected one of sqlite://, sqs://."
        " Did you mean sqlite://?"
    )


def test_scheme_of_takes_what_it_does_not_tell_of():
    assert scheme_of("memory://", "BROKER_URL", ("sqlite",), unlisted=("memory",)) == "memory"


def test_scheme_of_refuses_what_is_no_url():
    with pytest.raises(ConfigurationError, match="is not a URL"):
        scheme_of("var/x.db", "BROKER_URL", ("sqlite",))


def test_scheme_of_takes_a_name_with_a_password_for_no_url_when_the_scheme_is_missing():
    with pytest.raises(ConfigurationError) as caught:
        scheme_of("guest:Zq7canary@host/", "BROKER_URL", ("sqlite", "amqp"))

    assert "BROKER_URL: '***@host/' is not a URL" in str(caught.value)


def test_scheme_of_refuses_a_line_break_that_a_parser_would_drop():
    with pytest.raises(ConfigurationError) as caught:
        scheme_of("amqp://guest:Zq7canary\n@host/", "BROKER_URL", ("sqlite", "amqp"))

    told = str(caught.value)
    assert told.startswith("BROKER_URL: 'amqp://guest:***@host/' can't be used: it holds the control character U+000A")
    assert "Zq7canary" not in told


def test_sqlite_path_shows_no_password_when_somebody_gives_it_one():
    with pytest.raises(ConfigurationError) as caught:
        sqlite_path("sqlite://me:Zq7canary@host/x.db", "BROKER_URL", BASE)

    assert "'sqlite://me:***@host/x.db' names no file" in str(caught.value)
