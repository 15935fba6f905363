"""A service in virtual time for every test of the folder."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.integration.worker.service import QUEUES, Service
from tests.support.virtual_loop import VirtualClock, VirtualLoop


def pytest_asyncio_loop_factories(config, item):
    return {"real": asyncio.new_event_loop} if getattr(item.module, "REAL_TIME", False) else {"virtual": VirtualLoop}


@pytest.fixture
async def clock() -> VirtualClock:
    return VirtualClock(asyncio.get_running_loop())


@pytest.fixture
async def service(clock: VirtualClock) -> AsyncIterator[Service]:
    made = Service(clock)
    await made.broker.declare(QUEUES, create=True)
    yield made
    await made.close()
