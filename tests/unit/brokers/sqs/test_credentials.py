"""Keys: found once, renewed without stopping the loop, kept when a renewal fails."""

import asyncio
import threading

import pytest

from mulligan.brokers.sqs.credentials import CHECK_S, LOCAL_KEYS, KeyRing, find_keys
from mulligan.brokers.sqs.environment import Address, Site
from mulligan.brokers.sqs.http import Endpoint
from mulligan.brokers.sqs.sign import Keys
from mulligan.core.error import BrokerUnavailable, ConfigurationError

LOCAL = Site("r", "http://127.0.0.1:1", Endpoint("127.0.0.1", 1, False))
AWS = Site("r", "https://sqs.r.amazonaws.com", Endpoint("sqs.r.amazonaws.com", 443, True))
OLD, NEW = Keys("OLD", "old", "t1"), Keys("NEW", "new", "t2")


class Scripted:
    """Gives `answers` in turn, in whatever thread asks; waits for `gate` first."""

    def __init__(self, *answers, expires=True):
        self.answers = list(answers)
        self.expires = expires
        self.loads = self.renewals = 0
        self.is_loading = False
        self.threads = []
        self.gate = threading.Event()
        self.gate.set()

    def load(self, *, afresh):
        assert not self.is_loading
        self.is_loading = True
        self.gate.wait(5)
        self.is_loading = False
        self.loads += 1
        self.renewals += afresh
        self.threads.append(threading.get_ident())
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer, self.expires


def ring_of(source):
    told = []
    return KeyRing(source, told.append), told


async def test_ready_loads_once_for_all_who_wait_and_never_in_the_loop():
    source = Scripted(OLD)
    ring, _ = ring_of(source)

    found = await asyncio.gather(*(ring.ready() for _ in range(5)))

    assert found == [OLD] * 5
    assert source.loads == 1
    assert source.threads[0] != threading.get_ident()


async def test_ready_tries_again_after_a_failure():
    source = Scripted(BrokerUnavailable("metadata service is down"), OLD)
    ring, _ = ring_of(source)

    with pytest.raises(BrokerUnavailable):
        await ring.ready()

    assert await ring.ready() == OLD


async def test_look_after_renews_behind_the_old_keys_once_a_minute():
    source = Scripted(OLD, NEW)
    ring, _ = ring_of(source)
    await ring.ready()

    ring.look_after(1000.0)
    during = ring.keys
    await ring.close()
    ring.look_after(1000.0 + CHECK_S - 1)
    await ring.close()

    assert during == OLD
    assert ring.keys == NEW
    assert source.loads == 2


async def test_look_after_leaves_lasting_keys_alone():
    source = Scripted(OLD, expires=False)
    ring, _ = ring_of(source)
    await ring.ready()

    ring.look_after(1e9)
    await ring.close()

    assert source.loads == 1


async def test_look_after_keeps_the_old_keys_and_tells_when_it_fails():
    source = Scripted(OLD, BrokerUnavailable("metadata service is down"))
    ring, told = ring_of(source)
    await ring.ready()

    ring.look_after(1000.0)
    await ring.close()

    assert ring.keys == OLD
    assert "metadata service is down" in told[0]


async def test_renew_begins_anew_and_says_whether_the_keys_are_others():
    source = Scripted(OLD, NEW)
    ring, _ = ring_of(source)
    await ring.ready()

    assert await ring.renew(OLD)
    assert source.renewals == 1
    assert not await ring.renew(NEW)


async def test_renew_does_nothing_when_another_call_has_done_it():
    source = Scripted(OLD, NEW)
    ring, _ = ring_of(source)
    await ring.ready()

    await asyncio.gather(ring.renew(OLD), ring.renew(OLD), ring.renew(OLD))

    assert await ring.renew(OLD)
    assert source.loads == 2
    assert source.renewals == 1


async def test_renew_waits_for_a_look_that_is_under_way_and_takes_what_it_brings():
    source = Scripted(OLD, NEW)
    ring, _ = ring_of(source)
    await ring.ready()
    source.gate.clear()
    ring.look_after(1000.0)
    renewal = asyncio.create_task(ring.renew(OLD))
    await asyncio.sleep(0)

    source.gate.set()

    assert await renewal
    assert source.loads == 2
    assert source.renewals == 0


async def test_ready_that_is_cancelled_harms_nobody_else():
    source = Scripted(OLD)
    source.gate.clear()
    ring, _ = ring_of(source)
    first, second = asyncio.create_task(ring.ready()), asyncio.create_task(ring.ready())
    await asyncio.sleep(0)

    first.cancel()
    source.gate.set()

    assert await second == OLD
    assert first.cancelled() or first.cancelling()


# -- the chain --------------------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def bare(monkeypatch, tmp_path):
    import os

    for name in list(os.environ):
        if name.upper().startswith("AWS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return tmp_path


def test_chain_finds_keys_of_the_environment(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKID")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token")

    assert find_keys(Address("r"), AWS).load(afresh=False) == (Keys("AKID", "secret", "token"), False)


def test_chain_finds_keys_of_a_profile_and_reads_the_file_again_when_they_are_renewed(bare):
    path = bare / "credentials"
    path.write_text("[ops]\naws_access_key_id = A\naws_secret_access_key = 1\n")
    source = find_keys(Address("r", None, "ops"), AWS)
    first, _ = source.load(afresh=False)
    path.write_text("[ops]\naws_access_key_id = B\naws_secret_access_key = 2\n")

    same, _ = source.load(afresh=False)
    other, _ = source.load(afresh=True)

    assert first == same == Keys("A", "1")
    assert other == Keys("B", "2")


def test_chain_says_that_keys_expire_when_a_process_gives_them(bare):
    answer = (
        '{"Version":1,"AccessKeyId":"P","SecretAccessKey":"s","SessionToken":"t","Expiration":"2999-01-01T00:00:00Z"}'
    )
    (bare / "answer.json").write_text(answer)
    (bare / "config").write_text(f"[default]\ncredential_process = cat {bare / 'answer.json'}\n")

    assert find_keys(Address("r"), AWS).load(afresh=False) == (Keys("P", "s", "t"), True)


def test_chain_has_keys_for_the_server_on_this_machine_when_there_are_none():
    assert find_keys(Address("r"), LOCAL).load(afresh=False) == (LOCAL_KEYS, False)


def test_chain_says_what_to_set_when_there_are_none():
    with pytest.raises(ConfigurationError, match="AWS_ACCESS_KEY_ID"):
        find_keys(Address("r"), AWS).load(afresh=False)


def test_chain_says_that_half_of_the_keys_is_missing(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKID")

    with pytest.raises(ConfigurationError, match=r"AWS_\*"):
        find_keys(Address("r"), AWS).load(afresh=False)


def test_chain_may_be_asked_later_when_a_process_fails(bare):
    (bare / "config").write_text("[default]\ncredential_process = false\n")

    with pytest.raises(BrokerUnavailable):
        find_keys(Address("r"), AWS).load(afresh=False)
