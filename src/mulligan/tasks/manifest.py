"""tasks.xml: which class of which file is a task. Read once, at start; next comes `source`, which imports the files.

    <tasks>
      <task>
        <filename>task1</filename>      the file tasks/task1.py
        <classname>Task1</classname>    the class in it
        <default>false</default>        true: an alert task, run when another task of the message can't be done
        <attempts>5</attempts>          optional
        <timeout>30</timeout>           optional, seconds
      </task>
    </tasks>

Every mistake is found in one reading. The standard library's expat is used directly: it knows the lines, and what is
dangerous in XML (entities, external files) starts with a DOCTYPE, which is refused.
"""

import keyword
import re
from pathlib import Path
from typing import Never
from xml.parsers import expat

from mulligan.core.value import value
from mulligan.tasks.text import cut, did_you_mean

__all__ = ["ATTEMPTS_MAX", "FILE_NAME", "SIZE_MAX_BYTES", "TIMEOUT_MAX_S", "Entry", "Manifest", "parse", "read"]

SIZE_MAX_BYTES = 1024 * 1024
DEPTH_MAX = 20
PROBLEMS_MAX = 100  # a mebibyte of wrong attributes would be a hundred thousand
ATTEMPTS_MAX = 1000
TIMEOUT_MAX_S = 7 * 86_400.0

FILE_NAME = re.compile(r"[a-z_][a-z0-9_]*")
"""What a file of the tasks folder is called, without its .py: it can be imported, and it can't leave the folder."""

_NEEDED = ("filename", "classname", "default")
_FIELDS = (*_NEEDED, "attempts", "timeout")
_WHOLE = re.compile(r"[0-9]{1,9}")
_DECIMAL = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")


@value
class Entry:
    """One <task>. attempts, timeout_s: None where the class or the settings decide. line: of its start tag."""

    file_name: str
    class_name: str
    is_default: bool
    attempts: int | None = None
    timeout_s: float | None = None
    line: int = 0


@value
class Manifest:
    """The tasks of an application, in the order in which they are listed."""

    entries: tuple[Entry, ...]


def read(path: Path) -> tuple[Manifest, list[str]]:
    """The manifest in a file, and every problem with it. Raises OSError when the file can't be read."""
    with path.open("rb") as file:
        data = file.read(SIZE_MAX_BYTES + 1)
    return parse(data, path.name)


def parse(data: bytes, name: str = "tasks.xml") -> tuple[Manifest, list[str]]:
    """The entries that are right, and every problem as a sentence with its line. Never raises.

    name: of the file, for the problems.
    """
    if len(data) > SIZE_MAX_BYTES:
        return Manifest(()), [f"{name} has more than {SIZE_MAX_BYTES} bytes. Is it the right file?"]
    if not data.strip():
        return Manifest(()), [f"{name} is empty. It needs <tasks> with one <task> per task. Or remove it: {ALL}"]
    reader = _Reader(name)
    reader.read(data)
    return Manifest(tuple(reader.entries)), reader.problems


ALL = "without it every Task class in the files of the tasks folder is used."


class _Stop(Exception):
    pass


class _Element:
    """An element that is open. fields: what was read in it, by name: (text, line)."""

    __slots__ = ("fields", "line", "name", "text")

    def __init__(self, name: str, line: int) -> None:
        self.name = name
        self.line = line
        self.text: list[str] = []
        self.fields: dict[str, tuple[str, int]] = {}


class _Reader:
    """One reading of one document."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.entries: list[Entry] = []
        self.problems: list[str] = []
        self._open: list[_Element] = []
        self._tasks_count = 0
        self._class_lines: dict[str, int] = {}
        parser = expat.ParserCreate()
        parser.buffer_text = True
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._characters
        parser.StartDoctypeDeclHandler = self._doctype
        self._parser = parser

    def read(self, data: bytes) -> None:
        try:
            self._parser.Parse(data, True)
        except _Stop:
            return
        except expat.ExpatError as exc:
            self._broken(exc)
            return
        except (LookupError, ValueError) as exc:  # an encoding that Python or expat doesn't know
            self._problem(1, f"is not readable XML: {exc}. Save it as UTF-8, and declare that in its first line.")
            return
        if not self._tasks_count:
            self._problem(1, f"has no <task>, so there is nothing to run. Add one per task, or remove the file: {ALL}")

    def _problem(self, line: int, text: str) -> None:
        self.problems.append(f"{self.name} line {line}: {text}")
        if len(self.problems) == PROBLEMS_MAX:
            self.problems.append(f"{self.name} has more problems. What follows line {line} was not read.")
            raise _Stop

    def _stop(self, text: str) -> Never:
        self._problem(self._parser.CurrentLineNumber, text)
        raise _Stop

    def _broken(self, exc: expat.ExpatError) -> None:
        what = expat.ErrorString(exc.code) or "not XML"
        hint = "Correct it; the rest was not read."
        if self._open:
            element = self._open[-1]
            hint = f"<{_short(element.name)}> of line {element.line} is still open there. {hint}"
        self._problem(exc.lineno, f"column {exc.offset + 1} is not XML: {what}. {hint}")

    def _doctype(self, *_: object) -> None:
        self._stop("has a DOCTYPE. It is refused, because entities can read files and exhaust memory. Remove it.")

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        line = self._parser.CurrentLineNumber
        depth = len(self._open)
        if depth >= DEPTH_MAX:
            self._stop(
                f"elements are nested more than {DEPTH_MAX} deep. <tasks> holds <task>, and that holds its fields."
            )
        expected = [("tasks",), ("task",), _FIELDS][depth] if depth < 3 else ()
        if name not in expected and not self._is_in_unknown():
            self._unknown(name, expected, line)
        self._tasks_count += depth == 1
        for attribute in attributes:
            hint = f"Write it as an element: <{attribute}>...</{attribute}>." if attribute in _FIELDS else "Remove it."
            self._problem(line, f"<{_short(name)}> has the attribute {_short(attribute)!r}, expected none. {hint}")
        self._open.append(_Element(name, line))

    def _is_in_unknown(self) -> bool:
        # one problem for an unknown element is enough: what is in it is not looked at
        expected = ("tasks", "task")
        return (
            any(element.name != known for element, known in zip(self._open, expected, strict=False))
            or len(self._open) > 3
        )

    def _unknown(self, name: str, expected: tuple[str, ...], line: int) -> None:
        where = f"in <{self._open[-1].name}>" if self._open else "as the root"
        known = " or ".join(f"<{one}>" for one in expected) or "text only"
        self._problem(line, f"<{_short(name)}> is not known {where}, expected {known}.{did_you_mean(name, expected)}")

    def _characters(self, text: str) -> None:
        if not self._open:
            return
        element = self._open[-1]
        if len(self._open) >= 3:
            element.text.append(text)
        elif text.strip() and not self._is_in_unknown():
            shown = _short(text.strip())
            self._problem(
                self._parser.CurrentLineNumber, f"{shown!r} is in <{element.name}>, outside a field. Remove it."
            )

    def _end(self, _: str) -> None:
        element = self._open.pop()
        if self._is_in_unknown():
            return
        if len(self._open) == 2 and element.name in _FIELDS:
            self._field(self._open[-1], element)
        elif len(self._open) == 1 and element.name == "task":
            self._task(element)

    def _field(self, task: _Element, element: _Element) -> None:
        if element.name in task.fields:
            first = task.fields[element.name][1]
            self._problem(element.line, f"<{element.name}> is there twice, first in line {first}. Remove one of them.")
            return
        task.fields[element.name] = "".join(element.text).strip(), element.line

    def _task(self, task: _Element) -> None:
        before = len(self.problems)
        for name in _NEEDED:
            if name not in task.fields:
                self._problem(task.line, f"<task> has no <{name}>. Add {_EXAMPLES[name]}.")
        for name, (text, line) in task.fields.items():
            problem = _CHECKS[name](text)
            if problem:
                self._problem(line, f"<{name}> {problem}")
        class_name, class_line = task.fields.get("classname", ("", task.line))
        if class_name in self._class_lines:
            first = self._class_lines[class_name]
            self._problem(
                class_line,
                f"the class {_short(class_name)!r} is in line {first}, too. Tasks are identified by their class name: "
                "remove one of them, or rename the class.",
            )
        elif class_name:
            self._class_lines[class_name] = class_line
        if len(self.problems) == before:
            self.entries.append(_entry(task))


def _entry(task: _Element) -> Entry:
    texts = {name: text for name, (text, _) in task.fields.items()}
    return Entry(
        file_name=texts["filename"],
        class_name=texts["classname"],
        is_default=texts["default"].lower() == "true",
        attempts=int(texts["attempts"]) if "attempts" in texts else None,
        timeout_s=float(texts["timeout"]) if "timeout" in texts else None,
        line=task.line,
    )


def _check_filename(text: str) -> str:
    if FILE_NAME.fullmatch(text):
        return ""
    bare = text.removesuffix(".py")
    if bare != text and FILE_NAME.fullmatch(bare):
        return f"is {_short(text)!r}: leave the ending out. Write <filename>{bare}</filename>."
    return (
        f"is {_short(text)!r}, expected the name of a file in the tasks folder without .py: lower-case letters, digits "
        "and _, not beginning with a digit. Rename the file if its name differs."
    )


def _check_classname(text: str) -> str:
    if text.isidentifier() and not keyword.iskeyword(text):
        return ""
    return f"is {_short(text)!r}, expected the name of a Python class, e.g. Task1."


def _check_default(text: str) -> str:
    if text.lower() in {"true", "false"}:
        return ""
    return (
        f"is {_short(text)!r}, expected true or false. Write false for a task that runs for each message, true for an "
        "alert task, which runs when another task of the message is exhausted."
    )


def _check_attempts(text: str) -> str:
    if _WHOLE.fullmatch(text) and 1 <= int(text) <= ATTEMPTS_MAX:
        return ""
    return f"is {_short(text)!r}, expected a whole number from 1 (no second try) to {ATTEMPTS_MAX}."


def _check_timeout(text: str) -> str:
    if _DECIMAL.fullmatch(text) and 0 < float(text) <= TIMEOUT_MAX_S:
        return ""
    return f"is {_short(text)!r}, expected seconds above 0 and up to {TIMEOUT_MAX_S:.0f}, e.g. 30."


_CHECKS = {
    "filename": _check_filename,
    "classname": _check_classname,
    "default": _check_default,
    "attempts": _check_attempts,
    "timeout": _check_timeout,
}
_EXAMPLES = {
    "filename": "<filename>task1</filename> for the file tasks/task1.py",
    "classname": "<classname>Task1</classname> for the class in the file",
    "default": "<default>false</default>, or true for an alert task",
}


def _short(text: str) -> str:
    return cut(text, 60)
