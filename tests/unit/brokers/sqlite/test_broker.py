import asyncio
import sqlite3
from contextlib import closing

import pytest

from mulligan.brokers.sqlite import store
from mulligan.core.delivery import Outgoing
from mulligan.core.error import BrokerRefused, BrokerUnavailable, StorageBroken


async def receive(broker, queues, max_count=10, *, lease_s=30.0):
    return await broker.receive(queues.requests, max_count, wait_s=0.0, lease_s=lease_s)


@pytest.mark.parametrize("jump_s", [-3600.0, 3600.0])
async def test_wall_clock_that_is_set_neither_hides_messages_nor_ends_leases(broker, connect, queues, clock, jump_s):
    await broker.send(queues.requests, [Outgoing(b"leased", {}), Outgoing(b"ready", {})])
    (leased,) = await receive(broker, queues, 1)

    clock.wall_shift_s = jump_s
    late = await connect()  # a process that starts after the jump
    found = await receive(late, queues)

    assert leased.body == b"leased"
    assert [d.body for d in found] == [b"ready"]
    assert await receive(broker, queues) == []


async def test_wall_clock_that_was_wrong_by_years_is_believed_again(broker, connect, queues, clock):
    clock.wall_shift_s = 365 * 86_400.0
    late = await connect()

    await late.send(queues.requests, [Outgoing(b"now", {})])

    assert late._time() == pytest.approx(clock.now(), abs=1.0)


async def test_database_that_is_deleted_confirms_nothing_any_more(broker, queues, path):
    path.unlink()

    with pytest.raises(StorageBroken, match=r"queue\.db was deleted"):
        await broker.send(queues.requests, [Outgoing(b"lost", {})])


async def test_send_fails_as_unavailable_when_the_disk_is_full_and_goes_on_when_there_is_room(broker, queues):
    await broker._database.read(lambda c: c.execute("PRAGMA max_page_count=20").fetchone())
    with pytest.raises(BrokerUnavailable, match="disk is full"):
        await broker.send(queues.requests, [Outgoing(b"x" * 200_000, {})])

    await broker._database.read(lambda c: c.execute("PRAGMA max_page_count=100000").fetchone())

    assert await broker.send(queues.requests, [Outgoing(b"x" * 200_000, {})]) == [None]
    assert len(await receive(broker, queues)) == 1


async def test_receive_gives_fewer_messages_when_their_bodies_are_large(broker, queues):
    large = Outgoing(b"x" * (12 * 2**20), {})
    for _ in range(5):
        await broker.send(queues.requests, [large])

    assert [len(await receive(broker, queues)) for _ in range(3)] == [3, 2, 0]


async def test_ids_are_never_used_again_when_the_queue_was_emptied_and_opened_again(connect, queues):
    first = await connect()
    await first.send(queues.requests, [Outgoing(b"1", {})])
    (old,) = await receive(first, queues)
    await first.ack(queues.requests, [old.receipt])
    await first.close()

    again = await connect()
    await again.send(queues.requests, [Outgoing(b"2", {})])
    (new,) = await receive(again, queues)

    assert int(new.id) > int(old.id)


async def test_settled_messages_leave_nothing_behind(broker, queues, path):
    await broker.send(queues.requests, [Outgoing(b"1", {}), Outgoing(b"2", {})])
    await broker.ack(queues.requests, [d.receipt for d in await receive(broker, queues)])

    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM message").fetchone() == (0,)
        assert connection.execute("SELECT count(*) FROM content").fetchone() == (0,)


async def test_receipt_settles_nothing_on_another_queue(broker, queues):
    await broker.send(queues.requests, [Outgoing(b"1", {})])
    (delivery,) = await receive(broker, queues)

    await broker.ack(queues.rejects, [delivery.receipt])

    assert (await broker.depth(queues.requests)).in_flight == 1


async def test_pipe_is_removed_when_the_broker_is_closed(broker, queues, path):
    task = asyncio.create_task(broker.receive(queues.requests, 1, wait_s=20.0, lease_s=30.0))
    folder = path.with_name("queue.db-wake")
    while not (folder.exists() and list(folder.glob("*.pipe"))):
        await asyncio.sleep(0.005)

    await broker.close()

    assert await task == []
    assert list(folder.iterdir()) == []


async def test_receive_still_waits_where_no_pipe_can_be_made(broker, queues, path):
    path.with_name("queue.db-wake").write_text("in the way")
    task = asyncio.create_task(broker.receive(queues.requests, 1, wait_s=20.0, lease_s=30.0))
    await asyncio.sleep(0.05)

    await broker.send(queues.requests, [Outgoing(b"found by looking", {})])

    assert len(await asyncio.wait_for(task, 5)) == 1


async def test_calls_are_refused_before_declare(path, clock, queues):
    from mulligan.brokers.sqlite import SqliteBroker

    broker = SqliteBroker(path, clock)

    with pytest.raises(BrokerRefused, match="not open"):
        await broker.send(queues.requests, [Outgoing(b"", {})])
    await broker.close()


def plans(statements):
    with closing(sqlite3.connect(":memory:")) as connection:
        for statement in store.LAYOUT.migrations[0]:
            connection.execute(statement)
        seen = []
        connection.set_trace_callback(seen.append)
        statements(connection)
        connection.set_trace_callback(None)
        return [
            row[3]
            for statement in seen
            if statement.lstrip().split(" ")[0] in ("SELECT", "UPDATE", "DELETE")
            for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}")
        ]


@pytest.mark.parametrize(
    "statements",
    [
        lambda c: store.take(1, 5.0, 6.0, 10, c),
        lambda c: store.acknowledge(1, [(1, 1), (2, 1)], c),
        lambda c: store.extend(1, [(1, 1, 5.0)], c),
        lambda c: store.release(1, [(1, 1, 5.0)], c),
        lambda c: store.next_due(1, c),
    ],
)
def test_hot_statements_walk_over_no_table_and_sort_nothing(statements):
    found = plans(statements)

    assert found
    assert not [plan for plan in found if "SCAN" in plan and "VIRTUAL TABLE" not in plan]
    assert not [plan for plan in found if "TEMP B-TREE" in plan]
    # what settles by id must not go by the queue: it would walk over all its messages
    assert not [plan for plan in found if plan.endswith("(queue=?)") and "COVERING" not in plan]
