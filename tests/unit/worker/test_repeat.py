"""What a task is told of an attempt that may have been started before."""

import asyncio

import pytest

from mulligan.core.delivery import Delivery
from mulligan.core.message import TaskName
from mulligan.core.progress import FRESH, Mark, Progress
from mulligan.worker.pipeline.attempt import Attempt
from mulligan.worker.pipeline.invocation import context_of

TASK = TaskName("One")


@pytest.fixture
def context(make_flight, make_task):
    """Makes the context of an attempt on a copy of a message."""

    def make(number=1, *, mark=FRESH, hop=0, receive_count=1, deaths=0, sent_at=1000.0, alerts=None, carried=None):
        flight = make_flight("One")
        old = flight.delivery
        flight.delivery = Delivery(old.queue, old.receipt, old.id, old.body, {}, sent_at, receive_count)
        flight.hop = hop
        marks = {TASK: mark}
        flight.progress = Progress(marks, alerts or {}, is_buried=alerts is not None, deaths=deaths)
        flight.carried = flight.progress if carried is None else carried
        return context_of(
            Attempt(flight, make_task(asyncio.sleep, name="One", is_default=alerts is not None), number, 0.0)
        )

    return make


async def test_first_attempt_of_a_new_message_repeats_nothing(context):
    assert not context().may_repeat
    assert context().previous_error is None


async def test_attempt_after_a_failure_knows_why_and_repeats_nothing(context):
    failed = Mark(attempts=1, due_at=1010.0, reason="it broke")

    again = context(2, mark=failed, hop=1, sent_at=1000.5)

    assert (again.may_repeat, again.previous_error) == (False, "it broke")


@pytest.mark.parametrize("sign", [{"receive_count": 2}, {"deaths": 1}, {"hop": 1}])
async def test_first_attempt_may_repeat_when_its_message_was_received_before(context, sign):
    assert context(**sign).may_repeat


async def test_later_attempt_may_repeat_when_its_copy_was_made_after_it_was_due(context):
    failed = Mark(attempts=1, due_at=1010.0, reason="it broke")

    assert context(2, mark=failed, hop=2, sent_at=1010.5).may_repeat


async def test_first_attempt_of_an_alert_repeats_nothing_when_the_message_came_from_rejects(context):
    carried = Progress({TASK: FRESH})

    assert not context(alerts={TASK: FRESH}, hop=1, carried=carried).may_repeat
    assert context(alerts={TASK: FRESH}, hop=2).may_repeat
