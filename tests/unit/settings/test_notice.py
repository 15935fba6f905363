import pytest

from mulligan.core.event import LedgerLocal
from mulligan.settings.load import load
from mulligan.settings.model import Settings
from mulligan.settings.notice import notices, prefix_note
from mulligan.telemetry.messages import sentence


@pytest.mark.parametrize("url", ["sqs://eu-west-1", "amqp://me:s3cret@rabbit/", "amqps://rabbit/"])
def test_notices_tell_that_the_ledger_is_local_when_other_hosts_can_take_the_messages(tmp_path, url):
    told = notices(load(tmp_path, {"MULLIGAN_BROKER_URL": url}))

    assert [type(notice) for notice in told] == [LedgerLocal]
    assert "s3cret" not in sentence(told[0])


def test_notices_name_ledger_queues_and_what_to_do_when_the_ledger_is_local(tmp_path):
    (notice,) = notices(load(tmp_path, {"MULLIGAN_BROKER_URL": "sqs://eu-west-1"}))

    assert sentence(notice) == (
        "the ledger is local (sqlite:///var/ledger.db), and other hosts can take messages of sqs://eu-west-1. That a "
        "done task never runs twice holds on this host alone, and as long as its disk is kept. For more hosts, or "
        "containers, set LEDGER_URL to a postgresql:// one"
    )


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"MULLIGAN_BROKER_URL": "sqs://", "MULLIGAN_LEDGER_URL": "postgresql://me@db/ledger"},
        {"MULLIGAN_BROKER_URL": "sqs://", "MULLIGAN_LEDGER_URL": "none"},
    ],
    ids=["embedded", "postgres", "none"],
)
def test_notices_say_nothing_when_the_ledger_is_shared_or_the_queues_are_local_too(tmp_path, environ):
    assert notices(load(tmp_path, environ)) == []


def test_prefix_note_is_told_when_nobody_chose_a_prefix_on_a_networked_broker():
    assert prefix_note(Settings(broker_url="sqs://eu-west-1")) == (
        "COMMON_PREFIX is 'msgparser', the default: another application on this broker that keeps the default "
        "takes these messages, and makes them dead letters. Set your own prefix before the first message; changing it "
        "later renames every queue."
    )


def test_prefix_note_is_not_told_when_a_prefix_was_chosen():
    assert prefix_note(Settings(broker_url="sqs://eu-west-1", common_prefix="shop")) is None


def test_prefix_note_is_not_told_when_the_queues_are_local():
    assert prefix_note(Settings()) is None
