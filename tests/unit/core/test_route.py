import pytest

from mulligan.core.message import TaskName
from mulligan.core.progress import DONE_AT_FIRST_TRY, ERROR_MAX, FRESH, REFUSED, Mark, Progress, State
from mulligan.core.route import NONE_MISSING, Missing, Route, begin, reconcile, reset_for_replay

JIRA, TRELLO, MAIL = TaskName("Jira"), TaskName("Trello"), TaskName("Mail")
FAILED_ONCE = Mark(State.PENDING, 1, 130.0, "no route to host", 100.0)
EXHAUSTED = Mark(State.EXHAUSTED, 2, 0.0, "no route to host", 200.0)


def test_begin_has_every_task_of_the_route_pending_in_manifest_order():
    progress = begin(Route((TRELLO, JIRA), (MAIL,)))

    assert progress == Progress({TRELLO: FRESH, JIRA: FRESH})
    assert list(progress.marks) == ["Trello", "Jira"]


def test_begin_of_an_empty_route_has_no_marks():
    assert begin(Route(())) == Progress({})


def fitted(progress, known, *, now=1000.0, grace_s=0.0, since_at=900.0):
    return reconcile(progress, known, now, grace_s=grace_s, since_at=since_at)


def test_fit_changes_nothing_when_every_pending_task_is_known():
    progress = Progress({JIRA: FAILED_ONCE, TRELLO: FRESH})

    after, missing = fitted(progress, {JIRA, TRELLO, MAIL}, grace_s=60.0)

    assert after is progress
    assert missing is NONE_MISSING


def test_fit_leaves_the_mark_of_a_missing_task_as_it_is_within_its_grace():
    progress = Progress({JIRA: FAILED_ONCE, TRELLO: FAILED_ONCE})

    after, missing = fitted(progress, {TRELLO}, now=189.9, grace_s=60.0)

    assert after is progress
    assert missing == Missing(frozenset({JIRA}), 60.0)


def test_fit_exhausts_a_missing_task_after_its_grace_and_keeps_its_attempts_and_its_last_error():
    after, missing = fitted(Progress({JIRA: FAILED_ONCE, TRELLO: FAILED_ONCE}), {TRELLO}, now=190.0, grace_s=60.0)

    reason = "unknown here since 1970-01-01 00:02:10 UTC, it is not in tasks.xml; last error: no route to host"
    assert after == Progress({JIRA: Mark(State.EXHAUSTED, 1, 0.0, reason, 100.0), TRELLO: FAILED_ONCE})
    assert missing == Missing(frozenset(), 60.0)


def test_fit_exhausts_a_missing_task_at_once_where_there_is_no_grace_though_it_is_not_due():
    after, _ = fitted(Progress({JIRA: FAILED_ONCE}), set(), now=120.0)

    reason = "unknown here since 1970-01-01 00:02:00 UTC, it is not in tasks.xml; last error: no route to host"
    assert after == Progress({JIRA: Mark(State.EXHAUSTED, 1, 0.0, reason, 100.0)})


def test_fit_counts_a_missing_task_that_never_ran_from_the_first_receipt():
    progress = Progress({JIRA: FRESH})

    within, missing = fitted(progress, set(), now=959.0, grace_s=60.0, since_at=900.0)
    later, _ = fitted(within, set(), now=960.0, grace_s=60.0, since_at=960.0)

    assert within == Progress({JIRA: Mark(due_at=900.0)})
    assert missing.tasks == {JIRA}
    assert later.marks[JIRA].state is State.EXHAUSTED
    assert later.marks[JIRA].reason == "unknown here since 1970-01-01 00:15:00 UTC, it is not in tasks.xml"


def test_fit_counts_a_missing_default_task_from_the_last_failure_of_the_others():
    progress = Progress({JIRA: EXHAUSTED, TRELLO: FAILED_ONCE}, {MAIL: FRESH}, is_buried=True, deaths=1)

    after, missing = fitted(progress, {JIRA, TRELLO}, now=250.0, grace_s=60.0, since_at=1.0)

    assert after == Progress({JIRA: EXHAUSTED, TRELLO: FAILED_ONCE}, {MAIL: Mark(due_at=200.0)}, True, 1)
    assert missing.tasks == {MAIL}


def test_fit_leaves_a_finished_task_that_is_gone_as_it_ended():
    progress = Progress({JIRA: DONE_AT_FIRST_TRY, TRELLO: EXHAUSTED})

    assert fitted(progress, set()) == (progress, NONE_MISSING)


def test_fit_does_not_give_an_old_message_a_new_task():
    after, _ = fitted(Progress({JIRA: FRESH}), {JIRA, TRELLO})

    assert list(after.marks) == ["Jira"]


def test_fit_keeps_no_error_text_that_is_too_long():
    mark = Mark(State.PENDING, 1, 130.0, "x" * ERROR_MAX, 100.0)

    after, _ = fitted(Progress({JIRA: mark}), set())

    assert len(after.marks[JIRA].reason) == ERROR_MAX


@pytest.mark.parametrize(
    ("since_s", "wait_s"),
    [(0.0, 30.0), (29.0, 30.0), (60.0, 60.0), (400.0, 400.0), (900.0, 900.0), (5000.0, 900.0), (86_300.0, 100.0)],
)
def test_missing_task_is_looked_for_after_thirty_seconds_then_twice_that_up_to_fifteen_minutes(since_s, wait_s):
    missing = Missing(frozenset({JIRA}), 86_400.0)

    assert missing.again_at(Mark(due_at=1000.0), 1000.0 + since_s) == 1000.0 + since_s + wait_s


def test_missing_tasks_are_all_of_a_progress_when_nothing_else_of_it_is_pending():
    missing = Missing(frozenset({JIRA}), 60.0)

    assert missing.is_all_of(Progress({JIRA: FAILED_ONCE, TRELLO: DONE_AT_FIRST_TRY}))
    assert not missing.is_all_of(Progress({JIRA: FAILED_ONCE, TRELLO: FRESH}))
    assert not missing.is_all_of(Progress({JIRA: FAILED_ONCE}, {MAIL: FRESH}, is_buried=True))
    assert not NONE_MISSING.is_all_of(Progress({TRELLO: DONE_AT_FIRST_TRY}))


def test_renew_keeps_what_is_done_and_starts_every_other_task_of_today_afresh():
    old = Progress({JIRA: DONE_AT_FIRST_TRY, TRELLO: EXHAUSTED}, {MAIL: DONE_AT_FIRST_TRY}, is_buried=True)

    renewed = reset_for_replay(old, (JIRA, TRELLO, TaskName("New")))

    assert renewed == Progress({JIRA: DONE_AT_FIRST_TRY, TRELLO: FRESH, TaskName("New"): FRESH})


def test_renew_asks_a_task_again_that_did_not_take_the_message():
    old = Progress({JIRA: Mark(State.DONE, 1, 0.0, REFUSED), MAIL: DONE_AT_FIRST_TRY})

    assert reset_for_replay(old, (JIRA, MAIL)) == Progress({JIRA: FRESH, MAIL: DONE_AT_FIRST_TRY})


def test_renew_forgets_an_exhausted_task_that_is_gone_and_keeps_a_done_one():
    old = Progress({JIRA: DONE_AT_FIRST_TRY, TRELLO: EXHAUSTED}, is_buried=True)

    assert reset_for_replay(old, (MAIL,)) == Progress({MAIL: FRESH, JIRA: DONE_AT_FIRST_TRY})
