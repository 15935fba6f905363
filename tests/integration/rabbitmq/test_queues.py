"""Declaring, checking, rights and delays, on a real server."""

import asyncio
import socket

import pika
import pytest

from mulligan.brokers.rabbitmq import topology
from mulligan.brokers.rabbitmq.amqp import connection
from mulligan.brokers.rabbitmq.report import report
from mulligan.core.delivery import Fault, Outgoing
from mulligan.core.error import BrokerRefused, BrokerUnavailable
from tests.support.black_hole import black_hole, resolve

MAIN = "msgparser-(requests|rejects|dead)"
WORKER = ("^$", f"^{MAIN}-xchange$|^msgparser-delay-[0-9]+$", f"^{MAIN}-q$")
PRODUCER = ("^$", "^msgparser-requests-xchange$", "^$")


async def bodies(broker, queue, count, within_s=10.0):
    found = []
    loop = asyncio.get_running_loop()
    until = loop.time() + within_s
    while len(found) < count and loop.time() < until:
        found += [one.body for one in await broker.receive(queue, 100, wait_s=1.0, lease_s=30.0)]
    return found


@pytest.fixture
def channel(url):
    connection = pika.BlockingConnection(pika.URLParameters(url))
    yield connection.channel()
    connection.close()


@pytest.fixture
def user(rabbitmq, vhost, url):
    """Makes users with (configure, write, read) rights; their URL."""

    def make(name, rights):
        name = f"{name}-{vhost}"
        rabbitmq.ctl("add_user", name, "secret")
        rabbitmq.ctl("set_permissions", "-p", vhost, name, *rights)
        return rabbitmq.url(vhost, name, "secret")

    return make


async def test_declare_explains_a_classic_queue_of_the_same_name_and_how_to_mend_it(make, queues, channel, vhost):
    channel.queue_declare(queues.requests, durable=True)

    declared = await make().declare(queues, create=True)

    (problem,) = declared.problems
    assert queues.requests in problem
    assert "inequivalent arg" in problem
    advice, _, removal = problem.partition("If it is an older one of your own, remove it when it is empty: ")
    assert "Leave it alone, and choose another COMMON_PREFIX" in advice
    assert removal.startswith(f"rabbitmqctl -p {vhost} delete_queue {queues.requests} - ")


async def test_check_explains_a_classic_queue_where_the_others_are_missing(make, queues, channel):
    channel.queue_declare(queues.requests, durable=True)

    declared = await make().declare(queues, create=False)

    assert declared.missing == (queues.rejects, queues.dead)
    assert sum("inequivalent arg" in problem for problem in declared.problems) == 1


async def test_declare_tells_a_user_that_may_not_configure_what_to_do(make, broker, queues, user):
    with pytest.raises(BrokerRefused, match="CREATE_QUEUES=false"):
        await make(user("maker", WORKER)).declare(queues, create=True)


@pytest.mark.parametrize("create", [True, False], ids=["start", "check"])
@pytest.mark.parametrize(
    "dead_letters", [{}, {"x-dead-letter-exchange": "msgparser-dead-xchange"}], ids=["", "to dead"]
)
@pytest.mark.parametrize("limit", [1, 3, 20])
async def test_declare_refuses_another_delivery_limit_and_says_how_to_mend_it(
    make, broker, queues, channel, vhost, limit, dead_letters, create
):
    channel.queue_delete(queues.rejects)
    arguments = {"x-queue-type": "quorum", "x-delivery-limit": limit, **dead_letters}
    channel.queue_declare(queues.rejects, durable=True, arguments=arguments)

    declared = await make().declare(queues, create=create)

    (problem,) = declared.problems
    assert queues.rejects in problem
    assert "could lose messages" in problem
    assert f"rabbitmqctl -p {vhost} delete_queue {queues.rejects}" in problem


async def test_declared_receives_are_as_many_as_the_broker_gives_a_message(make, queues, monkeypatch):
    monkeypatch.setattr(topology, "DELIVERY_LIMIT", 3)
    broker = make()

    declared = await broker.declare(queues, create=True)
    await broker.send(queues.requests, [Outgoing(b"poison", {"mulligan-uid": "x"})])
    counts = []
    while found := await broker.receive(queues.requests, 1, wait_s=2.0, lease_s=30.0):
        counts.append(found[0].receive_count)
        await broker.release(queues.requests, [(found[0].receipt, 0.0)])

    assert declared.receives == {queues.requests: 4, queues.rejects: 4}
    assert counts == [1, 2, 3, 4]
    assert await bodies(broker, queues.dead, 1) == [b"poison"]


async def test_check_names_what_delays_need_when_a_level_is_gone(make, broker, queues, channel):
    channel.queue_delete("msgparser-delay-3")

    declared = await make().declare(queues, create=False)

    (problem,) = declared.problems
    assert "msgparser-delay-3" in problem


async def test_worker_needs_no_more_than_the_documented_rights(make, broker, queues, user):
    worker = make(user("worker", WORKER))
    declared = await worker.declare(queues, create=False)

    sent = await worker.send(queues.requests, [Outgoing(b"1", {})])
    (one,) = await worker.receive(queues.requests, 1, wait_s=2.0, lease_s=30.0)
    rejected = await worker.send(queues.rejects, [Outgoing(b"1", {}, delay_s=1.0)])
    buried = await worker.send(queues.dead, [Outgoing(b"1", {})])
    released = await worker.release(queues.requests, [(one.receipt, 1.0)])
    told = await report(worker)

    assert declared.problems == ()
    assert sent == rejected == buried == released == [None]
    assert await bodies(worker, queues.rejects, 1) == [b"1"]
    assert await bodies(worker, queues.requests, 1) == [b"1"]
    assert told.problems == ()


async def test_producer_may_send_and_nothing_else(make, broker, queues, user):
    producer = make(user("producer", PRODUCER))
    await producer.declare(queues, create=False)

    assert await producer.send(queues.requests, [Outgoing(b"1", {})]) == [None]
    with pytest.raises(BrokerRefused, match="write"):
        await producer.send(queues.rejects, [Outgoing(b"1", {})])
    with pytest.raises(BrokerRefused, match="read"):
        await producer.receive(queues.requests, 1, wait_s=0.0, lease_s=30.0)
    assert await producer.send(queues.requests, [Outgoing(b"2", {})]) == [None]


async def test_report_names_every_missing_right(make, broker, queues, user):
    producer = make(user("checked", PRODUCER))
    await producer.declare(queues, create=False)

    told = await report(producer, longest_task_s=3600.0)

    assert sum("read" in problem for problem in told.problems) == 3
    assert sum("write" in problem for problem in told.problems) == 19
    assert any("may not create queues" in fact for fact in told.facts)
    assert not any("CREATE_QUEUES" in problem for problem in told.problems)
    made = await report(producer, makes_queues=True)
    assert sum("CREATE_QUEUES is true" in problem for problem in made.problems) == 1
    assert any("consumer_timeout" in fact for fact in told.facts)


async def test_report_counts_what_was_given_up_where_nobody_reads_it(make, broker, channel):
    channel.basic_publish("msgparser-unrouted", "", b"lost from sight")

    told = await report(broker)

    (fact,) = [one for one in told.facts if "msgparser-unrouted" in one]
    assert fact.startswith("1 on msgparser-unrouted, which nothing reads")
    assert "shovel" in fact


async def test_wrong_password_and_unknown_virtual_host_are_told_without_the_password(make, rabbitmq, queues, vhost):
    with pytest.raises(BrokerRefused, match="user or password") as caught:
        await make(rabbitmq.url(vhost, "guest", "s3cret")).declare(queues, create=True)
    assert "s3cret" not in str(caught.value)

    with pytest.raises(BrokerRefused, match="virtual host"):
        await make(rabbitmq.url("nowhere")).declare(queues, create=True)


async def test_server_that_is_not_there_is_unavailable(make, queues, unused_tcp_port):
    broker = make(f"amqp://guest:guest@127.0.0.1:{unused_tcp_port}/")

    with pytest.raises(BrokerUnavailable, match=str(unused_tcp_port)):
        await broker.declare(queues, create=True)


async def test_send_is_refused_and_not_lost_silently_when_the_binding_is_gone(broker, queues, channel):
    channel.queue_unbind(queues.rejects, "msgparser-rejects-xchange", "msgparser-rejects")

    (fault,) = await broker.send(queues.rejects, [Outgoing(b"1", {})])

    assert fault.fault is Fault.REFUSED
    assert "msgparser-rejects-xchange" in fault.reason


async def test_receive_of_a_deleted_queue_fails_loudly_and_the_others_go_on(broker, queues, channel):
    waiting = asyncio.create_task(broker.receive(queues.rejects, 1, wait_s=20.0, lease_s=30.0))
    await asyncio.sleep(0.3)
    channel.queue_delete(queues.rejects)

    with pytest.raises(BrokerUnavailable, match="cancelled the consumer"):
        await waiting
    with pytest.raises(BrokerRefused, match=queues.rejects):
        await broker.receive(queues.rejects, 1, wait_s=1.0, lease_s=30.0)
    await broker.send(queues.requests, [Outgoing(b"1", {})])
    assert await bodies(broker, queues.requests, 1) == [b"1"]


@pytest.mark.parametrize(("delay_s", "earliest_s"), [(1.0, 1.0), (2.5, 3.0), (5.0, 5.0)])
async def test_delay_is_never_shorter_than_asked(broker, queues, delay_s, earliest_s):
    loop = asyncio.get_running_loop()
    began_at = loop.time()

    await broker.send(queues.rejects, [Outgoing(b"later", {"a": "b"}, delay_s=delay_s)])
    (found,) = await broker.receive(queues.rejects, 1, wait_s=15.0, lease_s=30.0)
    took_s = loop.time() - began_at

    assert earliest_s - 0.01 <= took_s < earliest_s + 1.0
    assert found.attributes == {"a": "b"}  # nothing of the way is left in it
    assert found.receive_count == 1


async def test_longest_delay_waits_on_the_highest_level_and_a_longer_one_is_refused(broker, queues, channel):
    longest_s = broker.features.max_delay_s

    sent = await broker.send(queues.rejects, [Outgoing(b"1", {}, delay_s=longest_s)])
    too_long = await broker.send(queues.rejects, [Outgoing(b"2", {}, delay_s=longest_s + 1)])
    waiting = channel.queue_declare("msgparser-delay-16", passive=True).method.message_count
    depth = await broker.depth(queues.rejects)

    assert longest_s >= 36 * 3600
    assert sent == [None]
    assert too_long[0].fault is Fault.REFUSED
    assert waiting == 1
    assert (depth.ready, depth.delayed) == (0, 1)


async def test_delays_go_on_when_messages_wait_for_a_queue_that_is_gone(broker, queues, channel):
    """More than 32 such messages would block a delay level for ever, without the way out to `unrouted`."""
    sent = await broker.send(queues.requests, [Outgoing(b"orphan", {}, delay_s=2.0)] * 61)
    channel.queue_delete(queues.requests)

    await broker.send(queues.rejects, [Outgoing(str(number).encode(), {}, delay_s=3.0) for number in range(10)])
    found = await bodies(broker, queues.rejects, 10, within_s=15.0)

    assert sent == [None] * 61
    assert len(found) == 10
    counted = channel.queue_declare("msgparser-unrouted", passive=True).method.message_count
    assert counted == 61


async def test_broker_moves_a_message_beyond_the_delivery_limit_to_dead(broker, queues, rabbitmq, vhost):
    # a thousand receipts, of which the broker is told by a policy that a test can wait for: it takes the lesser limit
    rabbitmq.ctl("set_policy", "-p", vhost, "few", "requests-q$", '{"delivery-limit": 3}', "--apply-to", "queues")
    await broker.send(queues.requests, [Outgoing(b"poison", {"mulligan-uid": "x"})])

    for _ in range(4):
        (one,) = await broker.receive(queues.requests, 1, wait_s=5.0, lease_s=30.0)
        await broker.release(queues.requests, [(one.receipt, 0.0)])
    found = await bodies(broker, queues.dead, 1)

    assert found == [b"poison"]


async def test_second_address_of_the_host_is_taken_when_the_first_swallows_connections(
    make, queues, url, rabbitmq, monkeypatch
):
    resolve(monkeypatch, "broker.test", "127.0.0.2", "127.0.0.1")
    broker = make(url.replace("127.0.0.1", "broker.test"))

    with black_hole("127.0.0.2", rabbitmq.port):
        await broker.declare(queues, create=True)
    results = await broker.send(queues.requests, [Outgoing(b"1", {})])

    assert results == [None]


async def test_other_address_of_the_host_is_taken_when_the_first_takes_connections_and_says_nothing(
    make, queues, url, rabbitmq, monkeypatch
):
    resolve(monkeypatch, "broker.test", "127.0.0.2", "127.0.0.1")
    monkeypatch.setattr(connection, "CONNECT_S", 1.0)
    broker = make(url.replace("127.0.0.1", "broker.test"))

    with socket.create_server(("127.0.0.2", rabbitmq.port), backlog=50):
        with pytest.raises(BrokerUnavailable, match="no answer"):
            await broker.declare(queues, create=True)
        declared = await broker.declare(queues, create=True)

    assert declared.problems == ()
