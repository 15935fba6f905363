"""Finds the tasks in the tasks folder that tasks.xml doesn't name: no message goes to them, and nobody would say so.

The files are read, not imported: what is not listed may be anything, and its code is not asked for.
"""

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import mulligan
from mulligan.core.value import value
from mulligan.tasks.importer import PACKAGE

__all__ = ["Unlisted", "unlisted"]

_OURS = "mulligan"
_DEPTH_MAX = 50
_TEMPLATE = Path(mulligan.__file__).parent / "template" / PACKAGE


@value
class Unlisted:
    """A class that would be a task. file: such as "tasks/order.py"."""

    file: str
    class_name: str


@value
class _Class:
    """A class of a file. bases: dotted, from where they are imported: "mulligan.Task", "tasks.base.Shop"."""

    bases: tuple[str, ...]
    is_abstract: bool


def unlisted(app_dir: Path, tasks_file: str) -> list[Unlisted]:
    """Task classes of app_dir/tasks whose name is nowhere in the manifest, in the order of files and lines.

    A name in a comment of the manifest counts: that is how a task is switched off. Left out are also names that begin
    with _, abstract classes, classes that others in the folder inherit from, and samples as `mulligan init` lays them
    out. [] without a manifest: then all are taken. Never raises; a file that can't be read or parsed is left out.
    """
    try:
        manifest = (app_dir / tasks_file).read_text("utf-8", "replace")
    except (OSError, ValueError):
        return []
    known = set(re.findall(r"\w+", manifest))
    classes = dict(_classes(app_dir / PACKAGE))
    inherited = {base for one in classes.values() for base in one.bases}
    found = []
    for path, one in classes.items():
        _, file, name = path.split(".")
        is_base = name.startswith("_") or one.is_abstract or path in inherited
        if name not in known and not is_base and _is_task(path, classes, _DEPTH_MAX):
            found.append(Unlisted(f"{PACKAGE}/{file}.py", name))
    return found


def _is_task(path: str, classes: Mapping[str, _Class], depth: int) -> bool:
    top, _, name = path.partition(".")
    if top == _OURS:
        return name.endswith("Task")  # Task itself, and the ready tasks
    one = classes.get(path)
    return one is not None and depth > 0 and any(_is_task(base, classes, depth - 1) for base in one.bases)


def _classes(folder: Path) -> Iterator[tuple[str, _Class]]:
    """By "tasks.<file>.<class>"."""
    for file in sorted(folder.glob("*.py")):
        if not file.stem.isidentifier() or file.stem.startswith(("test_", "conftest", "__")):
            continue
        try:
            source = file.read_bytes()
            body = [] if _is_sample(file.name, source) else ast.parse(source).body
        except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
            continue
        module = f"{PACKAGE}.{file.stem}"
        origins: dict[str, str] = {}
        for node in body:
            origins.update(_imported(node, module))
            if isinstance(node, ast.ClassDef):
                origins[node.name] = f"{module}.{node.name}"
                yield f"{module}.{node.name}", _class(node, origins)


def _is_sample(name: str, source: bytes) -> bool:
    try:
        return (_TEMPLATE / name).read_bytes() == source
    except OSError:
        return False


def _imported(node: ast.stmt, module: str) -> Iterator[tuple[str, str]]:
    """(local name, where it is from) of what a statement imports."""
    if isinstance(node, ast.Import):
        for one in node.names:
            top = one.name.partition(".")[0]
            yield one.asname or top, one.name if one.asname else top
    elif isinstance(node, ast.ImportFrom):
        package = f"{module.partition('.')[0]}.{node.module or ''}".rstrip(".") if node.level else node.module or ""
        for one in node.names:
            if one.name == "*" and package == _OURS:
                yield "Task", f"{_OURS}.Task"
            else:
                yield one.asname or one.name, f"{package}.{one.name}"


def _class(node: ast.ClassDef, origins: Mapping[str, str]) -> _Class:
    bases = tuple(filter(None, (_dotted(base, origins) for base in node.bases)))
    marks = [mark for one in ast.walk(node) for mark in getattr(one, "decorator_list", ())]
    return _Class(bases, any(ast.unparse(mark).endswith("abstractmethod") for mark in marks))


def _dotted(node: ast.expr, origins: Mapping[str, str]) -> str:
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if isinstance(node, ast.Subscript):  # a generic base
        return _dotted(node.value, origins)
    if not isinstance(node, ast.Name):
        return ""
    return ".".join([origins.get(node.id, node.id), *reversed(parts)])
