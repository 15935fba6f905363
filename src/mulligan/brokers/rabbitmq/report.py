"""What `mulligan check` reports about a RabbitMQ server: version, alarms, limits, missing rights, traces of policies.

Changes nothing there. Rights can be found out by trying only: a publish with a key that no queue is bound to, a
consumer that is cancelled immediately.
"""

import asyncio
import re
from collections.abc import Mapping, Sequence

from pamqp import commands

from mulligan.brokers.rabbitmq.amqp.channel import Channel
from mulligan.brokers.rabbitmq.amqp.error import ChannelClosed
from mulligan.brokers.rabbitmq.broker import RabbitBroker
from mulligan.brokers.rabbitmq.codec import encode
from mulligan.brokers.rabbitmq.error import broker_error
from mulligan.brokers.rabbitmq.publisher import Publication, Publisher
from mulligan.brokers.rabbitmq.topology import DELIVERY_LIMIT, Place
from mulligan.core.delivery import Fault
from mulligan.core.error import BrokerError
from mulligan.core.message import AttributeValue
from mulligan.core.value import value

__all__ = ["Report", "report"]

OLDEST = (3, 10)
"""The first version with at-least-once dead-lettering."""
CONSUMER_TIMEOUT_S = 1800.0
ALARM_S = 3.0
_NOWHERE = "mulligan-check"
_FIRST_REASON, _LIMIT = "x-first-death-reason", "delivery_limit"
"""The header of a message that the server moved with the first reason, and its value for too many returns."""


@value
class Report:
    """facts: what a person may want to know. problems: what has to be corrected, each with what to do."""

    facts: tuple[str, ...]
    problems: tuple[str, ...]


async def report(
    broker: RabbitBroker,
    *,
    longest_task_s: float = 0.0,
    makes_queues: bool = False,
    letters: Sequence[Mapping[str, AttributeValue]] = (),
) -> Report:
    """Look at the server. The queues must be declared. Raises BrokerUnavailable, BrokerRefused.

    longest_task_s: the longest time that a task may take, to compare with the server's consumer_timeout.
    letters: attributes of some messages of the dead queue, to see which of them the server put there.
    makes_queues: a start would create them, which needs the right to configure even where all of them exist.
    """
    try:
        connection = await broker.publishing()
        product, version = (str(connection.server.get(name, "?")) for name in ("product", "version"))
        problems = _version_problems(version)
        alarm = await _alarm(broker)
        problems += [alarm] if alarm else await _write_problems(broker)
        problems += await _read_problems(broker)
        may_configure = await _may_configure(broker)
        unrouted = await broker.waiting(broker.topology.unrouted)
        if makes_queues and not may_configure:
            problems.append(
                f"CREATE_QUEUES is true, and user {broker.parameters.user!r} may not configure, which a start needs: "
                f"set CREATE_QUEUES=false, or let the user configure (docs/rabbitmq.md has the rights of each)."
            )
    except ChannelClosed as exc:
        raise broker_error(broker.parameters.where, exc) from None
    facts = [
        f"{product} {version} at {broker.parameters.where}, user {broker.parameters.user}, "
        f"frames of {connection.frame_max_bytes} bytes, heartbeat {broker.parameters.heartbeat_s} s",
        "the user may create queues" if may_configure else "the user may not create queues",
        "a message without message_id can't be distinguished from another with the same body: until its first reject "
        "its tasks run at least once, not exactly once",
    ]
    facts += _policy_facts(broker, letters, unrouted)
    if longest_task_s > CONSUMER_TIMEOUT_S / 2:
        facts.append(
            f"a task may take {longest_task_s:g} s, and RabbitMQ takes a message away after its consumer_timeout "
            f"({CONSUMER_TIMEOUT_S:g} s default; AMQP doesn't show it): raise it in rabbitmq.conf to twice the task's"
        )
    return Report(tuple(facts), tuple(problems))


def _policy_facts(broker: RabbitBroker, letters: Sequence[Mapping[str, AttributeValue]], unrouted: int) -> list[str]:
    """What a policy of the server may do: it acts beside the queues' own arguments, and AMQP doesn't show policies."""
    listed = f"rabbitmqctl -p {broker.parameters.vhost} list_policies"
    facts = [
        f"a policy that matches these queues acts beside their own arguments, and AMQP doesn't show it: `{listed}` "
        f"must show none with a delivery-limit, a message-ttl or expires for them (docs/rabbitmq.md)"
    ]
    returned = sum(one.get(_FIRST_REASON) == _LIMIT for one in letters)
    if returned:
        facts.append(
            f"of the first {len(letters)} on {broker.topology.queues.dead}, RabbitMQ itself moved {returned} there, "
            f"after too many returns ({_LIMIT}): their default tasks have not run. No worker survives them, or a "
            f"policy allows fewer returns than {DELIVERY_LIMIT} (`{listed}`): take its delivery-limit away, "
            f"then `mulligan dead replay`"
        )
    if unrouted:
        facts.append(
            f"{unrouted} on {broker.topology.unrouted}, which nothing reads: a queue was deleted while they waited for "
            f"it, or a policy made {broker.topology.queues.dead} drop them (`{listed}`). Move them with a shovel to "
            f"where they belong"
        )
    return facts


def _version_problems(version: str) -> list[str]:
    found = re.match(r"(\d+)\.(\d+)", version)
    if found is None or (int(found[1]), int(found[2])) >= OLDEST:
        return []
    return [
        f"RabbitMQ is {version}, and moves to the dead queue are safe only from {OLDEST[0]}.{OLDEST[1]} on: upgrade it."
    ]


async def _alarm(broker: RabbitBroker) -> str | None:
    """Why the server takes no messages; None if it does. It says so only after a publish, and doesn't confirm that."""
    connection = await broker.publishing()
    place = broker.topology.place(broker.topology.queues.requests)
    probe = asyncio.get_running_loop().create_task(_probe(broker, place.exchange))
    await asyncio.wait([probe], timeout=ALARM_S)
    if probe.done():
        return None
    probe.cancel()
    await asyncio.wait([probe])
    reason = connection.blocked or f"it has confirmed nothing within {ALARM_S:g} s"
    return f"RabbitMQ accepts no messages now ({reason}): free memory or disk on its machine (rabbitmqctl status)."


async def _probe(broker: RabbitBroker, exchange: str) -> str | None:
    """What is wrong with publishing to an exchange; None when only the probe's key is unbound, as it should be."""
    head, body = encode({}, b"", "", may_wrap=False, max_bytes=4096)
    try:
        (result,) = await Publisher(broker.publishing_channel).publish(
            exchange, [Publication(Place(exchange, _NOWHERE), head, body)]
        )
    except BrokerError as exc:
        return str(exc)
    is_returned = result is not None and result.fault is Fault.REFUSED
    return None if result is None or is_returned else result.reason


async def _write_problems(broker: RabbitBroker) -> list[str]:
    topology = broker.topology
    main = [topology.place(name).exchange for name in topology.queues.all]
    levels = [one.name for one in topology.exchanges if one.name.startswith(topology.delay_prefix)]
    found = [await _probe(broker, exchange) for exchange in (*main, *levels)]
    return [text for text in found if text]


async def _read_problems(broker: RabbitBroker) -> list[str]:
    found: list[str] = []
    for name in broker.topology.queues.all:
        why = await _refused(broker, [commands.Basic.Qos(0, 1, False), commands.Basic.Consume(0, name, _NOWHERE)])
        if why is not None:
            found.append(str(broker_error(name, why)))
    return found


async def _may_configure(broker: RabbitBroker) -> bool:
    queue = broker.topology.unrouted_queue
    declare = commands.Queue.Declare(0, queue.name, durable=True, arguments=dict(queue.arguments))
    return await _refused(broker, [declare]) is None


async def _refused(broker: RabbitBroker, calls: Sequence[object]) -> ChannelClosed | None:
    channel: Channel = await broker.channel()
    try:
        for call in calls:
            await channel.call(call)
    except ChannelClosed as exc:
        if exc.code == 0:
            raise
        return exc
    finally:
        channel.close_nowait()
    return None
