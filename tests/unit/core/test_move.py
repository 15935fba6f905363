from dataclasses import replace

import pytest

from mulligan.core import fingerprint
from mulligan.core.message import Message, TaskName, Uid
from mulligan.core.move import is_finished, is_over, may_be_of, proves, was_dead
from mulligan.core.progress import DONE_AT_FIRST_TRY, FRESH, REFUSED, Mark, Progress, State
from mulligan.core.retry_state import RetryState
from mulligan.core.route import reset_for_replay

UID = Uid("018bcfe56800-0b090fd81c3e1612c0f0")
JIRA, TRELLO, MAIL = TaskName("Jira"), TaskName("Trello"), TaskName("Mail")
NO = Mark(State.EXHAUSTED, 2, 0.0, "no", 1.0)
BURIED = Progress({JIRA: DONE_AT_FIRST_TRY, TRELLO: NO})


def told(progress, **more):
    return RetryState(UID, more.pop("generation", 0), more.pop("hop", 0), 1.0, progress, **more)


@pytest.mark.parametrize(
    ("progress", "is_dead"),
    [
        (BURIED, True),
        (Progress({JIRA: Mark(State.DONE, 1, 0.0, REFUSED)}), True),
        (Progress({}), True),
        (Progress({JIRA: FRESH, TRELLO: NO}), False),
        (Progress(BURIED.marks, {MAIL: Mark(State.PENDING, 1, 5.0)}, is_buried=True), False),
        (reset_for_replay(BURIED, (JIRA, TRELLO)), False),
        (reset_for_replay(BURIED, ()), False),
    ],
    ids=["a task failed", "each task said no", "no task", "a task is pending", "an alert", "replay", "replay, no task"],
)
def test_story_of_an_older_version_shows_whether_its_copy_was_put_on_the_dead_queue(progress, is_dead):
    assert was_dead(told(progress)) is is_dead


def test_story_of_an_older_version_of_a_replay_that_no_task_takes_is_no_dead_letters():
    assert not was_dead(told(Progress({}), generation=1))


def test_story_says_that_its_copy_was_put_on_the_dead_queue_when_this_version_wrote_it():
    assert was_dead(told(Progress({}), generation=1, is_dead=True))


def test_story_is_of_the_message_whose_id_and_body_make_its_uid():
    uid = fingerprint.uid("shop", "order-4711", b"hello", 1_700_000_000.123)
    story, message = RetryState(uid, 0, 0, 1.0, BURIED, id="order-4711"), Message(uid, b"hello", {}, 1.0)

    assert proves(story, message, "shop")
    assert not proves(story, replace(message, body=b"hallo"), "shop")
    assert not proves(story, message, "other")
    assert not proves(replace(story, id="order-4712"), message, "shop")
    assert not proves(replace(story, id=None), message, "shop")


@pytest.mark.parametrize(
    ("story", "known", "hop", "may_be"),
    [
        (told(BURIED, is_dead=True), Progress(BURIED.marks, {MAIL: FRESH}, is_buried=True), 3, True),
        (told(BURIED, is_dead=True), BURIED, 0, True),
        (told(BURIED, is_dead=True), Progress({JIRA: FRESH, TRELLO: NO}), 0, False),
        (told(Progress({}), is_dead=True), Progress({}), 0, False),
        (told(Progress({}), is_dead=True), Progress({}, is_buried=True), 0, True),
        (told(BURIED, hop=2), Progress({JIRA: FRESH}), 1, True),
        (told(BURIED, hop=3), Progress({JIRA: FRESH}), 1, False),
    ],
)
def test_ledger_vouches_for_a_letter_that_it_knows_as_buried_and_for_a_copy_that_there_may_be(
    story, known, hop, may_be
):
    assert may_be_of(story, known, hop) is may_be


def test_message_is_over_when_none_of_its_tasks_is_pending():
    assert is_over(BURIED)
    assert not is_over(Progress({JIRA: FRESH}))


@pytest.mark.parametrize(
    ("progress", "has_ended"),
    [
        (Progress({JIRA: DONE_AT_FIRST_TRY}), True),
        (Progress(BURIED.marks, {MAIL: DONE_AT_FIRST_TRY}, is_buried=True), True),
        (Progress(BURIED.marks, {MAIL: FRESH}, is_buried=True), False),
        (BURIED, False),
        (Progress({}), False),
        (Progress({JIRA: FRESH}), False),
    ],
    ids=["done", "buried, alerts ended", "buried, an alert waits", "to be buried", "not begun", "pending"],
)
def test_message_is_finished_when_it_is_done_or_its_alerts_have_ended(progress, has_ended):
    assert is_finished(progress) is has_ended
