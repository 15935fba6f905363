from mulligan.core.message import TaskName
from mulligan.core.progress import DONE_AT_FIRST_TRY, FRESH, REFUSED, Mark, Progress, State
from mulligan.core.route import NOT_ANY_MORE, Route, begin, fit, renew

JIRA, TRELLO, MAIL = TaskName("Jira"), TaskName("Trello"), TaskName("Mail")
FAILED_ONCE = Mark(State.PENDING, 1, 130.0, "no route to host", 100.0)
EXHAUSTED = Mark(State.EXHAUSTED, 2, 0.0, "no route to host", 200.0)


def test_begin_has_every_task_of_the_route_pending_in_manifest_order():
    progress = begin(Route((TRELLO, JIRA), (MAIL,)))

    assert progress == Progress({TRELLO: FRESH, JIRA: FRESH})
    assert list(progress.marks) == ["Trello", "Jira"]


def test_begin_of_an_empty_route_has_no_marks():
    assert begin(Route(())) == Progress({})


def test_fit_changes_nothing_when_every_pending_task_is_known():
    progress = Progress({JIRA: FAILED_ONCE, TRELLO: FRESH})

    assert fit(progress, {JIRA, TRELLO, MAIL}) is progress


def test_fit_exhausts_a_pending_task_that_is_gone_and_keeps_its_attempts():
    progress = fit(Progress({JIRA: FAILED_ONCE, TRELLO: FAILED_ONCE}), {TRELLO})

    assert NOT_ANY_MORE == "not in tasks.xml any more"
    assert progress == Progress(
        {JIRA: Mark(State.EXHAUSTED, 1, 0.0, "not in tasks.xml any more", 100.0), TRELLO: FAILED_ONCE}
    )


def test_fit_leaves_a_finished_task_that_is_gone_as_it_ended():
    progress = Progress({JIRA: DONE_AT_FIRST_TRY, TRELLO: EXHAUSTED})

    assert fit(progress, set()) is progress


def test_fit_exhausts_only_what_is_pending_when_everything_is_gone():
    progress = fit(Progress({JIRA: DONE_AT_FIRST_TRY, TRELLO: EXHAUSTED, MAIL: FRESH}), set())

    assert progress == Progress(
        {JIRA: DONE_AT_FIRST_TRY, TRELLO: EXHAUSTED, MAIL: Mark(State.EXHAUSTED, 0, 0.0, "not in tasks.xml any more")}
    )


def test_fit_does_not_give_an_old_message_a_new_task():
    progress = fit(Progress({JIRA: FRESH}), {JIRA, TRELLO})

    assert list(progress.marks) == ["Jira"]


def test_fit_treats_a_rename_as_a_removal_and_an_addition():
    progress = fit(Progress({JIRA: FRESH}), {TaskName("JiraCloud")})

    assert progress == Progress({JIRA: Mark(State.EXHAUSTED, 0, 0.0, "not in tasks.xml any more")})


def test_fit_exhausts_a_pending_default_task_that_is_gone_and_keeps_the_burial_and_the_deaths():
    progress = fit(Progress({JIRA: EXHAUSTED}, {MAIL: FRESH}, is_buried=True, deaths=1), {JIRA})

    assert progress == Progress(
        {JIRA: EXHAUSTED},
        {MAIL: Mark(State.EXHAUSTED, 0, 0.0, "not in tasks.xml any more")},
        is_buried=True,
        deaths=1,
    )


def test_renew_keeps_what_is_done_and_starts_every_other_task_of_today_afresh():
    old = Progress({JIRA: DONE_AT_FIRST_TRY, TRELLO: EXHAUSTED}, {MAIL: DONE_AT_FIRST_TRY}, is_buried=True)

    renewed = renew(old, (JIRA, TRELLO, TaskName("New")))

    assert renewed == Progress({JIRA: DONE_AT_FIRST_TRY, TRELLO: FRESH, TaskName("New"): FRESH})


def test_renew_asks_a_task_again_that_did_not_take_the_message():
    old = Progress({JIRA: Mark(State.DONE, 1, 0.0, REFUSED), MAIL: DONE_AT_FIRST_TRY})

    assert renew(old, (JIRA, MAIL)) == Progress({JIRA: FRESH, MAIL: DONE_AT_FIRST_TRY})


def test_renew_forgets_an_exhausted_task_that_is_gone_and_keeps_a_done_one():
    old = Progress({JIRA: DONE_AT_FIRST_TRY, TRELLO: EXHAUSTED}, is_buried=True)

    assert renew(old, (MAIL,)) == Progress({MAIL: FRESH, JIRA: DONE_AT_FIRST_TRY})
