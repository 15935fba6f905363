"""What `mulligan check` says of a RabbitMQ server: version, alarms, limits, missing rights, traces of policies.

Changes nothing there. Rights can only be found out by trying: a publish with a key that leads nowhere, a consumer that
is closed at once.
"""

import asyncio
import re
from collections.abc import Mapping, Sequence

from pamqp import commands

from mulligan.brokers.rabbitmq.broker import RabbitBroker
from mulligan.brokers.rabbitmq.channel import Channel
from mulligan.brokers.rabbitmq.content import header
from mulligan.brokers.rabbitmq.error import ChannelClosed, broker_error
from mulligan.brokers.rabbitmq.publisher import Letter, Publisher
from mulligan.brokers.rabbitmq.topology import DELIVERY_LIMIT, Place
from mulligan.core.delivery import Fault
from mulligan.core.error import BrokerError
from mulligan.core.message import AttributeValue
from mulligan.core.value import value

__all__ = ["Report", "report"]

OLDEST = (3, 10)
"""The first with dead-lettering at least once."""
CONSUMER_TIMEOUT_S = 1800.0
ALARM_S = 3.0
_NOWHERE = "mulligan-check"
_FIRST_REASON, _LIMIT = "x-first-death-reason", "delivery_limit"
"""Of a message that the server moved: why it did so first."""


@value
class Report:
    """facts: what a person may want to know. problems: what has to be mended, each with what to do."""

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

    longest_task_s: the longest time that a task may take, to be compared with the server's patience.
    letters: attributes of some messages of the dead queue, to see which of them the server put there.
    makes_queues: a start would make them, which takes a right of its own even where all are there.
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
                f"CREATE_QUEUES is true, and user {broker.address.user!r} may not configure, which a start needs then: "
                f"set CREATE_QUEUES=false, or let the user configure (docs/rabbitmq.md has the rights of each)."
            )
    except ChannelClosed as exc:
        raise broker_error(broker.address.where, exc) from None
    facts = [
        f"{product} {version} at {broker.address.where}, user {broker.address.user}, "
        f"frames of {connection.frame_max_bytes} bytes, heartbeat {broker.address.heartbeat_s} s",
        "the user may create queues" if may_configure else "the user may not create queues",
        "a message without message_id can't be told from another of the same body: until its first reject its tasks "
        "run at least once, not exactly once",
    ]
    facts += _policy_facts(broker, letters, unrouted)
    if longest_task_s > CONSUMER_TIMEOUT_S / 2:
        facts.append(
            f"a task may take {longest_task_s:g} s, and RabbitMQ takes a message away after its consumer_timeout "
            f"({CONSUMER_TIMEOUT_S:g} s by default; AMQP can't tell it): raise it in rabbitmq.conf to twice the task's"
        )
    return Report(tuple(facts), tuple(problems))


def _policy_facts(broker: RabbitBroker, letters: Sequence[Mapping[str, AttributeValue]], unrouted: int) -> list[str]:
    """What may come of a policy of the server's: it acts beside the queues' own arguments, and AMQP tells of none."""
    listed = f"rabbitmqctl -p {broker.address.vhost} list_policies"
    facts = [
        f"a policy that matches these queues acts beside their own arguments, and AMQP can't tell it: `{listed}` must "
        f"show none with a delivery-limit, a message-ttl or expires for them (docs/rabbitmq.md)"
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
            f"it, or a policy made {broker.topology.queues.dead} give them up (`{listed}`). Move them with a shovel to "
            f"where they belong"
        )
    return facts


def _version_problems(version: str) -> list[str]:
    found = re.match(r"(\d+)\.(\d+)", version)
    if found is None or (int(found[1]), int(found[2])) >= OLDEST:
        return []
    return [
        f"RabbitMQ is {version}, and moves to the dead queue are safe from {OLDEST[0]}.{OLDEST[1]} on only: upgrade it."
    ]


async def _alarm(broker: RabbitBroker) -> str | None:
    """The server says that it is blocked when it is published to, and confirms nothing until it is not."""
    connection = await broker.publishing()
    place = broker.topology.place(broker.topology.queues.requests)
    probe = asyncio.get_running_loop().create_task(_probe(broker, place.exchange))
    await asyncio.wait([probe], timeout=ALARM_S)
    if probe.done():
        return None
    probe.cancel()
    await asyncio.wait([probe])
    told = connection.blocked or f"it has confirmed nothing within {ALARM_S:g} s"
    return f"RabbitMQ takes no messages now ({told}): free memory or disk on its machine (rabbitmqctl status)."


async def _probe(broker: RabbitBroker, exchange: str) -> str | None:
    """What is wrong with publishing to an exchange; None when only our key leads nowhere, as it should."""
    head, body = header({}, b"", "", may_wrap=False, max_bytes=4096)
    try:
        (result,) = await Publisher(broker.publishing).publish(
            exchange, [Letter(Place(exchange, _NOWHERE), head, body)]
        )
    except BrokerError as exc:
        return str(exc)
    is_returned = result is not None and result.fault is Fault.REFUSED
    return None if result is None or is_returned else result.reason


async def _write_problems(broker: RabbitBroker) -> list[str]:
    topology = broker.topology
    main = [topology.place(name).exchange for name in topology.queues.all]
    ladder = [one.name for one in topology.exchanges if one.name.startswith(topology.delay_prefix)]
    found = [await _probe(broker, exchange) for exchange in (*main, *ladder)]
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
        channel.shut()
    return None
