"""What becomes of one message, from the requests queue to its end."""

import asyncio

import pytest

from mulligan.core import retry_state
from mulligan.core.delivery import Outgoing
from mulligan.core.event import (
    DefaultTasksFinished,
    DuplicateSkipped,
    MessageDeadLettered,
    MessageDone,
    MessageRejected,
    MessageReleased,
    RetryStateMissing,
    StateDamaged,
    StateTooNew,
    TaskExhausted,
    TaskFailed,
    TaskSkipped,
)
from mulligan.core.message import TaskName
from mulligan.core.progress import Mark, Progress, State
from mulligan.core.retry_state import RetryState
from mulligan.ledger.base import Claim, Record
from mulligan.ledger.none import NoLedger
from mulligan.settings.model import Settings
from mulligan.tasks.exceptions import GiveUp, Retry, Skip
from tests.integration.worker.service import QUEUES, RETRY, Recording, task


async def test_message_is_done_and_gone_when_all_its_tasks_succeed(service):
    one, two = Recording(), Recording()
    worker = service.worker(task("One", one), task("Two", two))

    await service.send("hello")
    await service.until_empty()

    assert (one.runs, two.runs) == ([("hello", 1)], [("hello", 1)])
    (done,) = service.told(MessageDone)
    assert done.tasks == 2
    assert await service.totals() == (0, 0, 0)
    assert worker.table.used == 0


async def test_message_runs_only_the_task_that_failed_again_when_it_comes_from_rejects(service):
    good, bad = Recording(), Recording(ValueError("not yet"))
    service.worker(task("Good", good), task("Bad", bad))

    await service.send("fp1")
    await service.until(lambda: service.told(MessageRejected))
    assert await service.totals() == (0, 1, 0)
    await service.until_empty()

    assert good.runs == [("fp1", 1)]
    assert bad.runs == [("fp1", 1), ("fp1", 2)]
    (failed,) = service.told(TaskFailed)
    assert (failed.task, failed.attempt, failed.max_attempts) == ("Bad", 1, 2)
    assert 5.0 <= failed.retry_in_s <= 10.0
    assert len(service.told(MessageDone)) == 1
    assert await service.totals() == (0, 0, 0)


async def test_message_is_buried_then_alerted_then_acknowledged_when_a_task_fails_for_good(service):
    order = []
    good, bad = Recording(), Recording(ValueError("no"), ValueError("still no"))

    async def alert(message, context):
        order.append(await service.totals())
        failures.extend((one.task, one.attempts, one.reason.partition("\n")[0]) for one in context.failures)
        assert context.succeeded == ("Good",)

    failures = []
    service.worker(task("Good", good), task("Bad", bad), task("Alert", alert, is_default=True))

    await service.send("fo1")
    await service.until_empty()

    assert failures == [("Bad", 2, "ValueError: still no")]
    assert order == [(0, 1, 1)]  # the dead letter is there before the alert, and the message until after it
    assert good.runs == [("fo1", 1)]
    assert await service.totals() == (0, 0, 1)
    kinds = [type(event) for event in service.told(TaskExhausted, MessageDeadLettered, DefaultTasksFinished)]
    assert kinds == [TaskExhausted, MessageDeadLettered, DefaultTasksFinished]
    (letter,) = await service.dead()
    assert letter.progress.marks["Bad"].state is State.EXHAUSTED
    assert letter.progress.marks["Good"].state is State.DONE


async def test_message_raises_no_alert_when_its_task_passes_on_the_second_attempt(service):
    alert = Recording()
    service.worker(task("Bad", Recording(ValueError("no"))), task("Alert", alert, is_default=True))

    await service.send("fp1")
    await service.until_empty()

    assert alert.runs == []
    assert await service.totals() == (0, 0, 0)


async def test_message_runs_each_task_at_its_own_time_when_three_have_different_backoffs(service, clock):
    began = clock.now()
    times = {}

    def failing_once(name):
        async def run(message, context):
            times.setdefault(name, []).append(clock.now() - began)
            if context.attempt == 1:
                raise ValueError("once")

        return run

    tasks = [
        task(name, failing_once(name), backoff_s=backoff_s)
        for name, backoff_s in (("A", 10.0), ("B", 100.0), ("C", 1000.0))
    ]
    service.worker(*tasks)

    await service.send("hello")
    await service.until_empty(within_s=5000)

    assert {name: len(seen) for name, seen in times.items()} == {"A": 2, "B": 2, "C": 2}
    assert 5 <= times["A"][1] <= 11
    assert 50 <= times["B"][1] <= 101
    assert 500 <= times["C"][1] <= 1001
    assert await service.totals() == (0, 0, 0)


async def test_message_is_acknowledged_when_its_default_task_fails_twice_then_succeeds(service):
    alert = Recording(OSError("Slack is down"), OSError("Slack is down"))
    bad = Recording(GiveUp("no"))
    service.worker(task("Bad", bad), task("Alert", alert, attempts=3, is_default=True))

    await service.send("fo1")
    await service.until_empty()

    assert [attempt for _, attempt in alert.runs] == [1, 2, 3]
    assert len(bad.runs) == 1
    assert len(service.told(MessageDeadLettered)) == 1
    (done,) = service.told(DefaultTasksFinished)
    assert done.exhausted == ()
    assert await service.totals() == (0, 0, 1)


async def test_message_loses_nothing_when_its_default_task_fails_for_good(service):
    alert = Recording(OSError("Slack is gone"), OSError("Slack is gone"))
    service.worker(task("Bad", Recording(GiveUp("no"))), task("Alert", alert, is_default=True))

    await service.send("fo1")
    await service.until_empty()

    assert len(alert.runs) == 2
    (done,) = service.told(DefaultTasksFinished)
    assert done.exhausted == ("Alert",)
    assert await service.totals() == (0, 0, 1)


async def test_message_is_buried_when_no_task_accepts_it(service):
    alert = Recording()
    service.worker(task("Picky", Recording(), accepts=lambda message: False), task("Alert", alert, is_default=True))

    await service.send("nobody's")
    await service.until_empty()

    assert service.told(MessageDeadLettered)[0].failed == ()
    assert len(alert.runs) == 1
    assert await service.totals() == (0, 0, 1)


async def test_message_is_dropped_when_no_task_accepts_it_and_that_was_asked_for(service):
    service.worker(task("Picky", Recording(), accepts=lambda message: False), drops_unrouted=True)

    await service.send("nobody's")
    await service.until_empty()

    assert service.told(MessageDeadLettered) == []
    assert await service.totals() == (0, 0, 0)


async def test_message_counts_a_failed_attempt_when_accepts_raises(service):
    def accepts(message):
        raise KeyError("customer")

    service.worker(task("Picky", Recording(), accepts=accepts))

    await service.send("hello")
    await service.until_empty()

    assert [event.task for event in service.told(TaskFailed)] == ["Picky"]
    assert service.told(TaskExhausted)[0].error.startswith("KeyError")
    assert await service.totals() == (0, 0, 1)


async def test_message_obeys_retry_give_up_and_skip(service, clock):
    began, times = clock.now(), []

    async def retries(message, context):
        times.append(clock.now() - began)
        if context.attempt == 1:
            raise Retry(after_s=300, reason="come back in five minutes")

    service.worker(task("Retries", retries), task("Skips", Recording(Skip("not for us"))))

    await service.send("hello")
    await service.until_empty()

    assert times[1] == pytest.approx(300, abs=1)
    assert [event.reason for event in service.told(TaskSkipped)] == ["not for us"]
    assert len(service.told(MessageDone)) == 1


async def test_message_is_not_tried_again_when_its_task_gives_up(service):
    bad = Recording(GiveUp("no such customer"))
    service.worker(task("Bad", bad, attempts=5))

    await service.send("hello")
    await service.until_empty()

    assert len(bad.runs) == 1
    assert service.told(TaskExhausted)[0].error == "no such customer"


async def test_message_times_out_by_task(service):
    slow = Recording(100.0, 100.0)
    quick = Recording(20.0)
    service.worker(task("Slow", slow, timeout_s=5.0), task("Quick", quick, timeout_s=30.0))

    await service.send("hello")
    await service.until_empty()

    assert service.told(TaskExhausted)[0].error == "timed out after 5 s"
    assert len(quick.runs) == 1
    assert await service.totals() == (0, 0, 1)


async def test_message_keeps_its_attributes_and_uid_on_every_attempt(service):
    bad = Recording(ValueError("once"))
    service.worker(task("Bad", bad))

    await service.send("hello", color="red")
    await service.until_empty()

    first, second = bad.contexts
    assert dict(first.message.attributes) == dict(second.message.attributes) == {"color": "red"}
    assert first.uid == second.uid
    assert first.idempotency_key == second.idempotency_key
    assert first.message.sent_at == pytest.approx(second.message.sent_at, abs=0.002)
    assert first.first_seen_at == pytest.approx(second.first_seen_at, abs=0.002)


# -- whom to believe


async def test_message_can_not_choose_its_tasks_when_it_carries_a_story_on_the_requests_queue(service):
    one, two = Recording(), Recording()
    forged = RetryState(
        "018bcfe56800-00000000000000000000", 0, 5, 1.0, Progress({TaskName("One"): Mark(State.DONE, 1)})
    )
    service.worker(task("One", one), task("Two", two))

    await service.send("hello", **{retry_state.ATTRIBUTE: retry_state.encode(forged)})
    await service.until_empty()

    assert (len(one.runs), len(two.runs)) == (1, 1)
    assert retry_state.ATTRIBUTE not in one.contexts[0].message.attributes
    assert one.contexts[0].uid != forged.uid


async def test_message_runs_all_tasks_when_it_is_on_rejects_without_a_story_and_those_are_to_be_run(service):
    one = Recording()
    service.worker(task("One", one), settings=Settings(unknown_on_rejects="run"))

    await service.send("left by the old program", queue=QUEUES.rejects, past_results="[{'Task1': True}]")
    await service.until_empty()

    assert len(one.runs) == 1
    assert service.told(RetryStateMissing)[0].becomes == "run"


@pytest.mark.parametrize(
    "raw",
    [
        "{",
        "[]",
        '{"v": 0}',
        '{"v":1,"uid":"xyz","gen":0,"hop":1,"seen":1,"tasks":{}}',
        '{"v":1,"uid":"018bcfe56800-0","gen":-1,"hop":1,"seen":1,"tasks":{"One":["p",0]}}',
        '{"v":1,"uid":"018bcfe56800-0","gen":99999999999,"hop":1,"seen":1,"tasks":{"One":["p",0]}}',
        '{"v":1,"uid":"018bcfe56800-%s","gen":0,"hop":1,"seen":1,"tasks":{"One":["p",0]}}' % ("0" * 5000),
    ],
)
async def test_message_is_neither_run_nor_removed_when_its_state_is_damaged(service, raw):
    """Run as if it were new, it got another uid, and tasks that were done ran again."""
    one = Recording()
    service.worker(task("One", one))

    await service.send("hello", queue=QUEUES.rejects, **{retry_state.ATTRIBUTE: raw})
    await asyncio.sleep(3600)

    assert one.runs == []
    assert await service.totals() == (0, 1, 0)
    assert service.told(StateDamaged)[0].problem
    assert service.told(RetryStateMissing, StateTooNew) == []


# -- twins


async def test_message_runs_once_when_two_workers_get_twins_of_it_at_once(service):
    """The broker gives one message twice, at the same time."""
    one = Recording(30.0)
    service.worker(task("One", one))
    service.worker(task("One", one))
    twin = Outgoing(b"hello", {"mulligan-uid": "order-1"})

    await service.broker.send(QUEUES.requests, [twin, twin])
    await service.until_empty()

    assert len(one.runs) == 1
    assert one.most == 1
    assert len(service.told(MessageDone)) == 1
    assert {event.reason for event in service.told(DuplicateSkipped)} <= {
        "another copy is being worked on", "it has been finished already",
    }  # fmt: skip
    assert service.told(DuplicateSkipped)
    assert await service.totals() == (0, 0, 0)


async def test_message_is_acknowledged_without_a_run_when_its_twin_has_been_finished(service):
    one = Recording()
    worker = service.worker(task("One", one))
    twin = Outgoing(b"hello", {"mulligan-uid": "order-1"})
    await service.broker.send(QUEUES.requests, [twin])
    # the clock stands still, so that both have one sent time, as copies of one message do
    await service.broker.send(QUEUES.requests, [twin])
    await service.until_empty()

    assert len(one.runs) == 1
    assert len(service.told(MessageDone)) == 1
    assert worker.table.used == 0


async def test_messages_of_one_group_are_done_one_after_the_other(service):
    one = Recording(*[1.0] * 5)
    worker = service.worker(task("One", one), starts=False)
    worker.network.group = "g"
    await service.send("a", "b", "c", "d", "e")

    worker.start()
    await service.until_empty()

    assert [text for text, _ in one.runs] == ["a", "b", "c", "d", "e"]
    assert one.most == 1


async def test_tail_of_a_group_is_given_back_unrun_when_its_head_is_not_due_yet(service):
    """A worker that died released the head too early; both come in one receive."""
    one = Recording()
    worker = service.worker(task("One", one), starts=False, holds_groups=True, stages=(0,))
    worker.network.group = "g"
    worker.network.faults["receive"] = [None, *[asyncio.Event().wait] * 50]
    await service.send("head", "tail")
    (head,) = await service.broker.receive(QUEUES.requests, 1, wait_s=0.0, lease_s=60.0)
    await service.broker.release(QUEUES.requests, [(head.receipt, 0.0)])
    uid, now = retry_state.identify(head, QUEUES.prefix), service.clock.now()
    failed = Progress({TaskName("One"): Mark(State.PENDING, 1, now + 30, "no", now)})
    await service.ledger.claim([Claim(uid, 0, 0, "of the dead", now + 60)], now)
    await service.ledger.save([Record(uid, 0, "of the dead", failed, is_final=True)])

    worker.start()
    await service.until(lambda: len(service.told(MessageReleased)) == 2)

    assert [(event.uid == uid, event.reason) for event in service.told(MessageReleased)] == [
        (True, "not due yet"),
        (False, "the head of its group comes first"),
    ]
    assert one.runs == []


async def test_worker_goes_on_when_hundreds_of_finished_twins_wait_behind_one_message_of_their_group(service):
    one = Recording()
    worker = service.worker(task("One", one), capacity=500)
    worker.network.group = "g"
    twins = [Outgoing(b"", {"mulligan-uid": f"018bcfe56800-{number:08}"}) for number in range(400)]
    for start in range(0, 400, 100):
        await service.broker.send(QUEUES.requests, twins[start : start + 100])
    await service.until_empty()
    one.ends = [30.0]

    await service.send("new")
    for start in range(0, 400, 100):
        await service.broker.send(QUEUES.requests, twins[start : start + 100])
    await service.until_empty()

    assert len(one.runs) == 401
    assert worker.failed == []


async def test_message_is_run_once_a_hop_when_a_lost_reply_left_two_copies_on_rejects(service):
    bad = Recording(ValueError("once"))
    worker = service.worker(task("Bad", bad))
    worker.network.lost_replies.add("send")

    await service.send("hello")
    await service.until_empty()

    assert worker.network.count("send") == 2
    assert [attempt for _, attempt in bad.runs] == [1, 2]
    assert await service.totals() == (0, 0, 0)


async def test_message_of_an_outdated_hop_is_removed_unrun(service):
    """Its removal was lost, after its copy had been confirmed."""
    bad = Recording(ValueError("once"), ValueError("twice"))
    worker = service.worker(task("Bad", bad, attempts=5, backoff_s=300.0))
    worker.network.faults["ack"] = [[RETRY] for _ in range(4)]

    await service.send("hello")
    await service.until(lambda: service.told(MessageRejected))
    await service.until(lambda: service.told(DuplicateSkipped), within_s=140)

    assert [event.reason for event in service.told(DuplicateSkipped)] == ["a later copy exists"]
    assert len(bad.runs) == 1
    await service.until_empty(within_s=5000)


async def test_message_goes_through_its_retries_without_a_ledger(service):
    bad = Recording(ValueError("once"))
    good = Recording()
    service.worker(task("Bad", bad), task("Good", good), ledger=NoLedger())

    await service.send("hello")
    await service.until_empty()

    assert [attempt for _, attempt in bad.runs] == [1, 2]
    assert len(good.runs) == 1


# -- tasks.xml changes while messages wait


async def _reject_and_change(service, before, after, *, body="hello", grace_s=0.0):
    old = service.worker(*before)
    await service.send(body)
    await service.until(lambda: service.told(MessageRejected))
    await old.drain()
    service.worker(*after, missing_grace_s=grace_s)
    await service.until_empty(within_s=100_000)


async def test_message_is_buried_when_its_pending_task_was_removed(service):
    good = Recording()
    await _reject_and_change(
        service, [task("Good", good), task("Bad", Recording(ValueError("no")))], [task("Good", good)]
    )

    (letter,) = await service.dead()
    assert letter.progress.marks["Bad"].reason.startswith("unknown here since 20")
    assert letter.progress.marks["Bad"].reason.endswith("it is not in tasks.xml; last error: ValueError: no")
    assert letter.progress.marks["Bad"].state is State.EXHAUSTED
    assert len(good.runs) == 1


async def test_message_goes_on_when_a_finished_task_was_removed(service):
    bad = Recording(ValueError("once"))
    await _reject_and_change(service, [task("Good", Recording()), task("Bad", bad)], [task("Bad", bad)])

    assert [attempt for _, attempt in bad.runs] == [1, 2]
    assert await service.totals() == (0, 0, 0)


async def test_message_skips_a_task_that_was_added_later(service):
    bad, new = Recording(ValueError("once")), Recording()
    await _reject_and_change(service, [task("Bad", bad)], [task("Bad", bad), task("New", new)])

    assert len(bad.runs) == 2
    assert new.runs == []


async def test_message_takes_a_renamed_task_as_removed_and_added(service):
    old, new = Recording(ValueError("once")), Recording()
    await _reject_and_change(service, [task("Old", old)], [task("New", new)])

    assert new.runs == []
    (letter,) = await service.dead()
    assert letter.progress.marks["Old"].reason.startswith("unknown here since 20")


async def test_messages_side_by_side_are_never_more_than_the_capacity(service):
    one = Recording(*[10.0] * 100)
    service.worker(task("One", one, timeout_s=600.0), capacity=7)

    await service.send(*(str(number) for number in range(40)))
    await service.until_empty()

    assert one.most == 7
    assert len(one.runs) == 40


async def test_message_of_a_slow_task_does_not_starve_its_neighbours(service, clock):
    ends = {}

    async def run(message, context):
        await asyncio.sleep(1000 if message.text == "slow" else 1)
        ends[message.text] = clock.now()

    service.worker(task("One", run, timeout_s=2000.0), capacity=4)

    await service.send("slow", *(str(number) for number in range(9)))
    await service.until_empty(within_s=3000)

    assert max(at for name, at in ends.items() if name != "slow") < ends["slow"] - 900
