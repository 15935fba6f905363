import asyncio

import pytest

from mulligan.core.outcome import SUCCEEDED, Failed, Skipped
from mulligan.tasks.exceptions import GiveUp, PayloadError, Retry, Skip
from mulligan.tasks.outcome_of import ERROR_TEXT_MAX, outcome_of_error, outcome_of_result


@pytest.fixture
def task(app):
    return app.task(
        """
        def inner(data):
            raise RuntimeError(data)
        class Odd(Exception):
            def __str__(self): raise SystemExit
        def deep(): deep()
        def build(kind):
            if kind == "odd": raise Odd
            if kind == "deep": deep()
            if kind == "memory": raise MemoryError
            if kind == "exit": raise SystemExit(3)
            if kind == "lookup": raise LookupError("gone")
            if kind == "key": raise KeyError("id")
            inner(kind)
        class One(Task):
            give_up_on = (LookupError,)
            def run(self, data): build(data)
        """
    )


def raised(task, body: str) -> BaseException:
    from mulligan.core.message import Message

    try:
        task.call(Message("u", body.encode(), {}, 0.0), None)
    except BaseException as exc:
        return exc
    raise AssertionError("it returned")


@pytest.mark.parametrize("result", [None, True, 0, "", [], {"a": 1}, object()])
def test_outcome_of_result_is_success_when_it_is_not_false(result):
    assert outcome_of_result(result) is SUCCEEDED


def test_outcome_of_result_is_a_failure_when_run_returned_false():
    assert outcome_of_result(False) == Failed("returned False")


def test_outcome_of_result_is_final_when_nobody_awaited_it():
    async def forgotten(): ...

    outcome = outcome_of_result(forgotten())

    assert isinstance(outcome, Failed)
    assert outcome.is_final


def test_outcome_of_result_is_final_when_it_is_a_generator():
    outcome = outcome_of_result(number for number in [1])

    assert isinstance(outcome, Failed)
    assert outcome.is_final


@pytest.mark.parametrize(
    ("signal", "outcome"),
    [
        (Retry(after_s=30, reason="busy"), Failed("busy", retry_after_s=30.0)),
        (Retry(), Failed("the task asked for another attempt", retry_after_s=None)),
        (GiveUp("no such user"), Failed("no such user", is_final=True)),
        (Skip("not mine"), Skipped("not mine")),
        (
            PayloadError("the body is not a valid Order: id: Field required"),
            Failed("the body is not a valid Order: id: Field required", is_final=True),
        ),
        (ExceptionGroup("g", [ExceptionGroup("h", [GiveUp("deep down")])]), Failed("deep down", is_final=True)),
    ],
)
def test_outcome_of_error_does_what_a_signal_says(task, signal, outcome):
    assert outcome_of_error(task, signal) == outcome


def test_outcome_of_error_shows_the_last_lines_within_the_users_code(task):
    outcome = outcome_of_error(task, raised(task, "it broke"))

    assert outcome == Failed(
        "RuntimeError: it broke\n"
        "  tasks/one.py line 17 in run: def run(self, data): build(data)\n"
        "  tasks/one.py line 14 in build: inner(kind)\n"
        "  tasks/one.py line 3 in inner: raise RuntimeError(data)"
    )


def test_outcome_of_error_is_final_when_the_task_gives_up_on_it(task):
    assert outcome_of_error(task, raised(task, "lookup")).is_final
    assert outcome_of_error(task, raised(task, "key")).is_final
    assert not outcome_of_error(task, raised(task, "other")).is_final


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("odd", "Odd: (its text can't be made: __str__ raised SystemExit)"),
        ("deep", "RecursionError: maximum recursion depth exceeded"),
        ("memory", "MemoryError\n"),
        ("exit", "SystemExit: 3\n"),
    ],
)
def test_outcome_of_error_is_a_failure_whatever_was_raised(task, kind, told):
    outcome = outcome_of_error(task, raised(task, kind))

    assert isinstance(outcome, Failed)
    assert outcome.error.startswith(told)
    assert not outcome.is_final


class Unchained(ValueError):
    @property
    def __cause__(self):
        raise RuntimeError("as its name says")


def test_outcome_of_error_is_a_failure_when_the_exception_can_not_even_be_asked(task):
    """The attempt had no end: its message stayed with its worker, and a drain waited for it for ever."""
    assert outcome_of_error(task, Unchained("x")) == Failed("Unchained: (no text: RuntimeError)")


@pytest.mark.parametrize("exc", [KeyboardInterrupt(), asyncio.CancelledError(), GeneratorExit()])
def test_outcome_of_error_names_the_type_when_there_is_no_text(task, exc):
    assert outcome_of_error(task, exc) == Failed(type(exc).__name__)


def test_outcome_of_error_stays_short_when_the_text_is_long(task):
    outcome = outcome_of_error(task, raised(task, "x" * 1_000_000))

    assert len(outcome.error) <= ERROR_TEXT_MAX
    assert "in inner" in outcome.error


def test_outcome_of_error_lists_a_group_of_several(task):
    group = ExceptionGroup("both", [ValueError("a"), KeyError("b")])

    assert outcome_of_error(task, group) == Failed(
        "ExceptionGroup: both (2 sub-exceptions)\n  ValueError: a\n  KeyError: 'b'"
    )


@pytest.mark.parametrize("kind", [Retry, GiveUp, Skip])
def test_error_text_of_a_task_is_without_the_password_of_a_url(kind):
    exc = kind(None, "no redis://me:Zq7 canary@h/") if kind is Retry else kind("no redis://me:Zq7 canary@h/")

    outcome = outcome_of_error(None, exc)

    assert "no redis://me:***@h/" in repr(outcome)
    assert "canary" not in repr(outcome)


def test_error_text_of_a_task_is_without_the_password_in_its_line_of_code(app):
    task = app.task(
        """
        class One(Task):
            def run(self, data): raise RuntimeError("no redis://me:Zq7canary@h/ " + data)
        """
    )

    outcome = outcome_of_error(task, raised(task, "x" * 3000))

    assert isinstance(outcome, Failed)
    assert outcome.error.count("redis://me:***@h/") == 2
    assert "Zq7canary" not in outcome.error


@pytest.fixture
def chained(app):
    return app.task(
        """
        import json
        def load(data):
            try:
                return json.loads(data)
            except ValueError as exc:
                if data == "retry": raise Retry(30, "later") from exc
                if data == "give up": raise GiveUp("never")
                raise RuntimeError("cannot load order" if data == "order" else data) from exc
        class One(Task):
            def run(self, data): load(data)
        """
    )


def test_outcome_of_error_keeps_the_cause_of_a_chained_exception_and_its_place(chained):
    outcome = outcome_of_error(chained, raised(chained, "order"))

    assert outcome == Failed(
        "RuntimeError: cannot load order; caused by JSONDecodeError: Expecting value: line 1 column 1 (char 0)\n"
        "  tasks/one.py line 11 in run: def run(self, data): load(data)\n"
        '  tasks/one.py line 9 in load: raise RuntimeError("cannot load order" if data == "order" else data) from exc\n'
        "  tasks/one.py line 5 in load: return json.loads(data)"
    )


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ("retry", "later; caused by JSONDecodeError: Expecting value: line 1 column 1 (char 0)"),
        ("give up", "never; while handling JSONDecodeError: Expecting value: line 1 column 1 (char 0)"),
    ],
)
def test_outcome_of_error_keeps_the_cause_of_a_signal(chained, body, error):
    outcome = outcome_of_error(chained, raised(chained, body))

    assert isinstance(outcome, Failed)
    assert outcome.error == error


def test_outcome_of_error_keeps_the_cause_when_the_text_is_long(chained):
    outcome = outcome_of_error(chained, raised(chained, "x" * 1_000_000))

    assert isinstance(outcome, Failed)
    assert len(outcome.error) <= ERROR_TEXT_MAX
    assert "; caused by JSONDecodeError: Expecting value" in outcome.error
    assert "return json.loads(data)" in outcome.error


def test_outcome_of_error_keeps_the_causes_of_a_groups_members(task):
    member = ValueError("a")
    member.__cause__ = KeyError("id")

    assert outcome_of_error(task, ExceptionGroup("both", [member, OSError("b")])) == Failed(
        "ExceptionGroup: both (2 sub-exceptions)\n  ValueError: a; caused by KeyError: 'id'\n  OSError: b"
    )
