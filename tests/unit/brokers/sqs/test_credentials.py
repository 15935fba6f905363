"""Keys: found once, renewed without stopping the loop, kept when a renewal fails; looks that hang hold nobody up."""

import asyncio
import threading

import pytest

from mulligan.brokers.sqs import credentials as module
from mulligan.brokers.sqs.credentials import CHECK_S, LOCAL_KEYS, Credentials, find_keys
from mulligan.brokers.sqs.environment import Address, EndpointConfig
from mulligan.brokers.sqs.http import Endpoint
from mulligan.brokers.sqs.sign import Keys
from mulligan.core.error import BrokerUnavailable, ConfigurationError

LOCAL = EndpointConfig("r", "http://127.0.0.1:1", Endpoint("127.0.0.1", 1, False))
AWS = EndpointConfig("r", "https://sqs.r.amazonaws.com", Endpoint("sqs.r.amazonaws.com", 443, True))
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

    def load(self, *, force):
        assert not self.is_loading
        self.is_loading = True
        self.gate.wait(5)
        self.is_loading = False
        self.loads += 1
        self.renewals += force
        self.threads.append(threading.get_ident())
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer, self.expires


def credentials_of(source):
    told = []
    return Credentials(source, told.append), told


async def until(is_so):
    """Until that is so; the loop goes on meanwhile, and threads have time."""
    async with asyncio.timeout(5):
        while not is_so():
            await asyncio.sleep(0.001)


async def test_ready_loads_once_for_all_who_wait_and_never_in_the_loop():
    source = Scripted(OLD)
    credentials, _ = credentials_of(source)

    found = await asyncio.gather(*(credentials.ready() for _ in range(5)))

    assert found == [OLD] * 5
    assert source.loads == 1
    assert source.threads[0] != threading.get_ident()


async def test_ready_tries_again_after_a_failure():
    source = Scripted(BrokerUnavailable("metadata service is down"), OLD)
    credentials, _ = credentials_of(source)

    with pytest.raises(BrokerUnavailable):
        await credentials.ready()

    assert await credentials.ready() == OLD


async def test_refresh_if_due_renews_behind_the_old_keys_once_a_minute():
    source = Scripted(OLD, NEW)
    credentials, _ = credentials_of(source)
    await credentials.ready()

    credentials.refresh_if_due(1000.0)
    during, own = credentials.keys, {asyncio.current_task()}
    await until(lambda: credentials.keys == NEW and asyncio.all_tasks() == own)
    credentials.refresh_if_due(1000.0 + CHECK_S - 1)

    assert asyncio.all_tasks() == own
    assert during == OLD
    assert credentials.keys == NEW
    assert source.loads == 2


async def test_refresh_if_due_leaves_lasting_keys_alone():
    source = Scripted(OLD, expires=False)
    credentials, _ = credentials_of(source)
    await credentials.ready()

    credentials.refresh_if_due(1e9)

    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert source.loads == 1


async def test_refresh_if_due_keeps_the_old_keys_and_tells_when_it_fails():
    source = Scripted(OLD, BrokerUnavailable("metadata service is down"))
    credentials, told = credentials_of(source)
    await credentials.ready()

    credentials.refresh_if_due(1000.0)
    await until(lambda: told)

    assert credentials.keys == OLD
    assert "metadata service is down" in told[0]


async def test_renew_begins_anew_and_says_whether_the_keys_are_others():
    source = Scripted(OLD, NEW)
    credentials, _ = credentials_of(source)
    await credentials.ready()

    assert await credentials.renew(OLD)
    assert source.renewals == 1
    assert not await credentials.renew(NEW)


async def test_renew_does_nothing_when_another_call_has_done_it():
    source = Scripted(OLD, NEW)
    credentials, _ = credentials_of(source)
    await credentials.ready()

    await asyncio.gather(credentials.renew(OLD), credentials.renew(OLD), credentials.renew(OLD))

    assert await credentials.renew(OLD)
    assert source.loads == 2
    assert source.renewals == 1


async def test_renew_waits_for_a_look_that_is_under_way_and_takes_what_it_brings():
    source = Scripted(OLD, NEW)
    credentials, _ = credentials_of(source)
    await credentials.ready()
    source.gate.clear()
    credentials.refresh_if_due(1000.0)
    renewal = asyncio.create_task(credentials.renew(OLD))
    await asyncio.sleep(0)

    source.gate.set()

    assert await renewal
    assert source.loads == 2
    assert source.renewals == 0


async def test_ready_that_is_cancelled_harms_nobody_else():
    source = Scripted(OLD)
    source.gate.clear()
    credentials, _ = credentials_of(source)
    first, second = asyncio.create_task(credentials.ready()), asyncio.create_task(credentials.ready())
    await asyncio.sleep(0)

    first.cancel()
    source.gate.set()

    assert await second == OLD
    assert first.cancelled() or first.cancelling()


async def test_renew_looks_once_for_calls_that_are_refused_one_after_the_other_when_the_same_keys_are_found():
    source = Scripted(OLD)
    credentials, _ = credentials_of(source)
    await credentials.ready()

    found = [await credentials.renew(OLD) for _ in range(3)]

    assert found == [False, False, False]
    assert source.renewals == 1


async def test_renew_looks_again_after_a_while_when_the_same_keys_were_found(monkeypatch):
    monkeypatch.setattr(module, "SAME_S", 0.0)
    source = Scripted(OLD, OLD, NEW)
    credentials, _ = credentials_of(source)
    await credentials.ready()

    found = [await credentials.renew(OLD) for _ in range(2)]

    assert found == [False, True]


async def test_renew_may_be_tried_again_when_the_file_of_the_keys_is_being_written():
    source = Scripted(OLD, ConfigurationError(["No AWS credentials were found."]), NEW)
    credentials, _ = credentials_of(source)
    await credentials.ready()

    with pytest.raises(BrokerUnavailable, match="No AWS credentials were found"):
        await credentials.renew(OLD)

    assert await credentials.renew(OLD)


async def test_renew_looks_once_when_the_same_keys_are_found_later_than_a_call_waits_for_them(monkeypatch):
    """A credential_process of six seconds ran without a pause for as long as its keys were refused."""
    monkeypatch.setattr(module, "RENEW_S", 0.01)
    source = Scripted(OLD)
    credentials, _ = credentials_of(source)
    await credentials.ready()
    source.gate.clear()
    for _ in range(3):
        with pytest.raises(BrokerUnavailable, match="the search takes"):
            await credentials.renew(OLD)
    source.gate.set()
    await until(lambda: credentials._search is None)

    found = [await credentials.renew(OLD) for _ in range(3)]

    assert found == [False] * 3
    assert source.renewals == 1


async def test_renew_doesnt_look_for_each_call_when_looks_fail(monkeypatch):
    """A credential_process that failed was started five times a second."""
    monkeypatch.setattr(module, "FAILED_S", (0.0, 60.0))
    source = Scripted(OLD, BrokerUnavailable("the process ended with code 1"))
    credentials, _ = credentials_of(source)
    await credentials.ready()

    told = []
    for _ in range(5):
        with pytest.raises(BrokerUnavailable) as caught:
            await credentials.renew(OLD)
        told.append(str(caught.value))

    assert source.renewals == 2
    assert told[1] == "the process ended with code 1"
    assert told[4] == "the process ended with code 1 (next search in 60 s)"


async def test_renew_looks_at_once_when_a_look_has_succeeded_since_others_failed(monkeypatch):
    monkeypatch.setattr(module, "FAILED_S", (0.0, 0.0, 60.0))
    source = Scripted(OLD, BrokerUnavailable("no"), BrokerUnavailable("no"), NEW, BrokerUnavailable("no"), OLD)
    credentials, _ = credentials_of(source)
    await credentials.ready()
    for _ in range(2):
        with pytest.raises(BrokerUnavailable):
            await credentials.renew(OLD)
    assert await credentials.renew(OLD)

    with pytest.raises(BrokerUnavailable):
        await credentials.renew(NEW)

    assert await credentials.renew(NEW)


# -- looks that hang --------------------------------------------------------------------------------------------------


@pytest.fixture
def hanging(monkeypatch):
    """A source whose looks hang until the test ends, and limits that are short."""
    monkeypatch.setattr(module, "FIRST_S", 0.05)
    monkeypatch.setattr(module, "RENEW_S", 0.05)
    monkeypatch.setattr(module, "SLOW_S", 0.01)
    source = Hanging()
    yield source
    source.end.set()


class Hanging:
    """The first `good` looks give OLD; those behind hang, as a credential_process that sleeps does."""

    def __init__(self):
        self.good = 0
        self.looks = 0
        self.end = threading.Event()

    def load(self, *, force):
        self.looks += 1
        if self.looks > self.good:
            self.end.wait(30)
            return NEW, True
        return OLD, True


async def test_ready_gives_up_and_tells_when_the_look_hangs(hanging):
    credentials, told = credentials_of(hanging)

    with pytest.raises(BrokerUnavailable, match="credential_process"):
        await credentials.ready()

    assert "the search for AWS credentials takes" in told[0]
    assert "No queue can be used before that" in told[0]


async def test_ready_starts_no_second_look_beside_one_that_hangs(hanging):
    credentials, _ = credentials_of(hanging)

    for _ in range(3):
        with pytest.raises(BrokerUnavailable):
            await credentials.ready()

    assert hanging.looks == 1


async def test_refresh_if_due_tells_of_a_renewal_that_hangs_and_the_old_keys_go_on(hanging):
    hanging.good = 1
    credentials, told = credentials_of(hanging)
    await credentials.ready()

    credentials.refresh_if_due(1000.0)
    await until(lambda: told)

    assert credentials.keys == OLD
    assert "The old keys are used until then" in told[0]


async def test_renew_waits_no_longer_than_its_limit_when_keys_expire_during_a_renewal_that_hangs(hanging):
    hanging.good = 1
    credentials, _ = credentials_of(hanging)
    await credentials.ready()
    credentials.refresh_if_due(1000.0)

    async with asyncio.timeout(2):
        with pytest.raises(BrokerUnavailable, match="the search takes"):
            await credentials.renew(OLD)


async def test_close_lets_go_of_those_who_wait_for_a_look_that_hangs(hanging, monkeypatch):
    monkeypatch.setattr(module, "RENEW_S", 60.0)
    hanging.good = 1
    credentials, _ = credentials_of(hanging)
    await credentials.ready()
    renewal = asyncio.create_task(credentials.renew(OLD))
    await until(lambda: hanging.looks == 2)

    credentials.close()

    async with asyncio.timeout(2):
        with pytest.raises(BrokerUnavailable, match="closing"):
            await renewal


async def test_look_that_hangs_for_minutes_is_given_up_for_another_one(hanging, monkeypatch):
    monkeypatch.setattr(module, "SEARCH_MAX_S", 0.0)
    credentials, _ = credentials_of(hanging)
    with pytest.raises(BrokerUnavailable):
        await credentials.ready()

    hanging.good = 2

    assert await credentials.ready() == OLD


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

    assert find_keys(Address("r"), AWS).load(force=False) == (Keys("AKID", "secret", "token"), False)


def test_chain_finds_keys_of_a_profile_and_reads_the_file_again_when_they_are_renewed(bare):
    path = bare / "credentials"
    path.write_text("[ops]\naws_access_key_id = A\naws_secret_access_key = 1\n")
    source = find_keys(Address("r", None, "ops"), AWS)
    first, _ = source.load(force=False)
    path.write_text("[ops]\naws_access_key_id = B\naws_secret_access_key = 2\n")

    same, _ = source.load(force=False)
    other, _ = source.load(force=True)

    assert first == same == Keys("A", "1")
    assert other == Keys("B", "2")


def test_chain_says_that_keys_expire_when_a_process_gives_them(bare):
    answer = (
        '{"Version":1,"AccessKeyId":"P","SecretAccessKey":"s","SessionToken":"t","Expiration":"2999-01-01T00:00:00Z"}'
    )
    (bare / "answer.json").write_text(answer)
    (bare / "config").write_text(f"[default]\ncredential_process = cat {bare / 'answer.json'}\n")

    assert find_keys(Address("r"), AWS).load(force=False) == (Keys("P", "s", "t"), True)


def test_chain_has_keys_for_the_server_on_this_machine_when_there_are_none():
    assert find_keys(Address("r"), LOCAL).load(force=False) == (LOCAL_KEYS, False)


def test_chain_says_what_to_set_when_there_are_none():
    with pytest.raises(ConfigurationError, match="AWS_ACCESS_KEY_ID"):
        find_keys(Address("r"), AWS).load(force=False)


def test_chain_says_that_half_of_the_keys_is_missing(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKID")

    with pytest.raises(ConfigurationError, match=r"AWS_\*"):
        find_keys(Address("r"), AWS).load(force=False)


def test_chain_may_be_asked_later_when_a_process_fails(bare):
    (bare / "config").write_text("[default]\ncredential_process = false\n")

    with pytest.raises(BrokerUnavailable):
        find_keys(Address("r"), AWS).load(force=False)


@pytest.mark.parametrize(
    ("region", "host"),
    [
        ("eu-west-1", "sts.eu-west-1.amazonaws.com"),
        ("cn-north-1", "sts.cn-north-1.amazonaws.com.cn"),
        ("us-gov-west-1", "sts.us-gov-west-1.amazonaws.com"),
    ],
)
async def test_chain_asks_sts_in_the_region_of_the_broker_url_when_the_environment_names_none(
    bare, monkeypatch, region, host
):
    asked = []

    async def refuse(reader, writer):
        asked.append((await reader.readuntil(b"\r\n\r\n")).split()[1].decode())
        writer.write(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n")
        writer.close()

    (bare / "token").write_text("a token")
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(bare / "token"))
    monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/worker")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.sockets[0].getsockname()[1]}")
        with pytest.raises(BrokerUnavailable):
            await asyncio.to_thread(lambda: find_keys(Address(region), AWS).load(force=False))

    assert asked[0] == f"{host}:443"
