"""Finding and making queues, and what is said of them."""

import asyncio

import pytest

from mulligan.brokers.base import Owners
from mulligan.brokers.sqs.broker import SqsBroker
from mulligan.brokers.sqs.policy import iam_policy, roles
from mulligan.brokers.sqs.sign import Keys
from mulligan.core.delivery import Outgoing, Queues
from mulligan.core.error import BrokerRefused, BrokerUnavailable, ConfigurationError
from mulligan.core.locator import locator_of
from mulligan.core.message import QueueName
from mulligan.servers.sqs.auth.key import Key, Policy, Statement
from mulligan.servers.sqs.faults.script import Fail
from mulligan.servers.sqs.server import DEFAULT_KEY
from tests.support.black_hole import resolve

REQUESTS, REJECTS, DEAD = QueueName("app-requests-q"), QueueName("app-rejects-q"), QueueName("app-dead-q")


async def attributes_of(broker, name):
    client = await broker._open()
    url = (await client.call_object("GetQueueUrl", {"QueueName": name}, where=name))["QueueUrl"]
    data = {"QueueUrl": url, "AttributeNames": ["All"]}
    return (await client.call_object("GetQueueAttributes", data, where=name))["Attributes"]


async def test_declare_makes_queues_that_need_no_word(server, broker_of, queues):
    broker = broker_of(server)

    declared = await broker.declare(queues, create=True)
    again = await broker.declare(queues, create=True)

    assert declared.created == queues.all
    assert declared.problems == ()
    assert again.created == again.problems == ()
    rejects = await attributes_of(broker, queues.rejects)
    assert rejects["MessageRetentionPeriod"] == "1209600"
    assert rejects["SqsManagedSseEnabled"] == "true"
    assert '"maxReceiveCount":1000' in rejects["RedrivePolicy"].replace(" ", "")
    assert rejects["RedrivePolicy"].count(":app-dead-q") == 1


async def test_declare_by_two_at_once_makes_the_queues_once(server, broker_of, queues):
    one, other = broker_of(server), broker_of(server)

    first, second = await asyncio.gather(one.declare(queues, create=True), other.declare(queues, create=True))

    assert first.problems == second.problems == ()
    assert set(first.created + second.created) == set(queues.all)


async def test_declare_reads_the_size_limit_of_the_smallest_queue(server, broker_of, queues):
    setup = broker_of(server)
    client = await setup._open()
    await client.call_object(
        "CreateQueue", {"QueueName": queues.dead, "Attributes": {"MaximumMessageSize": "2048"}}, where="x"
    )
    broker = broker_of(server)

    declared = await broker.declare(queues, create=True)

    assert broker.features.max_message_bytes == 2048
    assert declared.created == (queues.requests, queues.rejects)
    assert declared.problems == ()
    assert any("accepts messages of 2048 bytes" in note for note in declared.notes)
    assert any("keeps messages for 4 days" in note for note in declared.notes)


async def test_declare_of_one_queue_leaves_the_others_alone(server, broker, broker_of, queues):
    server.counters.reset()
    producer = broker_of(server)

    declared = await producer.declare(queues, create=True, only=queues.requests)

    told = server.counters.snapshot()["requests"]
    assert (declared.created, declared.problems, declared.notes) == ((), (), ())
    assert told == {"GetQueueUrl": {"ok": 1}, "GetQueueAttributes": {"ok": 1}}
    assert producer.features.max_message_bytes == 1_048_576


async def test_declare_of_one_queue_makes_all_when_it_is_missing(server, broker_of, queues):
    declared = await broker_of(server).declare(queues, create=True, only=queues.requests)

    assert declared.created == queues.all


async def test_declare_of_one_queue_tells_of_that_one_when_it_may_not_be_found(guarded, broker_of, queues):
    """`mulligan send` with keys of too few rights told of the dead queue, which is none of a producer's business."""
    await broker_of(guarded).declare(queues, create=True)
    nobody = broker_of(guarded, Keys("nobody", "nobody"))

    declared = await nobody.declare(queues, create=True, only=queues.requests)

    (problem,) = declared.problems
    assert problem.startswith("app-requests-q at ")
    assert "AccessDenied" in problem


async def test_declare_refuses_kinds_that_are_mixed(server, broker_of):
    mixed = Queues("a", QueueName("a.fifo"), QueueName("b"), QueueName("c"))

    with pytest.raises(ConfigurationError, match=r"End all three names with"):
        await broker_of(server).declare(mixed, create=True)


async def test_declare_of_fifo_queues_takes_delays_away(fifo):
    assert fifo.features.max_delay_s == 0.0


async def test_declare_waits_for_a_new_queue_that_is_not_known_yet(broker_of, server, queues, play, monkeypatch):
    play("GetQueueAttributes", Fail("QueueDoesNotExist"), calls=(1, 2))
    real_sleep = asyncio.sleep
    monkeypatch.setattr(asyncio, "sleep", lambda delay_s: real_sleep(0))

    declared = await broker_of(server).declare(queues, create=True)

    assert declared.created == queues.all


async def test_depth_is_an_estimate_of_three_kinds(broker, queues):
    await broker.send(queues.requests, [Outgoing(b"1", {}), Outgoing(b"2", {}), Outgoing(b"3", {}, delay_s=60)])
    await broker.receive(queues.requests, 1, wait_s=0, lease_s=30)

    depth = await broker.depth(queues.requests)

    assert (depth.ready, depth.delayed, depth.in_flight) == (1, 1, 1)
    assert not depth.is_exact
    assert depth.oldest_age_s is None


async def test_purge_may_be_asked_again_only_later(broker, queues):
    await broker.purge(queues.requests)

    with pytest.raises(BrokerUnavailable, match="PurgeQueueInProgress"):
        await broker.purge(queues.requests)


async def test_call_on_a_queue_that_was_deleted_is_refused_with_what_to_do(broker, queues):
    client = await broker._open()
    url = (await client.call_object("GetQueueUrl", {"QueueName": queues.dead}, where="x"))["QueueUrl"]
    await client.call_object("DeleteQueue", {"QueueUrl": url}, where="x")

    with pytest.raises(BrokerRefused, match=r"app-dead-q .*`mulligan setup` makes the queues"):
        await broker.receive(queues.dead, 1, wait_s=0, lease_s=30)


# -- whose queues they are ---------------------------------------------------------------------------------------------


async def untagged(broker, name):
    """Take away what a queue that we made says of itself."""
    client = await broker._open()
    data = {"QueueUrl": broker._queues[name].url, "TagKeys": ["mulligan-prefix", "mulligan-queue"]}
    await client.call_object("UntagQueue", data, where=name)


async def owners_of(broker, queues):
    await broker.declare(queues, create=False)
    return await broker.owners(queues)


async def test_owners_have_nothing_to_say_of_queues_that_we_made(broker, queues):
    await broker.send(queues.rejects, [Outgoing(b"somebody moved it here", {})])

    assert await owners_of(broker, queues) == Owners()


async def test_owners_refuse_messages_of_others_on_rejects_and_give_them_back(broker, queues):
    await untagged(broker, queues.rejects)
    await broker.send(queues.rejects, [Outgoing(b"theirs", {}), Outgoing(b"theirs too", {})])

    told = await owners_of(broker, queues)

    assert len(told.problems) == 1
    assert "2 of about 2 messages on it were inspected, and none carries mulligan's state" in told.problems[0]
    assert (await broker.depth(queues.rejects)).ready == 2


async def test_owners_know_a_rejects_queue_without_a_tag_by_a_copy_of_ours(broker, queues):
    """Made by Terraform: it must not be refused at a restart, when retries wait on it."""
    await untagged(broker, queues.rejects)
    await broker.send(queues.rejects, [Outgoing(b"a retry", {"mulligan": "{}"}), Outgoing(b"moved", {})])

    assert await owners_of(broker, queues) == Owners()


async def test_owners_tell_of_retries_that_can_not_be_seen_and_do_not_refuse_them(broker, queues):
    await untagged(broker, queues.rejects)
    await broker.send(queues.rejects, [Outgoing(b"a retry", {"mulligan": "{}"}, delay_s=600)])

    told = await owners_of(broker, queues)

    assert told.problems == ()
    assert "what is on it (about 1) can't be seen now" in told.notes[0]


async def test_owners_refuse_where_sqs_moves_the_dead_messages_of_requests(broker, queues):
    target = Queues("app", queues.requests, queues.dead, QueueName("app-other-q"))

    told = await owners_of(broker, target)

    assert "it is where SQS moves the dead messages of app-requests-q (its redrive)" in told.problems[0]


async def test_owners_refuse_nothing_when_tags_may_not_be_read(broker, queues, play):
    await broker.send(queues.rejects, [Outgoing(b"theirs", {})])
    play("ListQueueTags", Fail("AccessDenied"))

    told = await owners_of(broker, queues)

    assert told.problems == ()
    assert "its tags can't be read. Allow sqs:ListQueueTags" in told.notes[0]


async def test_owners_refuse_nothing_when_messages_may_not_be_received(broker, queues, play):
    await untagged(broker, queues.rejects)
    await broker.send(queues.rejects, [Outgoing(b"theirs", {})])
    play("ReceiveMessage", Fail("AccessDenied"))

    told = await owners_of(broker, queues)

    assert told.problems == ()
    assert "can't be inspected (AccessDenied)" in told.notes[0]


# -- rights -----------------------------------------------------------------------------------------------------------


def role_key(role, queues):
    policy = iam_policy(role, queues, region="eu-west-1")
    actions = {word for word in policy.split('"') if word.startswith("sqs:")}
    return Key(role, role, actions=frozenset(action.removeprefix("sqs:") for action in actions))


@pytest.fixture
async def guarded(start, queues):
    nobody = Key("nobody", "nobody", actions=frozenset())
    return await start(keys=[DEFAULT_KEY, nobody, *(role_key(role, queues) for role in roles())])


def denied(server):
    outcomes = server.counters.snapshot()["requests"].values()
    return sum(count for outcome in outcomes for name, count in outcome.items() if "AccessDenied" in name)


async def test_every_role_can_do_its_work_with_its_policy_alone(guarded, broker_of, queues):
    setup, worker, producer, desk = (
        broker_of(guarded, Keys(role, role)) for role in ("setup", "worker", "producer", "desk")
    )

    declared = await setup.declare(queues, create=True)
    for one in (worker, desk):
        assert (await one.declare(queues, create=False)).problems == ()
    assert (await producer.declare(queues, create=False, only=queues.requests)).problems == ()
    assert await producer.send(queues.requests, [Outgoing(b"1", {})]) == [None]
    (request,) = await worker.receive(queues.requests, 10, wait_s=1, lease_s=30)
    assert await worker.extend(queues.requests, [(request.receipt, 60)]) == [None]
    assert await worker.send(queues.rejects, [Outgoing(b"1", {})]) == [None]
    assert await worker.send(queues.dead, [Outgoing(b"1", {})]) == [None]
    assert await worker.ack(queues.requests, [request.receipt]) == [None]
    (reject,) = await worker.receive(queues.rejects, 10, wait_s=1, lease_s=30)
    assert await worker.release(queues.rejects, [(reject.receipt, 0)]) == [None]
    (letter,) = await desk.receive(queues.dead, 10, wait_s=1, lease_s=30)
    assert await desk.send(queues.rejects, [Outgoing(letter.body, {})]) == [None]
    assert await desk.ack(queues.dead, [letter.receipt]) == [None]
    await desk.depth(queues.requests)

    assert declared.created == queues.all
    assert denied(guarded) == 0


async def test_action_beyond_the_policy_is_refused_with_what_to_do(guarded, broker_of, queues):
    await broker_of(guarded).declare(queues, create=True)
    producer = broker_of(guarded, Keys("producer", "producer"))
    await producer.declare(queues, create=False)

    with pytest.raises(BrokerRefused, match="mulligan iam-policy"):
        await producer.receive(queues.requests, 1, wait_s=0, lease_s=30)

    assert denied(guarded) == 1


async def test_declare_tells_of_rights_that_are_missing_when_it_may_not_create(guarded, broker_of, queues):
    nobody = broker_of(guarded, Keys("desk", "wrong secret"))

    declared = await nobody.declare(queues, create=False)

    assert len(declared.problems) == 3
    assert "AWS_SECRET_ACCESS_KEY" in declared.problems[0]


async def test_declare_that_may_not_create_is_refused_when_it_has_to(guarded, broker_of, queues):
    worker = broker_of(guarded, Keys("worker", "worker"))

    with pytest.raises(BrokerRefused, match="CreateQueue was refused"):
        await worker.declare(queues, create=True)


ACCOUNT = "000000000000"


@pytest.mark.parametrize("form", ["arn:aws:sqs:eu-west-1:{account}:{name}", "{server}/{account}/{name}"])
async def test_queue_that_is_named_by_arn_or_url_is_used_under_its_short_name(server, broker_of, form):
    name = QueueName("orders")
    await broker_of(server).declare(Queues("app", name, REJECTS, DEAD), create=True)
    locator = locator_of(form.format(server=server.url, account=ACCOUNT, name=name))
    broker = broker_of(server)

    declared = await broker.declare(Queues("app", locator.name, REJECTS, DEAD, (locator,)), create=True)
    sent = await broker.send(name, [Outgoing(b"1", {})])
    (delivery,) = await broker.receive(name, 1, wait_s=0.0, lease_s=30.0)

    assert declared.created == declared.problems == declared.notes == ()
    assert sent == [None]
    assert delivery.queue == "orders"
    assert await broker.ack(name, [delivery.receipt]) == [None]


async def test_queue_of_another_account_is_asked_for_there_and_never_made(server, broker_of):
    locator = locator_of("arn:aws:sqs:eu-west-1:123456789012:orders")
    broker = broker_of(server)

    declared = await broker.declare(Queues("app", locator.name, REJECTS, DEAD, (locator,)), create=True)

    assert declared.created == (REJECTS, DEAD)
    assert declared.missing == ("orders",)
    assert declared.problems == (
        "Queue orders: account 123456789012 has none of this name, or doesn't show it to these credentials. It is not "
        "made from here, because its account is named: have its owner make it, or allow sqs:GetQueueUrl.",
    )


async def test_queues_of_the_account_of_the_broker_url_are_found_and_never_made(server, broker_of, queues):
    broker = broker_of(server, more=f"&account={ACCOUNT}")
    before = await broker.declare(queues, create=True)
    await broker_of(server).declare(queues, create=True)

    after = await broker.declare(queues, create=True)

    assert before.missing == queues.all
    assert before.problems == (
        f"Queues app-requests-q, app-rejects-q and app-dead-q: account {ACCOUNT} has none of these names, or doesn't "
        f"show them to these credentials. They are not made from here, because their account is named: have its owner "
        f"make them, or allow sqs:GetQueueUrl.",
    )
    assert after.problems == after.created == ()


async def test_own_queue_gets_no_redrive_to_a_dead_queue_of_another_account(server, broker_of):
    locator = locator_of(f"arn:aws:sqs:eu-west-1:{ACCOUNT}:letters")
    await broker_of(server).declare(Queues("other", QueueName("a"), QueueName("b"), locator.name), create=True)
    broker = broker_of(server)

    declared = await broker.declare(Queues("app", REQUESTS, REJECTS, locator.name, (locator,)), create=True)

    assert declared.created == (REQUESTS, REJECTS)
    assert declared.problems == declared.notes == ()
    assert "RedrivePolicy" not in await attributes_of(broker, REJECTS)


async def test_queue_of_another_region_is_refused_before_anything_is_made(server, broker_of):
    locator = locator_of("https://sqs.us-east-1.amazonaws.com/123456789012/orders")
    broker = broker_of(server)

    with pytest.raises(ConfigurationError, match="is of region 'us-east-1', and BROKER_URL asks 'eu-west-1'"):
        await broker.declare(Queues("app", locator.name, REJECTS, DEAD, (locator,)), create=True)

    assert "CreateQueue" not in broker.requests


async def test_queue_that_its_owner_does_not_allow_is_told_with_what_to_allow(start, broker_of):
    policy = Policy(statement=[])
    server = await start(keys=[Key("mulligan", "mulligan"), Key("guest", "guest", policy=policy)])
    name = QueueName("orders")
    await broker_of(server).declare(Queues("app", name, REJECTS, DEAD), create=True)
    locator = locator_of(f"arn:aws:sqs:eu-west-1:{ACCOUNT}:orders")

    declared = await broker_of(server, Keys("guest", "guest")).declare(
        Queues("app", name, REJECTS, DEAD, (locator,)), create=False, only=name
    )

    assert "AccessDenied" in declared.problems[0]
    assert "its owner's queue policy has to allow sqs:GetQueueUrl, sqs:GetQueueAttributes" in declared.problems[0]


async def test_rejects_of_another_account_are_judged_by_their_messages_when_their_tags_can_not_be_read(
    start, broker_of
):
    rights = Statement(
        effect="Allow",
        action=["sqs:GetQueueUrl", "sqs:GetQueueAttributes", "sqs:ReceiveMessage", "sqs:ChangeMessageVisibility"],
        resource="*",
    )
    guest = Key("guest", "guest", policy=Policy(statement=[rights]))
    server = await start(keys=[Key("mulligan", "mulligan"), guest])
    owner = broker_of(server)
    name = QueueName("letters")
    await owner.declare(Queues("other", REQUESTS, name, DEAD), create=True)
    await owner.send(name, [Outgoing(b"somebody else's", {})])
    locator = locator_of(f"arn:aws:sqs:eu-west-1:{ACCOUNT}:letters")
    queues = Queues("app", REQUESTS, name, DEAD, (locator,))
    broker = broker_of(server, Keys("guest", "guest"))
    await broker.declare(queues, create=False)

    found = await broker.owners(queues)

    assert "it seems to belong to another program" in found.problems[0]


async def test_declare_works_and_tells_each_time_when_plain_http_to_another_host_is_allowed(
    start, clock, events, queues, monkeypatch
):
    resolve(monkeypatch, "localstack.test", "127.0.0.1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", DEFAULT_KEY.id)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", DEFAULT_KEY.secret)
    server = await start(also_hosts=["localstack.test"])
    url = f"sqs://eu-west-1?endpoint=http://localstack.test:{server.port}&insecure=true"
    broker = SqsBroker(url, clock=clock, emit=events.append)

    notes = [(await broker.declare(queues, create=True)).notes for _ in range(2)]
    sent = await broker.send(queues.requests, [Outgoing(b"1", {})])
    await broker.close()

    text = (
        f"The endpoint http://localstack.test:{server.port} is plain http, as insecure=true in BROKER_URL allows: "
        f"messages can be read and changed on the way. Use this only on a network that you control; otherwise "
        "use https."
    )
    assert notes == [(text,), (text,)]
    assert sent == [None]


async def test_declare_tells_how_often_a_queue_gives_a_message(broker, broker_of, server, queues):
    first = await broker.declare(queues, create=False)
    policy = '{"deadLetterTargetArn":"arn:aws:sqs:eu-west-1:000000000000:app-dead-q","maxReceiveCount":5}'
    client = await broker._open()
    url = broker._queues[queues.rejects].url
    await client.call_object(
        "SetQueueAttributes", {"QueueUrl": url, "Attributes": {"RedrivePolicy": policy}}, where="test"
    )

    second = await broker_of(server).declare(queues, create=False)

    assert first.receives == {queues.requests: 1000, queues.rejects: 1000}
    assert second.receives == {queues.requests: 1000, queues.rejects: 5}
    assert [note.partition(",")[0] for note in second.notes] == ["Queue app-rejects-q: its maxReceiveCount is 5"]
    assert second.problems == ()
