import pytest

from mulligan.core.flow import begun_alone, mark_buried, next_step, rebased, record, settled
from mulligan.core.message import TaskName
from mulligan.core.outcome import (
    INTERRUPTED,
    NOT_TAKEN,
    SUCCEEDED,
    Died,
    Failed,
    Interrupted,
    Outcome,
    Skipped,
    Succeeded,
    TimedOut,
)
from mulligan.core.policy import Backoff, Policy
from mulligan.core.progress import DONE_AT_FIRST_TRY, FRESH, Mark, Progress, State
from mulligan.core.route import Route, begin
from mulligan.core.step import ACK, BURY, Reject, Release, Run

JIRA, TRELLO, MAIL, SLACK = TaskName("Jira"), TaskName("Trello"), TaskName("Mail"), TaskName("Slack")
ROUTE = Route((JIRA, TRELLO, MAIL), (SLACK,))
NOW = 1_700_000_000.0
POLICY = Policy(max_attempts=2, backoff=Backoff(first_s=10.0))
NEW = begin(ROUTE)


def failed(attempts: int = 1, *, due_at: float = NOW + 30.0) -> Mark:
    return Mark(State.PENDING, attempts, due_at, "no route to host", NOW - 1.0)


def exhausted(attempts: int = 2) -> Mark:
    return Mark(State.EXHAUSTED, attempts, 0.0, "no route to host", NOW - 1.0)


DONE = DONE_AT_FIRST_TRY


# -- next_step: run -----------------------------------------------------------------------------------------------


def test_next_step_runs_every_task_of_a_new_message_at_once():
    assert next_step(ROUTE, NEW, NEW, NOW) == Run((JIRA, TRELLO, MAIL))


def test_next_step_runs_only_the_failed_task_of_a_reject_when_its_time_has_come():
    progress = Progress({JIRA: DONE, TRELLO: failed(due_at=NOW), MAIL: DONE})

    assert next_step(ROUTE, progress, progress, NOW) == Run((TRELLO,))


def test_next_step_runs_what_is_due_while_another_task_waits():
    progress = Progress({JIRA: failed(due_at=NOW - 1), TRELLO: failed(due_at=NOW + 60), MAIL: DONE})

    assert next_step(ROUTE, progress, progress, NOW) == Run((JIRA,))


def test_next_step_does_not_run_a_task_twice_with_one_copy_though_its_time_has_come():
    progress = Progress({JIRA: failed(due_at=NOW), TRELLO: DONE, MAIL: DONE})

    assert next_step(ROUTE, NEW, progress, NOW) == Reject(delay_s=0.0)


def test_next_step_runs_the_rest_when_a_twin_of_the_copy_got_half_way():
    progress = Progress({JIRA: DONE, TRELLO: FRESH, MAIL: failed()})

    assert next_step(ROUTE, NEW, progress, NOW) == Run((TRELLO,))


def test_next_step_runs_a_suspect_again_when_its_deaths_are_not_enough():
    progress = Progress(NEW.marks, deaths=2)

    assert next_step(ROUTE, NEW, progress, NOW) == Run((JIRA, TRELLO, MAIL))


# -- next_step: reject, release -----------------------------------------------------------------------------------


def test_next_step_rejects_with_delay_when_one_of_three_tasks_failed_once():
    progress = Progress({JIRA: DONE, TRELLO: DONE, MAIL: failed(due_at=NOW + 30)})

    assert next_step(ROUTE, NEW, progress, NOW) == Reject(delay_s=30.0)


def test_next_step_rejects_until_the_earliest_of_three_backoffs():
    progress = Progress({JIRA: failed(due_at=NOW + 90), TRELLO: failed(due_at=NOW + 20), MAIL: failed(due_at=NOW + 60)})

    assert next_step(ROUTE, NEW, progress, NOW) == Reject(delay_s=20.0)


def test_next_step_waits_no_longer_than_the_backoff_when_the_clock_was_set_back_since_the_failure():
    """The rest of its tasks took a second, in which the clock was set back: its copy was not available for an hour."""
    progress = Progress({JIRA: failed(due_at=NOW + 30), TRELLO: DONE, MAIL: DONE})

    assert next_step(ROUTE, NEW, progress, NOW - 3600) == Reject(31.0)
    assert next_step(ROUTE, progress, progress, NOW - 3600) == Release(31.0)


def test_next_step_waits_the_rest_when_the_clock_was_set_back_by_a_few_seconds():
    progress = Progress({JIRA: failed(due_at=NOW + 30), TRELLO: DONE, MAIL: DONE})

    assert next_step(ROUTE, NEW, progress, NOW - 4) == Reject(34.0)


def test_next_step_rejects_while_a_sibling_is_exhausted_and_another_still_waits():
    progress = Progress({JIRA: exhausted(), TRELLO: failed(due_at=NOW + 20), MAIL: DONE})

    assert next_step(ROUTE, NEW, progress, NOW) == Reject(delay_s=20.0)


def test_next_step_releases_for_the_rest_when_a_copy_wakes_early():
    progress = Progress({JIRA: DONE, TRELLO: failed(due_at=NOW + 7.5), MAIL: DONE})

    assert next_step(ROUTE, progress, progress, NOW) == Release(delay_s=7.5)


def test_next_step_rejects_when_a_twin_wakes_early_and_the_ledger_knows_more():
    carried = Progress({JIRA: failed(due_at=NOW - 5), TRELLO: DONE, MAIL: DONE})
    progress = Progress({JIRA: failed(2, due_at=NOW + 40), TRELLO: DONE, MAIL: DONE})

    assert next_step(ROUTE, carried, progress, NOW) == Reject(delay_s=40.0)


def test_next_step_releases_at_once_when_a_shutdown_finds_nothing_started():
    assert next_step(ROUTE, NEW, NEW, NOW, can_run=False) == Release(delay_s=0.0)


def test_next_step_rejects_at_once_when_a_shutdown_finds_some_tasks_done():
    progress = Progress({JIRA: DONE, TRELLO: FRESH, MAIL: FRESH})

    assert next_step(ROUTE, NEW, progress, NOW, can_run=False) == Reject(delay_s=0.0)


def test_next_step_at_a_shutdown_still_acks_what_is_done_and_buries_what_is_exhausted():
    done = Progress({JIRA: DONE, TRELLO: DONE, MAIL: DONE})
    failing = Progress({JIRA: DONE, TRELLO: exhausted(), MAIL: DONE})

    assert next_step(ROUTE, NEW, done, NOW, can_run=False) == ACK
    assert next_step(ROUTE, NEW, failing, NOW, can_run=False) == BURY


# -- next_step: bury, alert, ack ----------------------------------------------------------------------------------


def test_next_step_acks_when_every_task_is_done():
    assert next_step(ROUTE, NEW, Progress({JIRA: DONE, TRELLO: DONE, MAIL: DONE}), NOW) == ACK


def test_next_step_acks_a_twin_of_a_finished_message_without_a_run():
    progress = Progress({JIRA: DONE, TRELLO: DONE, MAIL: DONE})

    assert next_step(ROUTE, progress, progress, NOW) == ACK


def test_next_step_buries_when_one_task_is_exhausted_and_nothing_waits():
    progress = Progress({JIRA: DONE, TRELLO: exhausted(), MAIL: DONE})

    assert next_step(ROUTE, NEW, progress, NOW) == BURY


def test_next_step_buries_a_message_that_no_task_takes():
    assert next_step(Route(()), Progress({}), Progress({}), NOW) == BURY


def test_next_step_drops_a_message_that_no_task_takes_when_told_so():
    assert next_step(Route((), drops_unrouted=True), Progress({}), Progress({}), NOW) == ACK


@pytest.mark.parametrize(("drops_unrouted", "expected"), [(False, BURY), (True, ACK)])
def test_next_step_treats_a_message_that_every_task_refused_when_it_was_run_as_one_that_no_task_takes(
    drops_unrouted, expected
):
    route = Route((JIRA, TRELLO), drops_unrouted=drops_unrouted)
    progress = begin(route)
    for name in route.tasks:
        progress = record(progress, name, Skipped(NOT_TAKEN), POLICY, NOW, 0.5)

    assert next_step(route, begin(route), progress, NOW) == expected


def test_next_step_is_done_with_a_message_that_one_task_took_and_the_others_refused():
    progress = record(Progress({JIRA: DONE, TRELLO: FRESH}), TRELLO, Skipped(NOT_TAKEN), POLICY, NOW, 0.5)

    assert next_step(ROUTE, NEW, progress, NOW) == ACK


def test_next_step_buries_an_exhausted_message_though_unrouted_ones_are_dropped():
    progress = Progress({JIRA: exhausted()})

    assert next_step(Route((JIRA,), drops_unrouted=True), progress, progress, NOW) == BURY


def test_next_step_runs_the_default_tasks_once_the_message_is_buried():
    carried = Progress({JIRA: DONE, TRELLO: failed(due_at=NOW), MAIL: DONE})
    progress = Progress({JIRA: DONE, TRELLO: exhausted(), MAIL: DONE}, {SLACK: FRESH}, is_buried=True)

    assert next_step(ROUTE, carried, progress, NOW) == Run((SLACK,))


def test_next_step_rejects_a_buried_message_whose_default_task_failed_once():
    progress = Progress({JIRA: exhausted()}, {SLACK: failed(due_at=NOW + 12)}, is_buried=True)

    assert next_step(ROUTE, NEW, progress, NOW) == Reject(delay_s=12.0)


def test_next_step_runs_a_default_task_again_from_the_copy():
    progress = Progress({JIRA: exhausted()}, {SLACK: failed(due_at=NOW)}, is_buried=True)

    assert next_step(ROUTE, progress, progress, NOW) == Run((SLACK,))


@pytest.mark.parametrize("alert", [DONE, exhausted()])
def test_next_step_acks_a_buried_message_when_its_default_task_has_ended(alert: Mark):
    progress = Progress({JIRA: exhausted()}, {SLACK: alert}, is_buried=True)

    assert next_step(ROUTE, progress, progress, NOW) == ACK


def test_next_step_acks_a_buried_message_when_there_are_no_default_tasks():
    assert next_step(Route((JIRA,)), NEW, Progress({JIRA: exhausted()}, is_buried=True), NOW) == ACK


# -- record -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("outcome", "mark"),
    [
        (Succeeded(), Mark(State.DONE, 1)),
        (Skipped("not an order"), Mark(State.DONE, 1, 0.0, "skipped: not an order")),
        (Failed("boom"), Mark(State.PENDING, 1, NOW + 5.0, "boom", NOW)),
        (Failed("boom", is_final=True), Mark(State.EXHAUSTED, 1, 0.0, "boom", NOW)),
        (Failed("busy", retry_after_s=77.0), Mark(State.PENDING, 1, NOW + 77.0, "busy", NOW)),
        (Failed("busy", retry_after_s=0.0), Mark(State.PENDING, 1, NOW, "busy", NOW)),
        (Failed("busy", is_final=True, retry_after_s=77.0), Mark(State.EXHAUSTED, 1, 0.0, "busy", NOW)),
        (TimedOut(2.5), Mark(State.PENDING, 1, NOW + 5.0, "timed out after 2.5 s", NOW)),
        (Interrupted(), Mark(State.PENDING, 0)),
    ],
)
def test_record_marks_the_task_by_its_outcome_and_leaves_the_others(outcome: Outcome, mark: Mark):
    assert record(NEW, TRELLO, outcome, POLICY, NOW, 0.0) == Progress({JIRA: FRESH, TRELLO: mark, MAIL: FRESH})


@pytest.mark.parametrize("outcome", [Failed("boom"), TimedOut(60.0), Failed("busy", retry_after_s=5.0)])
def test_record_exhausts_a_task_at_its_last_attempt(outcome: Outcome):
    progress = record(Progress({JIRA: failed(1)}), JIRA, outcome, POLICY, NOW, 0.0)

    assert (progress.marks[JIRA].state, progress.marks[JIRA].attempts) == (State.EXHAUSTED, 2)


def test_record_exhausts_at_once_when_the_policy_allows_one_attempt():
    progress = record(Progress({JIRA: FRESH}), JIRA, Failed("boom"), Policy(max_attempts=1), NOW, 0.0)

    assert progress == Progress({JIRA: Mark(State.EXHAUSTED, 1, 0.0, "boom", NOW)})


def test_record_counts_the_attempts_of_a_success_after_a_failure():
    progress = record(Progress({JIRA: failed(1)}), JIRA, SUCCEEDED, POLICY, NOW, 0.0)

    assert progress == Progress({JIRA: Mark(State.DONE, 2)})


def test_record_doubles_the_wait_and_spreads_it_by_rand():
    policy = Policy(max_attempts=9, backoff=Backoff(first_s=10.0))

    progress = record(Progress({JIRA: failed(2)}), JIRA, Failed("boom"), policy, NOW, 0.5)

    assert progress.marks[JIRA].due_at == NOW + 30.0


def test_record_burns_no_attempt_when_interrupted():
    progress = Progress({JIRA: failed(1)}, deaths=1)

    assert record(progress, JIRA, INTERRUPTED, POLICY, NOW, 0.0) is progress


@pytest.mark.parametrize("outcome", [SUCCEEDED, Failed("too late"), TimedOut(5.0), Died("signal 9")])
@pytest.mark.parametrize("mark", [DONE, Mark(State.DONE, 2), exhausted()])
@pytest.mark.parametrize("is_buried", [False, True])
def test_record_changes_nothing_of_a_task_that_is_not_pending(outcome: Outcome, mark: Mark, is_buried: bool):
    marks = {JIRA: mark, TRELLO: FRESH}
    progress = Progress({MAIL: exhausted()}, marks, is_buried=True) if is_buried else Progress(marks, deaths=2)

    assert record(progress, JIRA, outcome, POLICY, NOW, 0.0) is progress


def test_record_keeps_the_order_of_the_tasks():
    progress = record(NEW, JIRA, SUCCEEDED, POLICY, NOW, 0.0)

    assert list(progress.marks) == ["Jira", "Trello", "Mail"]


def test_record_pokes_nothing():
    before = Progress({JIRA: FRESH, TRELLO: FRESH})

    record(before, JIRA, Failed("boom"), POLICY, NOW, 0.0)

    assert before == Progress({JIRA: FRESH, TRELLO: FRESH})


def test_record_marks_a_default_task_once_buried_and_leaves_the_tasks():
    progress = Progress({JIRA: exhausted()}, {SLACK: FRESH}, is_buried=True, deaths=1)

    after = record(progress, SLACK, SUCCEEDED, POLICY, NOW, 0.0)

    assert after == Progress({JIRA: exhausted()}, {SLACK: DONE}, is_buried=True, deaths=1)


def test_record_cuts_a_long_error_to_what_a_mark_keeps():
    progress = record(Progress({JIRA: FRESH}), JIRA, Failed("x" * 5000), POLICY, NOW, 0.0)

    assert progress.marks[JIRA].reason == "x" * 2044 + " ..."


def test_record_keeps_an_error_of_exactly_the_limit():
    progress = record(Progress({JIRA: FRESH}), JIRA, Failed("x" * 2048), POLICY, NOW, 0.0)

    assert progress.marks[JIRA].reason == "x" * 2048


# -- deaths -------------------------------------------------------------------------------------------------------


def test_record_counts_a_death_and_burns_no_attempt():
    progress = record(Progress({JIRA: FRESH}, deaths=1), JIRA, Died("signal 11"), POLICY, NOW, 0.0)

    assert progress == Progress({JIRA: FRESH}, deaths=2)


def test_record_exhausts_a_task_at_the_third_death_and_says_why():
    progress = record(Progress({JIRA: FRESH, TRELLO: FRESH}, deaths=2), JIRA, Died("signal 11"), POLICY, NOW, 0.0)

    assert progress == Progress(
        {JIRA: Mark(State.EXHAUSTED, 1, 0.0, "kills its worker (signal 11)", NOW), TRELLO: FRESH}, deaths=1
    )


def test_record_exhausts_a_default_task_at_the_third_death():
    progress = Progress({JIRA: exhausted()}, {SLACK: FRESH}, is_buried=True, deaths=2)

    after = record(progress, SLACK, Died("exit code 0"), POLICY, NOW, 0.0)

    assert after.alerts == {SLACK: Mark(State.EXHAUSTED, 1, 0.0, "kills its worker (exit code 0)", NOW)}


def test_begun_alone_says_which_death_it_will_be_if_nothing_is_heard_of_the_start():
    assert begun_alone(Progress({JIRA: FRESH}, deaths=2)) == Progress({JIRA: FRESH}, deaths=-3)


@pytest.mark.parametrize("deaths", [0, -1, -2])
def test_begun_alone_makes_nothing_new_of_what_is_no_suspect_or_has_begun(deaths):
    progress = Progress({JIRA: FRESH}, deaths=deaths)

    assert begun_alone(progress) is progress


def test_record_counts_the_death_of_a_start_that_was_told_of_before_it_once():
    progress = record(Progress({JIRA: FRESH}, deaths=-2), JIRA, Died("signal 11"), POLICY, NOW, 0.0)

    assert progress == Progress({JIRA: FRESH}, deaths=2)


def test_record_exhausts_a_task_whose_third_death_was_counted_by_who_took_its_claim_over():
    progress = record(Progress({JIRA: FRESH, TRELLO: FRESH}, deaths=3), JIRA, Died("no word"), POLICY, NOW, 0.0)

    assert progress == Progress(
        {JIRA: Mark(State.EXHAUSTED, 1, 0.0, "kills its worker (no word)", NOW), TRELLO: FRESH}, deaths=1
    )


def test_record_keeps_the_deaths_when_a_suspect_ends_in_another_way():
    progress = record(Progress({JIRA: FRESH, TRELLO: FRESH}, deaths=2), JIRA, SUCCEEDED, POLICY, NOW, 0.0)

    assert progress == Progress({JIRA: DONE, TRELLO: FRESH}, deaths=2)


# -- mark_buried, settled -----------------------------------------------------------------------------------------


def test_mark_buried_raises_every_default_task_and_forgets_the_deaths():
    progress = mark_buried(Progress({JIRA: exhausted()}, deaths=2), Route((JIRA,), (SLACK, MAIL)))

    assert progress == Progress({JIRA: exhausted()}, {SLACK: FRESH, MAIL: FRESH}, is_buried=True)


def test_settled_forgets_the_deaths_and_nothing_else():
    progress = Progress({JIRA: exhausted()}, {SLACK: failed()}, is_buried=True, deaths=2)

    assert settled(progress) == Progress({JIRA: exhausted()}, {SLACK: failed()}, is_buried=True)


def test_settled_makes_nothing_new_when_there_were_no_deaths():
    assert settled(NEW) is NEW


# -- clocks that differ -------------------------------------------------------------------------------------------

AHEAD_S = 3600.0


def test_rebased_lets_a_task_wait_no_longer_than_it_was_told_when_the_clock_of_its_host_was_an_hour_ahead():
    """Retries of a host whose clock had been an hour ahead for a moment were an hour late on all others."""
    progress = Progress({JIRA: Mark(State.PENDING, 1, NOW + AHEAD_S + 30.0, "no", NOW + AHEAD_S), MAIL: DONE}, deaths=1)

    after = rebased(progress, NOW + 12.0)

    assert after == Progress({JIRA: Mark(State.PENDING, 1, NOW + 42.0, "no", NOW + 12.0), MAIL: DONE}, deaths=1)
    assert next_step(ROUTE, after, after, NOW + 12.0) == Release(30.0)


def test_rebased_lets_a_default_task_wait_no_longer_either():
    progress = Progress(
        {JIRA: exhausted()}, {SLACK: Mark(State.PENDING, 1, NOW + AHEAD_S + 30.0, "no", NOW + AHEAD_S)}, is_buried=True
    )

    after = rebased(progress, NOW)

    assert after.alerts == {SLACK: Mark(State.PENDING, 1, NOW + 30.0, "no", NOW)}
    assert after.is_buried


def test_rebased_lets_a_task_that_has_waited_already_run_at_once():
    progress = Progress({JIRA: Mark(State.PENDING, 1, NOW + AHEAD_S + 30.0, "no", NOW + AHEAD_S)})

    after = rebased(progress, NOW, has_waited=True)

    assert next_step(ROUTE, progress, after, NOW) == Run((JIRA,))


def test_rebased_lets_a_task_that_was_missing_and_never_ran_be_due():
    progress = Progress({JIRA: Mark(due_at=NOW + AHEAD_S)})

    assert rebased(progress, NOW) == Progress({JIRA: Mark(due_at=NOW)})


@pytest.mark.parametrize(
    "mark",
    [
        Mark(State.PENDING, 1, NOW + 1000.0, "no", NOW - 1.0),  # a long wait
        Mark(State.PENDING, 1, NOW + 4.0, "no", NOW + 3.9),  # clocks that differ by less than matters
        Mark(State.PENDING, 1, NOW - 10.0, "no", NOW + AHEAD_S),  # it is due, as it says
        Mark(State.PENDING, 1, NOW + AHEAD_S),  # nobody knows when it failed
        Mark(State.EXHAUSTED, 1, 0.0, "no", NOW + AHEAD_S),
        FRESH,
    ],
)
def test_rebased_makes_nothing_new_where_the_clocks_agree_or_nothing_waits(mark):
    progress = Progress({JIRA: mark})

    assert rebased(progress, NOW) is progress
