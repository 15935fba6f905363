"""What becomes of a message that somebody has moved between the queues with a tool that is not ours."""

import asyncio
import random
from dataclasses import replace

import pytest

from mulligan.core import fingerprint, retry_state
from mulligan.core.delivery import Outgoing
from mulligan.core.error import LedgerError
from mulligan.core.event import (
    LedgerDown,
    MessageDeadLettered,
    MessageDone,
    MessageMoved,
    MessageRejected,
    RetryStateMissing,
    RetryStateNotTrusted,
    RowDamaged,
    TaskMissing,
)
from mulligan.core.message import QueueName, TaskName
from mulligan.core.progress import Mark, Progress, State
from mulligan.ledger.none import NoLedger
from mulligan.settings.model import Settings
from mulligan.storage.body import BodyFolder
from mulligan.tasks.exceptions import GiveUp
from tests.integration.worker.service import LEDGER_DOWN, QUEUES, Recording, task

NO = GiveUp("no such customer")
LATE = QueueName("t-late-q")
"""Keeps a twin until it is to come."""


async def move(service, source, target, *, keeps=False, changes=lambda one: one):
    """Move all messages of a queue as they are, as a redrive does. keeps: they stay there, too."""
    found = await service.broker.receive(source, 100, wait_s=0.0, lease_s=0.001)
    await service.broker.send(target, [changes(Outgoing(one.body, one.attributes)) for one in found])
    if not keeps:
        await service.broker.ack(source, [one.receipt for one in found])
    return len(found)


def without_attributes(outgoing):
    return replace(outgoing, attributes={})


def as_older(outgoing):
    """The copy as the version before would have written it."""
    told = retry_state.decode(outgoing.attributes[retry_state.ATTRIBUTE])
    return replace(
        outgoing,
        attributes={
            **outgoing.attributes,
            retry_state.ATTRIBUTE: retry_state.encode(replace(told, id=None, is_dead=False)),
        },
    )


async def a_dead_letter(service, good, bad, **more):
    """A message of two tasks, one of which is done and one of which has given up; its worker."""
    worker = service.worker(task("Good", good), task("Bad", bad), **more)
    await service.send("hello", color="red")
    await service.until_empty()
    assert await service.totals() == (0, 0, 1)
    return worker


# -- from dead


@pytest.mark.parametrize("changes", [lambda one: one, as_older], ids=["letter", "letter of the version before"])
async def test_dead_letter_runs_its_failed_task_again_and_no_other_when_somebody_moves_it_to_rejects(service, changes):
    """A letter that SQS's own redrive had moved to rejects was removed, and a line at DEBUG said so."""
    good, bad = Recording(), Recording(NO)
    await a_dead_letter(service, good, bad)

    await move(service, QUEUES.dead, QUEUES.rejects, changes=changes)
    await service.until_empty()

    assert (len(good.runs), len(bad.runs)) == (1, 2)
    assert bad.contexts[1].uid == bad.contexts[0].uid
    assert (bad.contexts[0].generation, bad.contexts[1].generation) == (0, 1)
    assert bad.contexts[1].idempotency_key == bad.contexts[0].idempotency_key
    assert bad.contexts[1].message.attributes == {"color": "red"}
    assert await service.totals() == (0, 0, 0)
    (moved,) = service.told(MessageMoved)
    assert (moved.queue, moved.generation, moved.is_replay, moved.is_first) == (QUEUES.rejects, 1, True, True)


async def test_dead_letter_is_a_dead_letter_again_when_it_fails_after_somebody_moved_it_to_rejects(service):
    good, bad = Recording(), Recording(NO, ValueError("not yet"), NO)
    alert = Recording()
    service.worker(task("Good", good), task("Bad", bad, attempts=3), task("Alert", alert, is_default=True))
    await service.send("hello")
    await service.until_empty()

    await move(service, QUEUES.dead, QUEUES.rejects)
    await service.until_empty()

    assert (len(good.runs), len(bad.runs), len(alert.runs)) == (1, 3, 2)
    (letter,) = await service.dead()
    assert (letter.generation, letter.is_dead) == (1, True)
    assert letter.progress.marks["Good"].state is State.DONE
    assert letter.id is not None


async def test_dead_letter_runs_once_when_it_is_moved_to_rejects_twice(service):
    good, bad = Recording(), Recording(NO)
    await a_dead_letter(service, good, bad)

    await move(service, QUEUES.dead, QUEUES.rejects, keeps=True)
    await service.until_empty()
    await move(service, QUEUES.dead, QUEUES.rejects)
    await service.until_empty()

    assert (len(good.runs), len(bad.runs)) == (1, 2)
    assert [one.is_first for one in service.told(MessageMoved)] == [True, False]
    assert await service.totals() == (0, 0, 0)


async def test_dead_letter_without_tasks_is_routed_anew_when_somebody_moves_it_to_rejects(service):
    picky = Recording()
    takes = iter([False, True, True, True])
    service.worker(task("Picky", picky, accepts=lambda message: next(takes)))
    await service.send("hello")
    await service.until_empty()
    assert (await service.totals(), picky.runs) == ((0, 0, 1), [])

    await move(service, QUEUES.dead, QUEUES.rejects)
    await service.until_empty()

    assert len(picky.runs) == 1
    assert await service.totals() == (0, 0, 0)


async def test_dead_letter_that_no_task_takes_is_one_again_however_often_somebody_moves_it_to_rejects(service):
    one = Recording()
    service.worker(task("One", one, accepts=lambda message: False))
    await service.send("hello")
    await service.until_empty()

    for generation in (1, 2, 3):
        await move(service, QUEUES.dead, QUEUES.rejects)
        await service.until_empty()

        assert [letter.generation for letter in await service.dead()] == [generation]
        await asyncio.sleep(2)


async def test_message_that_no_task_takes_is_one_dead_letter_when_its_alert_is_tried_again(service):
    """There was another one after each attempt of the alert."""
    alert = Recording(ValueError("slack is down"), ValueError("slack is down"))
    service.worker(
        task("One", Recording(), accepts=lambda message: False),
        task("Alert", alert, is_default=True, attempts=3),
    )

    await service.send("hello")
    await service.until_empty()

    assert len(alert.runs) == 3
    assert await service.totals() == (0, 0, 1)
    assert len(service.told(MessageDeadLettered)) == 1


async def test_replay_that_no_task_took_gets_no_task_after_its_burial_when_its_worker_is_gone_meanwhile(service):
    """A task that takes it by then was pending on record for ever. Found by the simulation."""
    one, alert = Recording(), Recording(None, 100.0)
    first = service.worker(
        task("One", one, accepts=lambda message: False), task("Alert", alert, is_default=True, timeout_s=300.0)
    )
    await service.send("hello")
    await service.until_empty()
    await move(service, QUEUES.dead, QUEUES.rejects)
    await service.until(lambda: alert.now)
    first.has_drained = first.network.is_gone = first.ledger.is_gone = True  # it is killed: nothing is settled
    await first.sweep()

    service.worker(task("One", one), task("Alert", alert, is_default=True))
    await service.until_empty()

    assert (one.runs, len(alert.runs)) == ([], 3)
    assert [row.progress.marks for row in service.ledger._rows.values()] == [{}, {}]
    assert [letter.generation for letter in await service.dead()] == [1]


async def test_dead_letter_of_the_version_before_that_no_task_takes_is_not_removed_when_it_was_replayed_and_moved(
    service,
):
    """It looks as the copy that replayed it."""
    alert = Recording()
    service.worker(task("One", Recording(), accepts=lambda message: False), task("Alert", alert, is_default=True))
    await service.send("hello")
    await service.until_empty()
    await move(service, QUEUES.dead, QUEUES.rejects)
    await service.until_empty()
    assert len(alert.runs) == 2

    await move(service, QUEUES.dead, QUEUES.rejects, changes=as_older)
    await service.until_empty()

    assert [letter.generation for letter in await service.dead()] == [1]
    assert await service.totals() == (0, 0, 1)
    assert len(alert.runs) == 2


async def test_dead_letter_is_replayed_beside_its_alerts_when_it_is_moved_while_they_run(service):
    bad, alert = Recording(NO), Recording(100.0)
    service.worker(task("Bad", bad), task("Alert", alert, is_default=True, timeout_s=300.0))
    await service.send("hello")
    await service.until(lambda: alert.now)

    await move(service, QUEUES.dead, QUEUES.rejects)
    await service.until(lambda: service.told(MessageDone))
    await service.until_empty()

    assert (len(bad.runs), len(alert.runs)) == (2, 1)
    assert await service.totals() == (0, 0, 0)


@pytest.mark.parametrize("target", [QUEUES.rejects, QUEUES.requests])
async def test_dead_letter_is_not_taken_for_done_when_it_is_moved_to_a_process_without_the_task_that_failed(
    service, target
):
    """All its other tasks were done, so it was removed, and a line at DEBUG said that it had been done before."""
    good, bad = Recording(), Recording(NO)
    worker = await a_dead_letter(service, good, bad)
    await worker.drain()
    older = service.worker(task("Good", good))

    await move(service, QUEUES.dead, target)
    await service.until(lambda: service.told(TaskMissing))
    await asyncio.sleep(100)
    assert sum(await service.totals()) == 1
    await older.drain()
    service.worker(task("Good", good), task("Bad", bad))
    await service.until_empty()

    assert (len(good.runs), len(bad.runs)) == (1, 2)
    assert bad.contexts[1].generation == 1
    assert await service.totals() == (0, 0, 0)


async def test_dead_letter_is_one_again_when_the_task_that_failed_stays_missing_after_somebody_moved_it(service):
    good, bad = Recording(), Recording(NO)
    worker = await a_dead_letter(service, good, bad)
    await worker.drain()
    service.worker(task("Good", good), missing_grace_s=600.0)

    await move(service, QUEUES.dead, QUEUES.rejects)
    await service.until_empty(within_s=1000)

    assert await service.totals() == (0, 0, 1)
    (letter,) = await service.dead()
    assert letter.generation == 1
    assert letter.progress.marks["Good"].state is State.DONE
    assert letter.progress.marks["Bad"].reason.startswith("unknown here since")


async def test_dead_letter_is_done_under_the_new_name_of_its_task_when_somebody_moves_it_to_rejects(service):
    good, bad, renamed = Recording(), Recording(NO), Recording()
    worker = await a_dead_letter(service, good, bad)
    await worker.drain()
    service.worker(task("Good", good), task("Better", renamed))

    await move(service, QUEUES.dead, QUEUES.rejects)
    await service.until_empty()

    assert (len(good.runs), len(renamed.runs)) == (1, 1)
    assert await service.totals() == (0, 0, 0)


async def test_dead_letter_that_was_moved_goes_on_when_its_worker_is_gone_in_the_middle(service):
    good, bad = Recording(), Recording(NO, 50.0)
    worker = await a_dead_letter(service, good, bad, settings=Settings())
    await move(service, QUEUES.dead, QUEUES.rejects)
    await service.until(lambda: bad.now)

    await worker.drain(0.0)
    await worker.sweep()
    service.worker(task("Good", good), task("Bad", bad))
    await service.until_empty()

    assert (len(good.runs), len(bad.runs)) == (1, 3)
    assert bad.contexts[2].generation == 1
    assert await service.totals() == (0, 0, 0)


async def test_dead_letter_is_replayed_when_it_is_moved_to_rejects_and_there_is_no_ledger(service):
    good, bad = Recording(), Recording(NO)
    service.ledger = NoLedger()
    await a_dead_letter(service, good, bad)

    await move(service, QUEUES.dead, QUEUES.rejects)
    await service.until_empty()

    assert (len(good.runs), len(bad.runs)) == (1, 2)
    assert await service.totals() == (0, 0, 0)


async def test_dead_letter_is_replayed_when_it_is_moved_to_rejects_and_the_ledger_has_forgotten_it(service):
    good, bad = Recording(), Recording(NO)
    await a_dead_letter(service, good, bad)
    service.ledger._rows.clear()

    await move(service, QUEUES.dead, QUEUES.rejects)
    await service.until_empty()

    assert (len(good.runs), len(bad.runs)) == (1, 2)
    assert await service.totals() == (0, 0, 0)


@pytest.mark.parametrize("given", [{}, {"mulligan-uid": "order-4711"}], ids=["broker's id", "producer's id"])
async def test_dead_letter_runs_its_failed_task_again_and_no_other_when_somebody_moves_it_to_requests(service, given):
    """All its tasks ran again, under another uid and other idempotency keys."""
    good, bad = Recording(), Recording(NO)
    service.worker(task("Good", good), task("Bad", bad))
    await service.send("hello", **given)
    await service.until_empty()

    await move(service, QUEUES.dead, QUEUES.requests)
    await service.until_empty()

    assert (len(good.runs), len(bad.runs)) == (1, 2)
    assert bad.contexts[1].uid == bad.contexts[0].uid
    assert bad.contexts[1].generation == 1
    (moved,) = service.told(MessageMoved)
    assert (moved.queue, moved.is_replay) == (QUEUES.requests, True)
    assert service.told(RetryStateNotTrusted) == []
    assert await service.totals() == (0, 0, 0)


async def test_dead_letter_whose_body_is_packed_runs_with_its_own_body_when_it_is_moved_to_requests(service, tmp_path):
    good, bad = Recording(), Recording(NO)
    body = "long " * 1000
    service.worker(
        task("Good", good), task("Bad", bad), features={"max_message_bytes": 2000}, bodies=BodyFolder(tmp_path)
    )
    await service.send(body)
    await service.until_empty()

    await move(service, QUEUES.dead, QUEUES.requests)
    await service.until_empty()

    assert (len(good.runs), [text for text, _ in bad.runs]) == (1, [body, body])
    assert await service.totals() == (0, 0, 0)


async def test_dead_letter_is_left_alone_when_it_is_moved_to_requests_and_its_stored_body_is_missing(service, tmp_path):
    bad = Recording(NO)
    body = random.Random(1).randbytes(4000).hex()
    features = {"max_message_bytes": 1000}
    worker = service.worker(task("Bad", bad), features=features, bodies=BodyFolder(tmp_path))
    await service.send(body)
    await service.until_empty()
    (stored,) = tmp_path.iterdir()
    content = stored.read_bytes()

    stored.unlink()
    await move(service, QUEUES.dead, QUEUES.requests)
    await service.until(lambda: worker.left)  # `--drain` has to know
    assert (len(bad.runs), await service.totals()) == (1, (1, 0, 0))
    assert all(told.lacks_body for told in worker.left)
    stored.write_bytes(content)
    await service.until_empty(7200)

    assert [text for text, _ in bad.runs] == [body, body]


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (as_older, "older version"),
        (lambda one: replace(one, body=b"another"), "body or id"),
        (
            lambda one: replace(
                one,
                attributes={
                    retry_state.ATTRIBUTE: retry_state.encode(
                        replace(retry_state.decode(one.attributes[retry_state.ATTRIBUTE]), id="b9")
                    )
                },
            ),
            "body or id",
        ),
    ],
    ids=["of the version before", "another body", "another id"],
)
async def test_dead_letter_is_a_new_message_with_a_warning_when_its_story_proves_nothing_on_requests(
    service, spoil, problem
):
    good, bad = Recording(), Recording(NO)
    await a_dead_letter(service, good, bad)

    await move(service, QUEUES.dead, QUEUES.requests, changes=spoil)
    await service.until_empty()

    assert (len(good.runs), len(bad.runs)) == (2, 2)
    assert good.contexts[1].uid != good.contexts[0].uid
    (told,) = service.told(RetryStateNotTrusted)
    assert told.state_uid == good.contexts[0].uid
    assert problem in told.problem
    assert await service.totals() == (0, 0, 0)


@pytest.mark.parametrize("ledger", ["none", "forgetful"])
async def test_dead_letter_is_a_new_message_with_a_warning_when_no_ledger_vouches_for_it_on_requests(service, ledger):
    good, bad = Recording(), Recording(NO)
    if ledger == "none":
        service.ledger = NoLedger()
    await a_dead_letter(service, good, bad)
    if ledger == "forgetful":
        service.ledger._rows.clear()

    await move(service, QUEUES.dead, QUEUES.requests)
    await service.until_empty()

    assert (len(good.runs), len(bad.runs)) == (2, 2)
    assert "knows nothing" in service.told(RetryStateNotTrusted)[0].problem
    assert await service.totals() == (0, 0, 0)


async def test_stranger_gains_no_done_task_when_he_sends_the_story_of_a_letter_with_its_body(service):
    """He has the id and the body of a dead letter: all that he gets is its replay, whatever he says of its tasks."""
    good, bad = Recording(), Recording(NO, NO)
    await a_dead_letter(service, good, bad)
    (letter,) = await service.dead()
    done = Progress({TaskName("Bad"): Mark(State.DONE, 1), TaskName("Good"): Mark(State.EXHAUSTED, 1)})
    forged = retry_state.encode(replace(letter, progress=done))

    await service.send("hello", **{retry_state.ATTRIBUTE: forged})
    await service.until_empty()

    assert (len(good.runs), len(bad.runs)) == (1, 2)
    assert bad.contexts[1].generation == 1


async def test_stranger_can_not_end_a_message_that_waits_when_he_sends_its_story_as_a_dead_letters(service):
    bad = Recording(ValueError("not yet"))
    service.worker(task("Bad", bad, backoff_s=1000.0))
    await service.send("hello", **{"mulligan-uid": "order-4711"})
    await service.until(lambda: service.told(MessageRejected))
    (key,) = service.ledger._rows
    forged = retry_state.RetryState(key[0], 0, 1, 1.0, Progress({}), id="order-4711", is_dead=True)

    await service.send("hello", **{retry_state.ATTRIBUTE: retry_state.encode(forged)})
    await service.until_empty(2000)

    assert "says something else" in service.told(RetryStateNotTrusted)[0].problem
    assert [one.uid for one in service.told(MessageDone)].count(key[0]) == 1


async def test_attribute_of_a_producer_that_is_called_as_our_state_is_not_told_to_the_log(service):
    one = Recording()
    service.worker(task("One", one))

    await service.send("hello", **{retry_state.ATTRIBUTE: "my secret: 4711"})
    await service.until_empty()

    (told,) = service.told(RetryStateNotTrusted)
    assert (told.state_uid, told.problem) == (None, "it can't be read")
    assert len(one.runs) == 1


async def test_dead_letter_of_a_group_goes_back_to_it_when_it_fails_after_somebody_moved_it_to_rejects(service):
    """On dead each letter is a group of its own, and a redrive keeps that."""
    bad = Recording(NO, ValueError("not yet"))
    worker = service.worker(task("Bad", bad, attempts=3))
    worker.network.group = lambda delivery: "customer 7" if delivery.queue == QUEUES.requests else "a letter's own"
    await service.send("hello")
    await service.until_empty()

    await move(service, QUEUES.dead, QUEUES.rejects)
    await service.until_empty()

    sent = [(queue, entry.group) for name, args in worker.network.calls if name == "send" for queue, [entry] in [args]]
    assert sent == [(QUEUES.dead, bad.contexts[0].uid), (QUEUES.rejects, "customer 7")]
    assert len(bad.runs) == 3


async def test_dead_letter_on_requests_waits_for_the_ledger_when_that_is_away(service):
    good, bad = Recording(), Recording(NO)
    worker = await a_dead_letter(service, good, bad)
    worker.ledger.cut["look"] = LEDGER_DOWN

    await move(service, QUEUES.dead, QUEUES.requests)
    await asyncio.sleep(20)
    assert (len(good.runs), len(bad.runs)) == (1, 1)
    assert service.told(LedgerDown)
    del worker.ledger.cut["look"]
    await service.until_empty()

    assert (len(good.runs), len(bad.runs)) == (1, 2)


async def test_dead_letter_on_requests_is_left_alone_while_its_row_in_the_ledger_can_not_be_read(service):
    good, bad = Recording(), Recording(NO)
    worker = await a_dead_letter(service, good, bad)
    worker.ledger.cut["look"] = LedgerError("the row can't be read")

    await move(service, QUEUES.dead, QUEUES.requests)
    await asyncio.sleep(300)
    assert (len(good.runs), len(bad.runs), await service.totals()) == (1, 1, (1, 0, 0))
    assert "the row can't be read" in service.told(RowDamaged)[0].problem
    del worker.ledger.cut["look"]
    await service.until_empty(3600)

    assert (len(good.runs), len(bad.runs)) == (1, 2)


# -- from rejects and requests


async def test_reject_runs_what_is_left_and_no_done_task_when_somebody_moves_it_to_requests(service):
    good, bad = Recording(), Recording(ValueError("not yet"))
    service.worker(task("Good", good), task("Bad", bad, backoff_s=100.0), stages=(0,))
    await service.send("hello")
    await service.until(lambda: service.told(MessageRejected))
    await asyncio.sleep(200)

    await move(service, QUEUES.rejects, QUEUES.requests)
    await service.until_empty()

    assert (len(good.runs), bad.runs) == (1, [("hello", 1), ("hello", 2)])
    assert bad.contexts[1].uid == bad.contexts[0].uid
    (moved,) = service.told(MessageMoved)
    assert (moved.is_replay, moved.generation) == (False, 0)
    assert await service.totals() == (0, 0, 0)


async def test_reject_is_run_once_when_it_lies_on_rejects_and_requests(service):
    good, bad = Recording(), Recording(ValueError("not yet"))
    first = service.worker(task("Good", good), task("Bad", bad, backoff_s=100.0), stages=(0,))
    await service.send("hello")
    await service.until(lambda: service.told(MessageRejected))
    await asyncio.sleep(200)
    await first.drain()

    await move(service, QUEUES.rejects, QUEUES.requests, keeps=True)
    service.worker(task("Good", good), task("Bad", bad, backoff_s=100.0))
    await service.until_empty()

    assert (len(good.runs), len(bad.runs)) == (1, 2)
    assert await service.totals() == (0, 0, 0)


async def test_request_that_somebody_moves_to_rejects_becomes_a_dead_letter_that_says_why(service):
    one, alert = Recording(), Recording()
    service.worker(task("One", one), task("Alert", alert, is_default=True))

    await service.send("hello", queue=QUEUES.rejects)
    await service.until_empty()

    assert (one.runs, len(alert.runs)) == ([], 1)
    (letter,) = await service.dead()
    assert "without a retry state" in letter.progress.marks["One"].reason
    (missing,) = service.told(RetryStateMissing)
    assert missing.becomes == "dead"
    assert service.told(MessageDeadLettered)[0].failed == ("One",)


async def test_message_without_a_story_is_not_dropped_from_rejects_when_no_task_takes_it(service):
    one = Recording()
    service.worker(task("One", one, accepts=lambda message: False), drops_unrouted=True)

    await service.send("hello", queue=QUEUES.rejects)
    await service.until_empty()

    assert await service.totals() == (0, 0, 1)
    assert one.runs == []


async def test_request_half_done_goes_on_when_somebody_moves_it_to_rejects_under_its_id(service):
    good, bad = Recording(), Recording(100.0)
    worker = service.worker(task("Good", good), task("Bad", bad, timeout_s=300.0), stages=(0,))
    await service.send("hello", **{"mulligan-uid": fingerprint.new_id(service.clock.now(), "0123456789abcdef")})
    await service.until(lambda: good.runs and bad.now and any(row.progress for row in service.ledger._rows.values()))
    await worker.drain(0.0)
    await worker.sweep()

    await move(service, QUEUES.requests, QUEUES.rejects)
    service.worker(task("Good", good), task("Bad", bad))
    await service.until_empty()

    assert (len(good.runs), len(bad.runs)) == (1, 2)
    assert await service.totals() == (0, 0, 0)


@pytest.mark.parametrize("becomes", ["dead", "run"])
async def test_dead_letter_that_was_replayed_is_one_again_when_a_tool_moves_it_to_rejects_without_its_attributes(
    service, becomes
):
    """It had gone through rejects before: it was removed, because a later copy was known, which was itself."""
    bad = Recording(ValueError("not yet"), NO, ValueError("not yet"), NO)
    service.worker(task("Bad", bad, attempts=3), settings=Settings(unknown_on_rejects=becomes))
    given = {"mulligan-uid": fingerprint.new_id(service.clock.now(), "0123456789abcdef")}
    await service.send("hello", **given)
    await service.until_empty()
    await move(service, QUEUES.dead, QUEUES.rejects)
    await service.until_empty()

    await move(service, QUEUES.dead, QUEUES.rejects, changes=lambda one: replace(one, attributes=given))
    await service.until_empty()
    assert await service.totals() == (0, 0, 1)
    await move(service, QUEUES.dead, QUEUES.rejects)
    await service.until_empty()

    assert len(bad.runs) == 5
    assert [context.generation for context in bad.contexts] == [0, 0, 1, 1, 2]
    assert await service.totals() == (0, 0, 0)


async def test_dead_letter_without_its_attributes_is_not_lost_on_rejects_while_the_alerts_of_its_burial_wait(service):
    bad, alert = Recording(NO), Recording(ValueError("slack is down"), ValueError("slack is down"))
    service.worker(task("Bad", bad), task("Alert", alert, is_default=True, attempts=3, backoff_s=100.0))
    given = {"mulligan-uid": fingerprint.new_id(service.clock.now(), "0123456789abcdef")}
    await service.send("hello", **given)
    await service.until(lambda: service.told(MessageRejected))

    await move(service, QUEUES.dead, QUEUES.rejects, changes=lambda one: replace(one, attributes=given))
    await service.until_empty()

    assert (await service.totals(), len(bad.runs), len(alert.runs)) == ((0, 0, 1), 1, 3)


async def test_alert_of_a_stray_is_raised_when_its_letter_was_replayed_before_its_worker_could_raise_it(service):
    """The stray was taken for a copy of the replay, which had ended. Found by the simulation."""
    bad, alert = Recording(), Recording(100.0)
    first = service.worker(task("Bad", bad), task("Alert", alert, is_default=True, timeout_s=300.0))
    await service.send("hello", queue=QUEUES.rejects, **{"mulligan-uid": "order-4711"})
    await service.until(lambda: alert.now)
    first.has_drained = first.network.is_gone = first.ledger.is_gone = True  # it is killed: nothing is settled
    await move(service, QUEUES.dead, QUEUES.rejects)
    second = service.worker(task("Bad", bad), task("Alert", alert, is_default=True))
    await service.until(lambda: service.told(MessageDone))
    await first.sweep()
    await service.until_empty()

    assert (len(bad.runs), len(alert.runs)) == (1, 2)
    assert not second.failed


async def test_stray_is_left_alone_while_its_row_in_the_ledger_can_not_be_read(service):
    one = Recording()
    worker = service.worker(task("One", one))
    worker.ledger.cut["look"] = LedgerError("the row can't be read")

    await service.send("hello", queue=QUEUES.rejects)
    await asyncio.sleep(300)
    assert await service.totals() == (0, 1, 0)
    del worker.ledger.cut["look"]
    await service.until_empty(3600)

    assert await service.totals() == (0, 0, 1)


@pytest.mark.parametrize("becomes", ["dead", "run"])
async def test_dead_letter_is_a_dead_letter_again_when_a_tool_moves_it_to_rejects_without_its_attributes(
    service, becomes
):
    """It has the uid of the buried message where the broker keeps ids: it was removed as a twin of that."""
    bad, alert = Recording(NO), Recording()
    service.worker(
        task("Bad", bad), task("Alert", alert, is_default=True), settings=Settings(unknown_on_rejects=becomes)
    )
    given = {"mulligan-uid": fingerprint.new_id(service.clock.now(), "0123456789abcdef")}
    await service.send("hello", **given)
    await service.until_empty()

    await move(service, QUEUES.dead, QUEUES.rejects, changes=lambda one: replace(one, attributes=given))
    await service.until_empty()

    assert await service.totals() == (0, 0, 1)
    (letter,) = await service.dead()
    assert letter.progress.marks["Bad"].reason == "no such customer"
    assert not letter.progress.is_buried
    assert (len(bad.runs), len(alert.runs)) == (1, 1)


async def test_late_twin_of_a_buried_message_is_removed_and_not_replayed(service):
    """A copy for rejects whose acknowledgement was lost comes back after the burial."""
    service.queues.declare(LATE)
    bad = Recording(ValueError("not yet"), NO)
    service.worker(task("Bad", bad, attempts=3), stages=(0,))
    await service.send("hello")
    await service.until(lambda: service.told(MessageRejected))
    await asyncio.sleep(20)
    await move(service, QUEUES.rejects, LATE, keeps=True)
    service.worker(task("Bad", bad, attempts=3), stages=(1,))
    await service.until(lambda: service.told(MessageDeadLettered))
    await service.until_empty()

    await move(service, LATE, QUEUES.rejects)
    await service.until_empty()

    assert len(bad.runs) == 2
    assert await service.totals() == (0, 0, 1)
    assert service.told(MessageMoved) == []


async def test_reject_that_somebody_moved_to_dead_and_back_goes_on(service):
    good, bad = Recording(), Recording(ValueError("not yet"))
    worker = service.worker(task("Good", good), task("Bad", bad, backoff_s=100.0), stages=(0,))
    await service.send("hello")
    await service.until(lambda: service.told(MessageRejected))
    await asyncio.sleep(200)
    await worker.drain()

    await move(service, QUEUES.rejects, QUEUES.dead)
    await move(service, QUEUES.dead, QUEUES.rejects)
    service.worker(task("Good", good), task("Bad", bad))
    await service.until_empty()

    assert (len(good.runs), len(bad.runs)) == (1, 2)
    assert await service.totals() == (0, 0, 0)
