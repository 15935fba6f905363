import json

import pytest

from mulligan.telemetry.layout import JsonLayout, TextLayout, escaped

RECORD = {"event": "hello", "level": "info", "at": 1_700_000_000.25}
TEXT = TextLayout(has_color=False, has_date=True)


def test_text_layout_gives_time_level_worker_words_and_fields():
    line = TEXT({**RECORD, "logger": "mulligan", "pid": 7, "worker": 3, "uid": "u1", "note": "a b"})

    assert line == '2023-11-14T22:13:20Z info    w3 hello uid=u1 note="a b"\n'


@pytest.mark.parametrize("text", ["a\nb", "a\rb", "\x1b[31mred", "a\u2028b", "\u202egnp", "\x00", "\x9b31m", "\ud800"])
def test_text_layout_lets_no_text_break_the_line_or_colour_it(text):
    line = TEXT({**RECORD, "event": text, text: text})

    assert line.count("\n") == 1
    assert line[:-1].isprintable()


def test_text_layout_indents_a_traceback_so_that_it_can_not_be_taken_for_an_event():
    line = TEXT({**RECORD, "exception": "Traceback\n2023-11-14T22:13:20Z info    forged"})

    assert line.splitlines()[1:] == ["    | Traceback", "    | 2023-11-14T22:13:20Z info    forged"]


def test_text_layout_colours_errors_on_a_terminal_only():
    colored = TextLayout(has_color=True, has_date=False)

    assert "\x1b[31m" in colored({**RECORD, "level": "error"})
    assert "\x1b" not in TEXT({**RECORD, "level": "error"})


def test_json_layout_gives_one_object_with_the_whole_text():
    line = JsonLayout()({**RECORD, "error": "first\nsecond", "tasks": ("a", "b"), "took_s": 0.5, "worker": None})

    assert line.count("\n") == 1
    assert json.loads(line) == {
        "ts": "2023-11-14T22:13:20.250Z",
        "event": "hello",
        "level": "info",
        "error": "first\nsecond",
        "tasks": ["a", "b"],
        "took_s": 0.5,
        "worker": None,
    }


@pytest.mark.parametrize(
    "item",
    ["\ud800", 10**30, 10**5000, {("a", 1): 2}, float("nan"), object(), {1, 2}, b"\xff"],
    ids=lambda item: type(item).__name__,
)
def test_json_layout_takes_anything(item):
    line = JsonLayout()({**RECORD, "item": item})

    assert "item" in json.loads(line, parse_constant=pytest.fail)


def test_layouts_hide_passwords():
    record = {**RECORD, "event": "at amqp://me:s3cret@host/", "url": "https://x/?token=s3cret"}

    assert "s3cret" not in TEXT(record)
    assert "s3cret" not in JsonLayout()(record)


@pytest.mark.parametrize(
    "item",
    [
        {"url": "amqp://me:s3cret@host/"},
        [("at", "amqp://me:s3cret@host/")],
        {"amqp://me:s3cret@host/": 1},
        ValueError("amqp://me:s3cret@host/"),
        {1: {"amqp://me:s3cret@host/"}},
    ],
    ids=lambda item: type(item).__name__,
)
def test_layouts_hide_passwords_in_what_a_value_holds(item):
    record = {**RECORD, "item": item}

    assert "s3cret" not in TEXT(record)
    assert "s3cret" not in JsonLayout()(record)


def test_layouts_hide_a_password_with_a_line_break_in_a_traceback():
    record = {**RECORD, "exception": "Traceback\nValueError: amqp://me:s3c\nret@host/ is odd\n"}

    assert TEXT(record).splitlines()[1:] == ["    | Traceback", "    | ValueError: amqp://me:***@host/ is odd"]
    assert "ret@" not in JsonLayout()(record)


def test_escaped_leaves_letters_of_all_languages():
    assert escaped("Grüße, 你好, 🙂") == "Grüße, 你好, 🙂"
