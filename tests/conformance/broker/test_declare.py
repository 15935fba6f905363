import pytest

from mulligan.core.delivery import Outgoing
from mulligan.core.error import BrokerRefused


async def test_declare_creates_the_missing_queues_and_names_them(service, queues):
    broker = service.connect()
    try:
        declared = await broker.declare(queues, create=True)
    finally:
        await broker.close()

    assert set(declared.created) == set(queues.all)
    assert declared.problems == ()


async def test_declare_changes_nothing_when_it_is_called_again(broker, queues):
    await broker.send(queues.requests, [Outgoing(b"kept", {})])

    declared = await broker.declare(queues, create=True)

    assert declared.created == ()
    assert [d.body for d in await broker.receive(queues.requests, 10, wait_s=0, lease_s=30)] == [b"kept"]


async def test_declare_reports_each_missing_queue_when_it_may_not_create(service, queues):
    broker = service.connect()
    try:
        declared = await broker.declare(queues, create=False)

        assert declared.created == ()
        assert declared.missing == queues.all
        (problem,) = declared.problems
        for name in queues.all:
            assert name in problem
        with pytest.raises(BrokerRefused, match=queues.requests):
            await broker.receive(queues.requests, 1, wait_s=0, lease_s=30)
        with pytest.raises(BrokerRefused, match=queues.requests):
            await broker.send(queues.requests, [Outgoing(b"", {})])
    finally:
        await broker.close()


async def test_declare_finds_the_queues_that_another_broker_created(service, broker, queues):
    other = service.connect()
    try:
        declared = await other.declare(queues, create=False)
    finally:
        await other.close()

    assert declared.created == ()
    assert declared.problems == ()


async def test_owners_have_nothing_to_say_of_queues_that_we_made_whatever_lies_on_them(broker, queues):
    await broker.send(queues.rejects, [Outgoing(b"somebody moved it here", {})])
    await broker.declare(queues, create=False)

    told = await broker.owners(queues)

    assert (told.problems, told.notes) == ((), ())
