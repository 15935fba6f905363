from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mulligan.core.decision import Decision, decide
from mulligan.core.flow import next_step
from mulligan.core.message import TaskName
from mulligan.core.progress import FRESH, Mark, Progress, State
from mulligan.core.queue_role import QueueRole
from mulligan.core.route import Missing, Route
from mulligan.core.step import ACK, BURY, Ack, Reject, Release, Run

NOW = 1_700_000_000.0
ONE, TWO = TaskName("One"), TaskName("Two")
ROUTE = Route((ONE,), (TaskName("Alert"),))
ROLE = QueueRole(0, False, "t", 60.0)
HOLDS = replace(ROLE, holds_groups=True)
FEW = replace(ROLE, receives=4)

BEGUN = Progress({ONE: FRESH})
DONE = Progress({ONE: Mark(State.DONE, 1)})
FAILED = Progress({ONE: Mark(State.PENDING, 1, NOW + 10.0, "no", NOW)})
EXHAUSTED = Progress({ONE: Mark(State.EXHAUSTED, 2, 0.0, "no", NOW)})
BURIED = Progress(EXHAUSTED.marks, {TaskName("Alert"): FRESH}, is_buried=True)
ALERT_FAILED = Progress(
    EXHAUSTED.marks, {TaskName("Alert"): Mark(State.PENDING, 1, NOW + 10.0, "no", NOW)}, is_buried=True
)

marks = st.builds(
    Mark,
    state=st.sampled_from(State),
    attempts=st.integers(0, 3),
    due_at=st.sampled_from([0.0, NOW - 5.0, NOW + 5.0, NOW + 5000.0]),
    reason=st.sampled_from([None, "no"]),
)
progresses = st.builds(
    Progress,
    marks=st.dictionaries(st.sampled_from([ONE, TWO]), marks),
    alerts=st.dictionaries(st.just(TaskName("Alert")), marks),
    is_buried=st.booleans(),
)
roles = st.builds(
    replace,
    st.just(ROLE),
    holds_groups=st.booleans(),
    receives=st.none() | st.integers(1, 6),
    max_delay_s=st.sampled_from([0.0, 900.0]),
)
counts = st.integers(1, 8)


# -- the flow's steps


@pytest.mark.parametrize(
    ("progress", "step"), [(BEGUN, Run((ONE,))), (DONE, ACK), (FAILED, Reject(10.0)), (EXHAUSTED, BURY)]
)
def test_decision_is_the_flows_step_where_the_queue_asks_for_nothing_else(progress, step):
    assert decide(ROLE, ROUTE, BEGUN, progress, NOW).step == step


@given(roles, progresses, progresses, counts, st.booleans(), st.booleans())
def test_decision_never_ends_or_begins_what_the_flow_does_not(role, carried, progress, count, can_run, owes_letter):
    """Nothing is removed that the flow keeps, and no task runs that it does not run."""
    flow = next_step(ROUTE, carried, progress, NOW, can_run=can_run)

    step = decide(
        role, ROUTE, carried, progress, NOW, receive_count=count, can_run=can_run, owes_letter=owes_letter
    ).step

    if isinstance(step, Ack):
        assert isinstance(flow, Ack)
    if isinstance(step, Run) or isinstance(flow, Run):
        assert step == flow


@given(roles, progresses, progresses, counts, st.booleans(), st.booleans())
def test_message_is_never_given_back_once_too_often(role, carried, progress, count, can_run, owes_letter):
    step = decide(
        role, ROUTE, carried, progress, NOW, receive_count=count, can_run=can_run, owes_letter=owes_letter
    ).step

    assert not (isinstance(step, Release) and role.hands_on(count, step.delay_s))


@given(roles, progresses, progresses, counts, st.booleans())
def test_message_that_may_be_its_only_letter_is_buried_before_it_is_removed_or_copied(
    role, carried, progress, count, can_run
):
    step = decide(role, ROUTE, carried, progress, NOW, receive_count=count, can_run=can_run, owes_letter=True).step

    assert not isinstance(step, Ack | Reject)


# -- groups


def test_message_waits_with_its_group_where_the_queue_holds_its_groups():
    assert decide(HOLDS, ROUTE, BEGUN, FAILED, NOW) == Decision(Release(10.0), "its group waits for it")


def test_alert_of_a_buried_message_lets_its_group_go_on():
    assert decide(HOLDS, ROUTE, BURIED, ALERT_FAILED, NOW).step == Reject(10.0)


# -- reasons and receives


@pytest.mark.parametrize(("can_run", "reason"), [(True, "not due yet"), (False, "shutting down")])
def test_release_says_why(can_run, reason):
    decision = decide(ROLE, ROUTE, FAILED, FAILED, NOW, can_run=can_run)

    assert (decision.step, decision.reason) == (Release(10.0), reason)


def test_message_goes_to_rejects_as_it_is_when_its_queue_would_move_it_away():
    decision = decide(FEW, ROUTE, BEGUN, BEGUN, NOW, receive_count=3, can_run=False)

    assert (decision.step, decision.is_handed_on) == (Reject(0.0), True)
    assert not decide(FEW, ROUTE, BEGUN, BEGUN, NOW, receive_count=2, can_run=False).is_handed_on


def test_copy_that_ends_the_work_on_a_message_is_not_handed_on():
    """It forgets the deaths, as each settlement does; one for the sake of the redrive must not."""
    assert not decide(FEW, ROUTE, BEGUN, FAILED, NOW, receive_count=4).is_handed_on


def test_letter_that_waits_is_buried_again_when_its_queue_would_move_it_away():
    assert decide(FEW, ROUTE, BURIED, BURIED, NOW, receive_count=4, can_run=False, owes_letter=True) == Decision(BURY)


def test_task_that_is_missing_is_waited_for():
    missing = Missing(frozenset({ONE}), 86_400.0)
    waiting = Progress({ONE: Mark(due_at=NOW)})

    assert decide(ROLE, ROUTE, waiting, waiting, NOW, missing=missing).step == Release(30.0)
