"""Hosts whose clocks differ: what one of them has set, and another one receives."""

from mulligan.core import retry_state
from mulligan.core.delivery import Outgoing
from mulligan.core.event import MessageReleased
from mulligan.core.message import TaskName, Uid
from mulligan.core.progress import Mark, Progress, State
from mulligan.core.retry_state import RetryState
from tests.integration.worker.service import QUEUES, Recording, task

UID = Uid("018bcfe56800-1")
AHEAD_S = 3600.0


async def test_retry_of_a_host_whose_clock_is_an_hour_ahead_waits_no_longer_than_it_was_told_to(service, clock):
    one = Recording()
    failed_at = clock.now() + AHEAD_S
    mark = Mark(State.PENDING, 1, failed_at + 20.0, "ValueError: no", failed_at)
    told = RetryState(UID, 0, 1, clock.now(), Progress({TaskName("One"): mark}))
    service.worker(task("One", one))

    await service.broker.send(QUEUES.rejects, [Outgoing(b"hello", {retry_state.ATTRIBUTE: retry_state.encode(told)})])
    await service.until_empty(within_s=60)

    assert one.runs == [("hello", 2)]
    assert [event.delay_s for event in service.told(MessageReleased)] == [20.0]
