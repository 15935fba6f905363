"""Nothing of a password is shown, whatever is wrong with the URL that it stands in."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mulligan.brokers.base import Clock
from mulligan.brokers.open import open_broker
from mulligan.brokers.rabbitmq.broker_url import parse
from mulligan.brokers.sqs.environment import parse_url
from mulligan.brokers.sqs.http import Proxy
from mulligan.core.error import ConfigurationError
from mulligan.core.secret import Redactor, redacted, redacted_url
from mulligan.core.url import split_url
from mulligan.integrations.environment import url_problems
from mulligan.ledger.open import open_ledger
from mulligan.ledger.postgres.address import address_of
from mulligan.settings.describe import shown
from mulligan.settings.load import load
from mulligan.telemetry.layout import JsonLayout, TextLayout
from tests.support.secret_url import CANARY, leaks, passwords, urls

NO_CLOCK = cast(Clock, None)
RECORD = {"level": "info", "at": 0.0, "logger": "x", "pid": 1}


def told(call: Callable[[str], object], url: str) -> str:
    """Everything that an error of the call says; what it gives, in words, when it raises none."""
    try:
        return repr(call(url))
    except (ConfigurationError, ValueError) as exc:
        return f"{exc} {exc!r} {exc.args} {exc.__cause__!r}"


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(["://", "amqp", "me", "1", ":", "/", "@", "?", "&", "token=", "#", " ", "\n", "%"])))
def test_any_text_can_be_shown(pieces):
    """Log lines, errors and whole messages hung on one that could not."""
    text = "".join(pieces)

    for hide in (redacted, redacted_url, Redactor([text])):
        assert isinstance(hide(text), str)


@settings(max_examples=200, deadline=None)
@given(urls())
def test_a_url_that_is_shown_holds_nothing_of_its_password(url):
    once = redacted_url(url)

    assert not leaks(once)
    assert redacted(once) == redacted(redacted(once))
    assert not leaks(redacted(f"up on {once}, and now?"))
    assert not leaks(shown("BROKER_URL", url))
    assert not leaks(shown("LEDGER_URL", [url]))


@settings(max_examples=100, deadline=None)
@given(urls(("amqp", "amqps")))
def test_an_amqp_url_that_is_refused_or_taken_tells_nothing_of_its_password(url):
    address = told(parse, url)

    assert not leaks(address)


@settings(max_examples=100, deadline=None)
@given(urls(("postgresql", "postgres")))
def test_a_postgresql_url_that_is_refused_or_taken_tells_nothing_of_its_password(url):
    address = told(lambda one: address_of(one).shown, url)

    assert not leaks(address)


@settings(max_examples=100, deadline=None)
@given(urls(("postgresql", "postgres")))
def test_a_postgresql_url_that_is_taken_puts_nothing_of_its_password_into_a_host_for_the_client(url):
    try:
        given_url = address_of(url).url
    except ConfigurationError:
        return

    user_info, _, hosts = urlsplit(given_url).netloc.rpartition("@")
    assert not leaks(hosts)
    assert "@" not in user_info


@settings(max_examples=100, deadline=None)
@given(urls())
def test_every_reader_of_a_url_refuses_it_without_a_word_of_its_password(url):
    def broker(url: str) -> Any:
        open_broker(url, clock=NO_CLOCK, emit=lambda _: None, base_dir=Path("/nowhere"))

    def ledger(url: str) -> Any:
        open_ledger(url, clock=NO_CLOCK, base_dir=Path("/nowhere"))

    def split(url: str) -> Any:
        split_url(url)

    def region(url: str) -> Any:
        parse_url(url)

    texts = [told(call, url) for call in (broker, ledger, split, region, Proxy.parse)]
    texts += url_problems("ALERT_WEBHOOK_URL", url) + url_problems("ALERT_SMTP_URL", url, ("smtps", "smtp"))

    assert [text for text in texts if leaks(text)] == []


@settings(max_examples=50, deadline=None)
@given(urls())
@pytest.mark.parametrize("name", ["BROKER_URL", "BODIES_URL", "COMMON_PREFIX"])
def test_a_url_in_any_setting_is_refused_without_a_word_of_its_password(name, url):
    if name not in ("BROKER_URL", "LEDGER_URL") and "://" not in url:
        return  # it is not a URL, and nobody would take it for one

    problems = told(lambda one: load(Path("/nowhere"), {f"MULLIGAN_{name}": one}).origins, url)

    assert not leaks(problems)


@settings(max_examples=100, deadline=None)
@given(passwords)
def test_a_client_that_quotes_a_piece_of_the_password_is_not_believed_to_mean_well(password):
    url = f"amqp://me:{password}@host/"
    log = Redactor([url])
    pieces = [piece for piece in password.replace("/", " ").replace("#", " ").split() if CANARY in piece]
    record = {**RECORD, "event": f"invalid literal: {password!r}", "seen": [password], "exception": f"x\n{password}"}

    lines = [
        TextLayout(has_color=False, has_date=True, hide=log)(record),
        JsonLayout(hide=log)(record),
        *(log(f"Port could not be cast to integer value as {piece!r}") for piece in pieces),
    ]

    assert [line for line in lines if leaks(line)] == []
