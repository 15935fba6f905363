"""The checker of the runs of kills finds what it is there to find: each forged log is one way to break the promise."""

import pytest

from tests.acceptance.harness.app import Effect
from tests.acceptance.harness.fate import TASKS
from tests.acceptance.harness.killing import Recorded, examine

BODIES = ["ok-0", "once-1", "never-2"]
FAILING = {("never-2", "Third")}
LETTERS = [{"uid": "uid-never-2", "failed": ["Third"]}]


def log():
    """Everything as it should be."""
    effects = []
    for body in BODIES:
        for task in TASKS:
            effects.append(effect(body, task, "start"))
            effects.append(effect(body, task, "failed" if (body, task) in FAILING else "end"))
    return [*effects, effect("never-2", "Alert", "start"), effect("never-2", "Alert", "end")]


def effect(body, task, what, uid=None):
    return Effect(1.0, 1, uid or f"uid-{body}", task, 1, what, body)


def look(effects, letters=LETTERS, snapshots=()):
    return examine(effects, BODIES, FAILING, letters, snapshots)


def without(effects, body, task, what):
    return [one for one in effects if (one.body, one.task, one.what) != (body, task, what)]


def test_checker_is_content_with_a_run_as_it_should_be():
    found = look(log())

    assert found.violations == {}
    assert found.repeated == 0


def test_checker_finds_a_task_that_never_ended():
    assert look(without(log(), "ok-0", "Second", "end")).violations == {"lost": [("ok-0", "Second")]}


def test_checker_finds_a_message_that_was_never_seen():
    effects = [one for one in log() if one.body != "once-1"]

    assert look(effects).violations == {"lost": [("once-1", task) for task in sorted(TASKS)]}


def test_checker_finds_a_message_that_nobody_sent():
    assert look([*log(), effect("other-9", "First", "start")]).violations == {"unexpected": ["other-9"]}


def test_checker_finds_a_message_that_became_two():
    assert look([*log(), effect("ok-0", "First", "start", uid="second")]).violations.keys() == {"unexpected"}


def test_checker_finds_a_start_after_a_recorded_completion():
    effects = log()
    snapshot = Recorded({("uid-ok-0", "First")}, len(effects))
    again = effect("ok-0", "First", "start")

    assert look([*effects, again], snapshots=[snapshot]).violations == {"rerun": [again]}


@pytest.mark.parametrize(
    "letters",
    [
        [],
        LETTERS * 2,
        [{"uid": "uid-ok-0", "failed": ["First"]}, *LETTERS],
        [{"uid": "uid-never-2", "failed": ["First"]}],
    ],
    ids=["none", "twice", "of a message that was done", "for another task"],
)
def test_checker_finds_dead_letters_that_are_missing_or_too_many(letters):
    assert look(log(), letters=letters).violations.keys() == {"dead"}


def test_checker_finds_a_default_task_that_did_not_run():
    assert look([one for one in log() if one.task != "Alert"]).violations == {"alerts": ["never-2"]}


def test_checker_finds_a_default_task_for_a_message_that_was_done():
    assert look([*log(), effect("ok-0", "Alert", "start")]).violations == {"alerts": ["ok-0"]}


def test_checker_counts_repeated_effects():
    assert look([*log(), effect("ok-0", "First", "start"), effect("ok-0", "First", "end")]).repeated == 1
