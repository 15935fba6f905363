import asyncio
import json

import pytest

from mulligan.core.cause import behind, first_cause, with_causes


def raised(function) -> BaseException:
    try:
        function()
    except BaseException as exc:
        return exc
    raise AssertionError("it returned")


def from_json():
    try:
        json.loads("")
    except ValueError as exc:
        raise RuntimeError("cannot load order") from exc


def while_handling():
    try:
        {}["sku"]
    except KeyError:
        raise RuntimeError("no sku")  # noqa: B904 - what users write


def suppressed():
    try:
        {}["sku"]
    except KeyError:
        raise RuntimeError("no sku") from None


def test_behind_names_the_exception_that_it_was_raised_from():
    assert behind(raised(from_json)) == ("caused by JSONDecodeError: Expecting value: line 1 column 1 (char 0)",)


def test_behind_names_the_exception_that_was_being_handled():
    assert behind(raised(while_handling)) == ("while handling KeyError: 'sku'",)


def test_behind_is_empty_when_the_code_says_from_none():
    assert behind(raised(suppressed)) == ()


def test_behind_keeps_the_first_cause_of_a_long_chain():
    exc: BaseException = ValueError("the root")
    root = exc
    for number in range(5):
        following = RuntimeError(f"wrapped {number}")
        following.__cause__ = exc
        exc = following

    assert behind(exc) == (
        "caused by RuntimeError: wrapped 3",
        "caused by RuntimeError: wrapped 2",
        "caused by ValueError: the root",
    )
    assert first_cause(exc) is root


def test_behind_ends_when_the_chain_is_a_circle():
    one, other = ValueError("one"), ValueError("other")
    one.__cause__, other.__cause__ = other, one

    assert behind(one) == ("caused by ValueError: other",)


def test_behind_leaves_out_what_says_the_same_again():
    exc = ConnectionError("refused")
    exc.__cause__ = ConnectionError("refused")
    exc.__cause__.__cause__ = OSError(111, "refused")

    assert behind(exc) == ("caused by ConnectionRefusedError: [Errno 111] refused",)


def test_behind_leaves_out_the_cancellation_of_a_time_limit():
    async def late():
        async with asyncio.timeout(0):
            await asyncio.Event().wait()

    exc = raised(lambda: asyncio.run(late()))

    assert isinstance(exc, TimeoutError)
    assert behind(exc) == ()


def test_behind_looks_into_a_group_of_one():
    exc = RuntimeError("all failed")
    exc.__cause__ = ExceptionGroup("workers", [KeyError("id")])

    assert behind(exc) == (
        "caused by ExceptionGroup: workers (1 sub-exception)",
        "caused by KeyError: 'id'",
    )


def test_behind_shows_no_password_and_no_second_line():
    exc = RuntimeError("no")
    exc.__cause__ = OSError("redis://me:Zq7canary@h/ is gone\nand more")

    assert behind(exc) == ("caused by OSError: redis://me:***@h/ is gone",)


def test_behind_is_short_when_the_cause_is_long():
    exc = RuntimeError("no")
    exc.__cause__ = ValueError("x" * 1_000_000)

    (phrase,) = behind(exc)

    assert len(phrase) == 160
    assert phrase.endswith("x ...")


def test_behind_tells_of_a_cause_whose_text_raises():
    class Odd(Exception):
        def __str__(self):
            raise SystemExit

    exc = RuntimeError("no")
    exc.__cause__ = Odd()

    assert behind(exc) == ("caused by Odd: (its text can't be made: __str__ raised SystemExit)",)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("RuntimeError: no", "RuntimeError: no; caused by KeyError: 'id'"),
        (
            "ValidationError: 1 error\nid\n  missing",
            "ValidationError: 1 error; caused by KeyError: 'id'\nid\n  missing",
        ),
    ],
)
def test_with_causes_puts_them_at_the_end_of_the_first_line(text, told):
    exc = RuntimeError("no")
    exc.__cause__ = KeyError("id")

    assert with_causes(text, exc) == told
