from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mulligan.tasks.manifest import SIZE_MAX_BYTES, Entry, parse, read

TASK = "<filename>task1</filename><classname>Task1</classname><default>false</default>"


def problems_of(text: str) -> list[str]:
    manifest, problems = parse(text.encode())
    assert problems, manifest
    return problems


def test_parse_gives_entries_in_order_when_all_is_right():
    text = """<?xml version="1.0"?>
    <!-- a comment -->
    <tasks>
      <task>
        <filename> task1 </filename><classname>Task1</classname><default>false</default>
      </task>
      <task>
        <filename>task4</filename><classname>Task4</classname><default>True</default>
        <attempts>5</attempts><timeout>2.5</timeout>
      </task>
    </tasks>"""

    manifest, problems = parse(text.encode())

    assert problems == []
    assert manifest.entries == (
        Entry("task1", "Task1", is_default=False, line=4),
        Entry("task4", "Task4", is_default=True, attempts=5, timeout_s=2.5, line=7),
    )


def test_parse_reads_what_a_windows_editor_writes():
    text = f"<tasks>\r\n<task>{TASK}</task>\r\n</tasks>\r\n"

    for encoded in (text.encode("utf-8-sig"), text.encode("utf-16")):
        manifest, problems = parse(encoded)

        assert problems == []
        assert [entry.class_name for entry in manifest.entries] == ["Task1"]


def test_parse_names_the_right_element_when_one_is_misspelt():
    problems = problems_of(f"<tasks>\n<task>{TASK}\n<timout>3</timout></task></tasks>")

    assert problems == [
        (
            "tasks.xml line 3: <timout> is not known in <task>, expected <filename> or <classname> or <default> or "
            "<attempts> or <timeout>. Did you mean 'timeout'?"
        )
    ]


def test_parse_tells_one_problem_when_an_unknown_element_holds_others():
    problems = problems_of(f"<tasks>\n<tusk><filename>x</filename><b><c/></b></tusk>\n<task>{TASK}</task></tasks>")

    assert problems == ["tasks.xml line 2: <tusk> is not known in <tasks>, expected <task>. Did you mean 'task'?"]


def test_parse_refuses_another_root():
    problems = problems_of("<jobs><task/></jobs>")

    assert problems[0] == "tasks.xml line 1: <jobs> is not known as the root, expected <tasks>."


@pytest.mark.parametrize(
    ("default", "shown"), [("maybe", "'maybe'"), ("", "''"), ("1", "'1'"), ("<b/>", "''"), ("y" * 90, "y ...'")]
)
def test_parse_refuses_default_when_it_is_neither_true_nor_false(default, shown):
    text = f"<tasks><task>\n<filename>a</filename><classname>A</classname>\n<default>{default}</default></task></tasks>"

    problems = problems_of(text)

    assert any(f"{shown}, expected true or false" in problem and "line 3" in problem for problem in problems)


def test_parse_says_to_drop_the_ending_when_a_filename_has_one():
    problems = problems_of(f"<tasks><task>{TASK.replace('task1<', 'task1.py<')}</task></tasks>")

    assert problems == [
        "tasks.xml line 1: <filename> is 'task1.py': leave the ending out. Write <filename>task1</filename>."
    ]


@pytest.mark.parametrize("name", ["../secret", "a/b", "Task1", "1a", "", "a.b", "a b", "é", "/etc/passwd", "a\n.py"])
def test_parse_refuses_a_filename_when_it_could_leave_the_folder_or_is_no_module(name):
    problems = problems_of(f"<tasks><task>{TASK.replace('>task1<', f'>{name}<')}</task></tasks>")

    assert len(problems) == 1
    assert "expected the name of a file in the tasks folder" in problems[0]


@pytest.mark.parametrize("name", ["", "1A", "class", "a.B", "A B", "A;import os"])
def test_parse_refuses_a_classname_when_python_could_not_have_it(name):
    problems = problems_of(f"<tasks><task>{TASK.replace('>Task1<', f'>{name}<')}</task></tasks>")

    assert problems == [f"tasks.xml line 1: <classname> is {name!r}, expected the name of a Python class, e.g. Task1."]


@pytest.mark.parametrize("attempts", ["0", "-1", "1.5", "many", "1001", "1_0", "١", "9" * 50])
def test_parse_refuses_attempts_when_out_of_range(attempts):
    problems = problems_of(f"<tasks><task>{TASK}<attempts>{attempts}</attempts></task></tasks>")

    assert "expected a whole number from 1 (no second try) to 1000." in problems[0]


@pytest.mark.parametrize("timeout", ["0", "0.0", "-1", "1e3", "nan", "inf", "30s", "604801"])
def test_parse_refuses_a_timeout_when_out_of_range(timeout):
    problems = problems_of(f"<tasks><task>{TASK}<timeout>{timeout}</timeout></task></tasks>")

    assert "expected seconds above 0 and up to 604800" in problems[0]


def test_parse_names_every_missing_element():
    problems = problems_of("<tasks>\n<task/></tasks>")

    assert problems == [
        "tasks.xml line 2: <task> has no <filename>. Add <filename>task1</filename> for the file tasks/task1.py.",
        "tasks.xml line 2: <task> has no <classname>. Add <classname>Task1</classname> for the class in the file.",
        "tasks.xml line 2: <task> has no <default>. Add <default>false</default>, or true for an alert task.",
    ]


def test_parse_names_both_lines_when_an_element_is_there_twice():
    problems = problems_of(f"<tasks><task>{TASK}\n<default>true</default></task></tasks>")

    assert problems == ["tasks.xml line 2: <default> is there twice, first in line 1. Remove one of them."]


def test_parse_names_both_lines_when_a_class_is_there_twice():
    problems = problems_of(f"<tasks><task>{TASK}</task>\n<task>{TASK.replace('>task1<', '>other<')}</task></tasks>")

    assert problems == [
        (
            "tasks.xml line 2: the class 'Task1' is in line 1, too. Tasks are identified by their class name: "
            "remove one of them, or rename the class."
        )
    ]


def test_parse_finds_a_class_twice_when_both_are_in_one_line():
    problems = problems_of(f"<tasks><task>{TASK}</task><task>{TASK}</task></tasks>")

    assert "the class 'Task1' is in line 1, too" in problems[0]


def test_parse_says_to_write_an_element_when_it_is_an_attribute():
    problems = problems_of(f'<tasks><task default="true">{TASK}</task></tasks>')

    assert problems == [
        (
            "tasks.xml line 1: <task> has the attribute 'default', expected none. "
            "Write it as an element: <default>...</default>."
        )
    ]


def test_parse_refuses_text_outside_of_a_field():
    problems = problems_of(f"<tasks><task>{TASK}</task>\nhello</tasks>")

    assert problems == ["tasks.xml line 2: 'hello' is in <tasks>, outside a field. Remove it."]


@pytest.mark.parametrize("text", ["<tasks/>", "<tasks></tasks>", "<tasks><!-- <task/> --></tasks>"])
def test_parse_says_that_nothing_would_run_when_there_is_no_task(text):
    problems = problems_of(text)

    assert len(problems) == 1
    assert problems[0].startswith("tasks.xml line 1: has no <task>, so there is nothing to run.")


@pytest.mark.parametrize("text", ["", "  \n"])
def test_parse_says_what_belongs_there_when_the_file_is_empty(text):
    assert problems_of(text)[0].startswith("tasks.xml is empty. It needs <tasks>")


def test_parse_names_the_open_element_when_it_is_no_xml():
    problems = problems_of("<tasks>\n<task>\n<filename>a\n</task></tasks>")

    assert problems == [
        (
            "tasks.xml line 4: column 3 is not XML: mismatched tag. <filename> of line 3 is still open there. "
            "Correct it; the rest was not read."
        )
    ]


@pytest.mark.parametrize(
    "data", [b"\x00\x01", b"<tasks", b"plain text", b"\xff\xfe<", b'<?xml version="1.0" encoding="x"?><tasks/>']
)
def test_parse_tells_a_problem_when_the_file_is_something_else(data):
    _, problems = parse(data)

    assert len(problems) == 1
    assert "is not XML" in problems[0].replace("readable ", "")


def test_parse_refuses_a_doctype_before_any_entity_is_read():
    bomb = (
        '<!DOCTYPE t [<!ENTITY a "ha"><!ENTITY b "&a;&a;"><!ENTITY c SYSTEM "file:///etc/passwd">]><tasks>&b;</tasks>'
    )

    problems = problems_of(bomb)

    assert problems == [
        (
            "tasks.xml line 1: has a DOCTYPE. It is refused, because entities can read files and exhaust memory. "
            "Remove it."
        )
    ]


def test_parse_refuses_more_than_a_mebibyte():
    _, problems = parse(b" " * (SIZE_MAX_BYTES + 1))

    assert problems == ["tasks.xml has more than 1048576 bytes. Is it the right file?"]


def test_parse_stops_when_elements_are_nested_too_deep():
    problems = problems_of("<tasks>" + "<a>" * 100_000)

    assert len(problems) == 2
    assert "nested more than 20 deep" in problems[1]


def test_parse_tells_all_mistakes_at_once():
    problems = problems_of(
        "<tasks>\n<task><filename>A</filename><classname>1</classname><default>x</default></task>\n<x/>\n</tasks>"
    )

    assert [problem.partition(" is ")[0] for problem in problems] == [
        "tasks.xml line 2: <filename>",
        "tasks.xml line 2: <classname>",
        "tasks.xml line 2: <default>",
        "tasks.xml line 3: <x>",
    ]


def test_parse_stops_telling_when_there_are_very_many_problems():
    problems = problems_of("<tasks>" + "<x/>" * 10_000 + "</tasks>")

    assert len(problems) == 101
    assert problems[-1] == "tasks.xml has more problems. What follows line 1 was not read."


NAMES = st.sampled_from(["tasks", "task", "filename", "classname", "default", "attempts", "timeout", "x"])
TEXTS = st.sampled_from(["", "a", "A", "true", "3", " ", "&amp;", "\u00e9"])
TREES = st.recursive(
    TEXTS,
    lambda inner: st.builds("<{0}>{1}</{0}>".format, NAMES, st.lists(inner, max_size=6).map("".join)),
    max_leaves=30,
)


@given(st.lists(TREES, max_size=4).map("".join))
def test_parse_gives_an_entry_or_a_problem_for_every_task_whatever_the_elements_are(inner):
    manifest, problems = parse(f"<tasks>{inner}</tasks>".encode())

    assert manifest.entries or problems


@given(st.binary(max_size=200))
def test_parse_tells_a_problem_whatever_bytes_it_gets(data):
    manifest, problems = parse(data)

    assert not manifest.entries
    assert problems


def test_parse_keeps_right_entries_when_another_is_wrong():
    manifest, problems = parse(f"<tasks><task/><task>{TASK}</task></tasks>".encode())

    assert len(problems) == 3
    assert manifest.entries == (Entry("task1", "Task1", is_default=False, line=1),)


def test_read_names_the_file_that_it_was_given(tmp_path: Path):
    file = tmp_path / "mine.xml"
    file.write_text("<tasks/>")

    _, problems = read(file)

    assert problems[0].startswith("mine.xml line 1: ")
