"""The page of what a task gets: every field and property of Message, TaskContext and what they hold, from the code."""

import inspect
import re
from collections.abc import Iterator
from dataclasses import is_dataclass

from mulligan.core.message import Message, Typed
from mulligan.tasks.context import Failure, TaskContext

CLASSES = (Message, TaskContext, Failure, Typed)
WHERE = {
    Message: "What `run(self, message: Message)` gets, and `accepts`; `context.message` elsewhere.",
    TaskContext: "The second parameter of `run`, where it has one.",
    Failure: "Of `context.failures`.",
    Typed: "Of `message.attributes`, where an attribute is neither text nor bytes on the broker.",
}


def page() -> str:
    """docs/fields.md. Ends the program where a field has no text in its class's docstring."""
    parts = [
        "# What a task gets",
        "<!-- Written by tools/docs.py from the docstrings of the classes: change it there. -->",
        "All of it is read only, and the same on every attempt where nothing else is said. [Write a task](tasks.md) "
        "says how to ask for it. `Uid` and `TaskName` are `str`.",
    ]
    for cls in CLASSES:
        parts += [f"## {cls.__name__}", f"{_summary(cls)} {WHERE[cls]}", _table(cls)]
    return "\n\n".join(parts) + "\n"


def _summary(cls: type) -> str:
    return " ".join((inspect.getdoc(cls) or "").partition("\n\n")[0].split())


def _table(cls: type) -> str:
    rows = [f"| `{name}` | `{kind}` | {_cell(text)} |" for name, kind, text in _rows(cls)]
    return "\n".join(("| name | type | meaning |", "|---|---|---|", *rows))


def _rows(cls: type) -> Iterator[tuple[str, str, str]]:
    """(name, type, meaning): the fields in their order, then the properties."""
    fields = {name: str(one.annotation) for name, one in inspect.signature(cls).parameters.items()}
    if not is_dataclass(cls):  # its constructor need not take what its attributes are
        attributes = {name: kind for name, kind in inspect.get_annotations(cls).items() if name[0] != "_"}
        fields = {name: inspect.formatannotation(kind) for name, kind in attributes.items()} or fields
    texts = _texts(cls, [*fields])
    for name, kind in fields.items():
        if name not in texts:
            raise SystemExit(f"the docstring of {cls.__name__} says nothing of {name}. Write there: {name}: ...")
        yield name, _kind(kind), texts[name]
    for name, one in vars(cls).items():
        if isinstance(one, property) and one.fget is not None:
            kind = inspect.signature(one.fget).return_annotation
            yield name, _kind(str(kind)), " ".join((inspect.getdoc(one) or "").split())


def _texts(cls: type, names: list[str]) -> dict[str, str]:
    """By name, what the docstring says after `name: ` or `name, other: `."""
    text = " ".join((inspect.getdoc(cls) or "").partition("\n\n")[2].split())
    any_name = "|".join(names)
    parts = re.split(rf"(?:^|(?<=\. ))((?:{any_name})(?:, (?:{any_name}))*): ", text)
    found = {}
    for several, told in zip(parts[1::2], parts[2::2], strict=True):
        for name in several.split(", "):
            found[name] = told.strip()
    return found


def _kind(annotation: str) -> str:
    text = re.sub(r"<class '([\w.]+)'>", r"\1", annotation).strip("'\"")
    return re.sub(r"\b(?:[a-z_]+\.)+(?=\w)", "", text).replace("|", "\\|")


def _cell(text: str) -> str:
    return (text[:1].upper() + text[1:]).replace("|", "\\|")
