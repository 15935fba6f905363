import pytest
from hypothesis import given
from hypothesis import strategies as st

from mulligan.core.message import TaskName
from mulligan.core.progress import (
    DONE_AT_FIRST_TRY,
    FRESH,
    Mark,
    Progress,
    State,
    at_rest,
    is_further,
    is_suspect,
    merge,
)

JIRA, TRELLO, MAIL = TaskName("Jira"), TaskName("Trello"), TaskName("Mail")
FAILED_ONCE = Mark(State.PENDING, 1, 130.0, "no route to host", 100.0)
EXHAUSTED = Mark(State.EXHAUSTED, 2, 0.0, "no route to host", 200.0)

# a task fails at one moment only, so `failed_at` follows from the rest
marks = st.builds(
    lambda state, attempts, due_at, reason: Mark(state, attempts, due_at, reason, due_at if reason else None),
    st.sampled_from(State),
    st.integers(0, 4),
    st.sampled_from([0.0, 10.0, 20.0]),
    st.sampled_from([None, "a", "b"]),
)
mark_maps = st.dictionaries(st.sampled_from([JIRA, TRELLO, MAIL]), marks)
progresses = st.builds(Progress, mark_maps, mark_maps, st.booleans(), st.integers(-3, 3))


def test_progress_is_not_buried_and_has_neither_alerts_nor_deaths_unless_told():
    assert Progress({JIRA: FRESH}) == Progress({JIRA: FRESH}, alerts={}, is_buried=False, deaths=0)


def test_progresses_do_not_share_their_alerts():
    assert Progress({}).alerts is not None
    assert Progress({JIRA: FRESH}).alerts == Progress({TRELLO: FRESH}).alerts == {}


def test_is_further_when_a_task_is_done():
    assert is_further(Progress({JIRA: DONE_AT_FIRST_TRY}), Progress({JIRA: FRESH}))
    assert not is_further(Progress({JIRA: FRESH}), Progress({JIRA: DONE_AT_FIRST_TRY}))


def test_is_further_when_an_attempt_was_made():
    assert is_further(Progress({JIRA: FAILED_ONCE}), Progress({JIRA: FRESH}))
    assert not is_further(Progress({JIRA: FRESH}), Progress({JIRA: FAILED_ONCE}))


def test_is_further_when_the_message_was_buried():
    before = Progress({JIRA: EXHAUSTED})
    after = Progress({JIRA: EXHAUSTED}, {MAIL: FRESH}, is_buried=True)

    assert is_further(after, before)
    assert not is_further(before, after)


def test_is_further_when_the_message_was_buried_and_there_are_no_default_tasks():
    assert is_further(Progress({JIRA: EXHAUSTED}, is_buried=True), Progress({JIRA: EXHAUSTED}))


def test_is_further_when_a_default_task_went_on():
    before = Progress({JIRA: EXHAUSTED}, {MAIL: FRESH}, is_buried=True)
    after = Progress({JIRA: EXHAUSTED}, {MAIL: FAILED_ONCE}, is_buried=True)

    assert is_further(after, before)


def test_is_further_when_the_other_does_not_know_the_task():
    assert is_further(Progress({JIRA: FRESH}), Progress({}))


def test_is_not_further_when_only_a_time_a_reason_or_the_deaths_differ():
    one = Progress({JIRA: Mark(State.PENDING, 1, 131.0, "other", 101.0)}, deaths=2)

    assert not is_further(one, Progress({JIRA: FAILED_ONCE}))


def test_is_further_both_ways_when_each_knows_something():
    one = Progress({JIRA: DONE_AT_FIRST_TRY, TRELLO: FRESH})
    other = Progress({JIRA: FRESH, TRELLO: FAILED_ONCE})

    assert is_further(one, other)
    assert is_further(other, one)


def test_merge_takes_the_newest_of_each_task():
    one = Progress({JIRA: DONE_AT_FIRST_TRY, TRELLO: FRESH, MAIL: EXHAUSTED})
    other = Progress({JIRA: FAILED_ONCE, TRELLO: FAILED_ONCE, MAIL: FAILED_ONCE})

    merged = merge(one, other)

    assert merged == Progress({JIRA: DONE_AT_FIRST_TRY, TRELLO: FAILED_ONCE, MAIL: EXHAUSTED})


def test_merge_takes_done_before_exhausted_though_it_has_fewer_attempts():
    merged = merge(Progress({JIRA: DONE_AT_FIRST_TRY}), Progress({JIRA: EXHAUSTED}))

    assert merged == Progress({JIRA: DONE_AT_FIRST_TRY})


def test_merge_keeps_tasks_that_only_one_of_both_knows():
    merged = merge(Progress({JIRA: FRESH}), Progress({TRELLO: EXHAUSTED}))

    assert merged == Progress({JIRA: FRESH, TRELLO: EXHAUSTED})


def test_merge_keeps_the_earlier_time_of_one_failure():
    """What a host had set right was undone by the copy of the one whose clock was ahead."""
    ahead = Progress({JIRA: Mark(State.PENDING, 1, 3730.0, "no", 3700.0)})
    right = Progress({JIRA: Mark(State.PENDING, 1, 130.0, "no", 100.0)})

    assert merge(ahead, right) == merge(right, ahead) == right


def test_merge_keeps_since_when_a_task_that_never_ran_has_been_missing():
    known, carried = Progress({JIRA: Mark(due_at=100.0)}), Progress({JIRA: FRESH})

    assert merge(known, carried) == merge(carried, known) == known


@pytest.mark.parametrize(
    ("one", "other", "kept"), [(0, -1, -1), (-1, 1, 1), (1, -2, -2), (-2, 2, 2), (2, -3, -3), (0, 0, 0)]
)
def test_merge_keeps_that_a_claim_ran_out_or_a_start_is_under_way(one, other, kept):
    both = [Progress({JIRA: FRESH}, deaths=one), Progress({JIRA: FRESH}, deaths=other)]

    assert merge(*both).deaths == kept
    assert merge(*reversed(both)).deaths == kept


@pytest.mark.parametrize(("deaths", "answer"), [(0, False), (-1, False), (1, True), (3, True), (-2, True)])
def test_is_suspect_is_no_message_whose_claim_ran_out_once(deaths, answer):
    assert is_suspect(deaths) is answer


@pytest.mark.parametrize(("deaths", "rest"), [(0, 0), (-1, -1), (2, 2), (-2, 1), (-3, 2)])
def test_at_rest_forgets_a_start_that_was_under_way(deaths, rest):
    assert at_rest(Progress({JIRA: FRESH}, deaths=deaths)) == Progress({JIRA: FRESH}, deaths=rest)


def test_merge_keeps_the_burial_the_alerts_and_the_most_deaths():
    one = Progress({JIRA: EXHAUSTED}, {MAIL: DONE_AT_FIRST_TRY}, is_buried=True, deaths=1)
    other = Progress({JIRA: FAILED_ONCE}, deaths=2)

    assert merge(one, other) == Progress({JIRA: EXHAUSTED}, {MAIL: DONE_AT_FIRST_TRY}, is_buried=True, deaths=2)


def test_merge_takes_the_later_due_time_of_equal_attempts():
    sooner = Progress({JIRA: Mark(State.PENDING, 1, 110.0, "a", 100.0)})
    later = Progress({JIRA: Mark(State.PENDING, 1, 120.0, "a", 100.0)})

    assert merge(sooner, later) == merge(later, sooner) == later


@given(progresses, progresses)
def test_merge_is_commutative(one: Progress, other: Progress):
    assert merge(one, other) == merge(other, one)


@given(progresses, progresses, progresses)
def test_merge_is_associative(one: Progress, other: Progress, third: Progress):
    assert merge(merge(one, other), third) == merge(one, merge(other, third))


@given(progresses)
def test_merge_with_itself_changes_nothing(one: Progress):
    assert merge(one, one) == one


@given(progresses, progresses)
def test_merge_is_never_behind_either(one: Progress, other: Progress):
    merged = merge(one, other)

    assert not is_further(one, merged)
    assert not is_further(other, merged)


@given(progresses)
def test_nothing_is_further_than_itself(one: Progress):
    copy = Progress(dict(one.marks), dict(one.alerts), one.is_buried, one.deaths)

    assert not is_further(one, copy)


@given(progresses, progresses)
def test_merge_pokes_neither(one: Progress, other: Progress):
    before = repr((one, other))

    merge(one, other)

    assert repr((one, other)) == before
