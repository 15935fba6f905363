from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mulligan.core.admission import admit, deaths_of
from mulligan.core.message import TaskName
from mulligan.core.progress import FRESH, Mark, Progress, State, is_further
from mulligan.core.queue_role import QueueRole
from mulligan.core.route import Route, begin

NOW = 1_700_000_000.0
ONE, TWO, NEW = TaskName("One"), TaskName("Two"), TaskName("New")
ROUTE = Route((ONE, TWO), (TaskName("Alert"),))
FRESHLY = begin(ROUTE)
NOTHING = Progress({})
NAMES = (ONE, TWO, TaskName("Alert"))
REQUESTS = QueueRole(0, False, "t", 60.0)
REJECTS = QueueRole(1, True, "t", 60.0)
NO_LEDGER = replace(REQUESTS, suspects_repeats=True)

DONE = Mark(State.DONE, 1)
FAILED = Mark(State.PENDING, 1, NOW + 10.0, "no", NOW)
EXHAUSTED = Mark(State.EXHAUSTED, 2, 0.0, "no", NOW)

marks = st.builds(
    Mark,
    state=st.sampled_from(State),
    attempts=st.integers(0, 3),
    due_at=st.sampled_from([0.0, NOW - 5.0, NOW + 5.0]),
    reason=st.sampled_from([None, "no"]),
)
progresses = st.builds(
    Progress,
    marks=st.dictionaries(st.sampled_from([ONE, TWO]), marks, min_size=1),
    alerts=st.dictionaries(st.just(TaskName("Alert")), marks),
    is_buried=st.booleans(),
)
roles = st.builds(replace, st.just(REJECTS), holds_groups=st.booleans(), buries_strays=st.booleans())


# -- deaths


@pytest.mark.parametrize(
    ("role", "known", "receive_count", "deaths"),
    [
        (REQUESTS, None, 1, 0),
        (REQUESTS, None, 5, 0),
        (REQUESTS, Progress({ONE: FRESH}, deaths=2), 1, 2),
        (NO_LEDGER, None, 1, 0),
        (NO_LEDGER, None, 2, 1),
        (NO_LEDGER, Progress({ONE: FRESH}, deaths=2), 2, 2),
    ],
)
def test_deaths_are_the_ledgers_and_one_at_least_of_a_repeat_without_a_ledger(role, known, receive_count, deaths):
    assert deaths_of(known, role, receive_count) == deaths


# -- new messages


def test_new_message_has_all_tasks_of_its_route_pending_and_nothing_to_save():
    found = admit(REQUESTS, ROUTE, FRESHLY, NOTHING, None, NOW)

    assert found.carried is found.saved is found.progress is FRESHLY


def test_claim_of_a_message_that_never_began_counts_as_nothing_known():
    found = admit(REQUESTS, ROUTE, FRESHLY, NOTHING, Progress({}, deaths=-1), NOW, deaths=-1)

    assert found.progress.marks == FRESHLY.marks
    assert found.progress.deaths == -1


# -- copies


def test_copy_stands_where_the_ledger_says_and_counts_its_own_attempts_from_what_it_carries():
    known = Progress({ONE: DONE, TWO: FAILED})
    carried = Progress({ONE: FRESH, TWO: FRESH})

    found = admit(REJECTS, ROUTE, FRESHLY, carried, known, NOW)

    assert found.progress.marks == known.marks
    assert found.carried == carried


def test_copy_whose_row_was_removed_stands_where_it_says_itself():
    carried = Progress({ONE: DONE, TWO: FAILED})

    found = admit(REJECTS, ROUTE, FRESHLY, carried, None, NOW)

    assert found.carried == found.progress == carried


def test_route_is_the_one_of_the_first_claim_when_a_task_is_new():
    found = admit(REQUESTS, Route((ONE, TWO, NEW)), begin(Route((ONE, TWO, NEW))), NOTHING, FRESHLY, NOW)

    assert set(found.progress.marks) == {ONE, TWO}


def test_head_that_is_held_back_carries_all_that_is_known():
    """It is not a copy, and its attempts are in the ledger alone: else none of them would be made again."""
    known = Progress({ONE: DONE, TWO: FAILED})

    found = admit(replace(REQUESTS, holds_groups=True), ROUTE, FRESHLY, NOTHING, known, NOW)

    assert found.carried.marks == known.marks


@given(roles, progresses, st.none() | progresses, st.booleans(), st.booleans())
def test_nothing_that_is_known_is_ever_forgotten(role, carried, known, is_replay, is_stray):
    found = admit(
        role,
        ROUTE,
        FRESHLY,
        carried,
        known,
        NOW,
        is_replay=is_replay,
        is_stray=is_stray,
        manifest=NAMES,
        all_tasks=NAMES,
    )

    if known is not None:
        assert not is_further(known, found.progress)
    if not is_replay and not is_stray:
        assert not is_further(carried, found.progress)
    done = {task for task, mark in carried.marks.items() if mark.state is State.DONE}
    if not is_stray:
        assert all(found.progress.marks[task].state is State.DONE for task in done if task in found.progress.marks)


@given(roles, progresses, st.none() | progresses)
def test_copy_is_never_ahead_of_the_progress(role, carried, known):
    found = admit(role, ROUTE, FRESHLY, carried, known, NOW)

    assert not is_further(found.carried, found.progress)


@given(roles, progresses, st.none() | progresses)
def test_admission_of_what_was_admitted_changes_nothing_more(role, carried, known):
    once = admit(role, ROUTE, FRESHLY, carried, known, NOW)

    again = admit(role, ROUTE, FRESHLY, once.carried, once.progress, NOW)

    assert again.progress == once.progress


# -- replays and strays


def test_replay_runs_again_what_failed_and_nothing_that_is_done():
    letter = Progress({ONE: DONE, TWO: EXHAUSTED})

    found = admit(REJECTS, ROUTE, FRESHLY, letter, None, NOW, is_replay=True, manifest=NAMES)

    assert {task: mark.state for task, mark in found.progress.marks.items()} == {ONE: State.DONE, TWO: State.PENDING}
    assert not found.progress.is_buried


def test_replay_that_has_begun_stands_where_the_ledger_says():
    letter, known = Progress({ONE: DONE, TWO: EXHAUSTED}), Progress({ONE: DONE, TWO: FAILED})

    found = admit(REJECTS, ROUTE, FRESHLY, letter, known, NOW, is_replay=True, manifest=NAMES)

    assert found.progress.marks[TWO] == FAILED


@pytest.mark.parametrize(("buries", "state"), [(True, State.EXHAUSTED), (False, State.PENDING)])
def test_stray_becomes_a_dead_letter_or_runs_as_the_settings_say(buries, state):
    role = replace(REJECTS, buries_strays=buries)

    found = admit(role, ROUTE, FRESHLY, NOTHING, None, NOW, is_stray=True, all_tasks=(ONE, TWO))

    assert {mark.state for mark in found.progress.marks.values()} == {state}


def test_stray_that_no_task_takes_is_buried_and_does_not_vanish():
    role, route = replace(REJECTS, buries_strays=True), Route((), drops_unrouted=True)

    found = admit(role, route, begin(route), NOTHING, None, NOW, is_stray=True, all_tasks=(ONE, TWO))

    assert {task: mark.state for task, mark in found.progress.marks.items()} == dict.fromkeys(
        (ONE, TWO), State.EXHAUSTED
    )
    assert found.progress is not found.saved


# -- clocks and deaths


def test_due_time_of_a_clock_that_is_ahead_is_set_anew_and_saved():
    ahead = NOW + 86_400.0
    known = Progress({ONE: Mark(State.PENDING, 1, ahead + 10.0, "no", ahead)})

    found = admit(REJECTS, ROUTE, FRESHLY, known, known, NOW)

    assert found.progress.marks[ONE].due_at == pytest.approx(NOW + 10.0)
    assert found.progress is not found.saved


def test_repeat_without_a_ledger_is_marked_as_a_suspect():
    found = admit(NO_LEDGER, ROUTE, FRESHLY, NOTHING, None, NOW, deaths=1)

    assert (found.progress.deaths, found.saved.deaths) == (1, 1)
