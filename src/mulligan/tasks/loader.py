"""From an application's folder to its tasks: reads tasks.xml, imports the files, and reports every problem at once."""

import contextlib
import inspect
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from mulligan.core.error import ConfigurationError
from mulligan.core.message import TaskName
from mulligan.core.policy import Policy
from mulligan.tasks import importer, manifest
from mulligan.tasks.adapter import adapt
from mulligan.tasks.base import Task
from mulligan.tasks.manifest import Entry
from mulligan.tasks.registry import LoadedTask, TaskRegistry
from mulligan.tasks.text import did_you_mean, shown

__all__ = ["load"]

_MANIFEST = "tasks.xml"


def load(
    app_dir: Path, *, tasks_file: str = _MANIFEST, defaults: Policy | None = None, drops_unrouted: bool = False
) -> TaskRegistry:
    """The application's tasks, checked. Imports user code. Raises ConfigurationError with all problems.

    app_dir: the application's folder; it holds tasks_file and the folder `tasks`, and comes first on sys.path.
    tasks_file: relative to app_dir. Where tasks.xml is missing, every Task class defined in the folder's files is
    taken; a file of another name must be there.
    defaults: for what neither tasks.xml nor the class says.
    drops_unrouted: of the routes: a message that no task takes is acknowledged instead of buried.

    Files are imported under the conditions of a worker in every process: nothing on stdin, no arguments. So what
    loads here loads there.
    """
    with _conditions():
        return _load(app_dir.resolve(), tasks_file, defaults or Policy(), drops_unrouted=drops_unrouted)


@contextlib.contextmanager
def _conditions() -> Iterator[None]:
    stdin, arguments = sys.stdin, sys.argv
    with open(os.devnull, encoding="utf-8") as nothing:  # noqa: PTH123 - not a path of the package
        sys.stdin, sys.argv = nothing, ["mulligan"]
        try:
            yield
        finally:
            sys.stdin, sys.argv = stdin, arguments


def _load(app_dir: Path, tasks_file: str, policy: Policy, *, drops_unrouted: bool) -> TaskRegistry:
    folder = app_dir / importer.PACKAGE
    if not folder.is_dir():
        hint = "Change to the application's folder, or create one: mulligan init"
        raise ConfigurationError([f"there is no folder {importer.PACKAGE!r} in {app_dir}. {hint}"])
    importer.prepare(app_dir)
    path = app_dir / tasks_file
    if os.path.lexists(path) or tasks_file != _MANIFEST:
        tasks, problems = _listed(app_dir, path, policy)
    else:
        tasks, problems = _found(app_dir, policy)
    if not problems and not any(not task.is_default for task in tasks):
        problems.append(
            f"{tasks_file}: every task in it is a default (alert) task, so no task would handle a message. "
            "Set <default>false</default> for at least one."
        )
    if problems:
        raise ConfigurationError(problems)
    return TaskRegistry({task.name: task for task in tasks}, drops_unrouted=drops_unrouted)


Loaded = tuple[list[LoadedTask], list[str]]


def _listed(app_dir: Path, path: Path, defaults: Policy) -> Loaded:
    """The tasks that the manifest lists."""
    try:
        listed, problems = manifest.read(path)
    except OSError as exc:
        raise ConfigurationError(
            [f"TASKS_XML_FILE: {shown(str(path))} can't be read: {exc.strerror or exc}. Name a file that you can read."]
        ) from None
    modules: dict[str, ModuleType | None] = {}
    tasks: list[LoadedTask] = []
    for entry in listed.entries:
        if entry.file_name not in modules:
            modules[entry.file_name] = _module(app_dir, entry, path.name, problems)
        module = modules[entry.file_name]
        cls = _class(module, entry, path.name, problems) if module is not None else None
        if module is not None and cls is not None:
            task, found = adapt(cls, module, entry, defaults, f"{app_dir}/")
            problems.extend(found)
            tasks += [task] if task is not None else []
    return tasks, problems


def _module(app_dir: Path, entry: Entry, manifest_name: str, problems: list[str]) -> ModuleType | None:
    file = app_dir / importer.PACKAGE / f"{entry.file_name}.py"
    if not file.is_file():
        there = [other.stem for other in file.parent.glob("*.py")]
        problems.append(
            f"{manifest_name} line {entry.line}: there is no file {importer.PACKAGE}/{entry.file_name}.py. "
            f"Correct <filename>, or add the file.{did_you_mean(entry.file_name, there)}"
        )
        return None
    return _imported(app_dir, entry.file_name, problems)


def _imported(app_dir: Path, name: str, problems: list[str]) -> ModuleType | None:
    try:
        return importer.import_file(app_dir, name)
    except ConfigurationError as exc:
        problems.extend(exc.problems)
        return None


def _class(module: ModuleType, entry: Entry, manifest_name: str, problems: list[str]) -> type[Task] | None:
    cls = vars(module).get(entry.class_name)
    where = f"{manifest_name} line {entry.line}"
    file = f"{importer.PACKAGE}/{entry.file_name}.py"
    if not inspect.isclass(cls):
        problems.append(f"{where}: {file} has no class {entry.class_name!r}; {_has(module, entry.class_name)}")
        return None
    if not issubclass(cls, Task):
        problems.append(
            f"{where}: the class {entry.class_name!r} in {file} is not a Task. "
            f"Write: from mulligan import Task, and: class {entry.class_name}(Task)"
        )
        return None
    return cls


def _has(module: ModuleType, wanted: str) -> str:
    names = [cls.__name__ for cls in _classes(module)]
    if not names:
        return "it defines no Task at all. Correct <classname>, or write the class."
    return f"it defines {', '.join(names)}. Correct <classname>.{did_you_mean(wanted, names)}"


def _classes(module: ModuleType) -> list[type[Task]]:
    things = dict.fromkeys(thing for thing in vars(module).values() if inspect.isclass(thing))  # two names, one class
    return [cls for cls in things if issubclass(cls, Task) and cls.__module__ == module.__name__]


def _found(app_dir: Path, defaults: Policy) -> Loaded:
    """Every Task of the folder, in the order of the files' names; those that begin with _ are meant to be inherited."""
    tasks: list[LoadedTask] = []
    problems: list[str] = []
    origins: dict[TaskName, str] = {}
    for file in sorted((app_dir / importer.PACKAGE).glob("*.py")):
        if file.stem == "__init__":
            continue
        if not manifest.FILE_NAME.fullmatch(file.stem):
            problems.append(
                f"{importer.PACKAGE}/{file.name} can't be imported by that name. "
                "Rename it: lower-case letters, digits and _."
            )
            continue
        module = _imported(app_dir, file.stem, problems)
        if module is None:
            continue
        for cls in _wanted(module):
            task, found = adapt(cls, module, Entry(file.stem, cls.__name__, is_default=False), defaults, f"{app_dir}/")
            problems.extend(found)
            if task is not None:
                tasks.append(task)
                problems.extend(_twice(task, origins))
    if not tasks and not problems:
        problems.append(
            f"there is no Task in {app_dir}/{importer.PACKAGE}. Add a file with a class that inherits from Task."
        )
    return tasks, problems


def _wanted(module: ModuleType) -> list[type[Task]]:
    return [cls for cls in _classes(module) if not cls.__name__.startswith("_") and not inspect.isabstract(cls)]


def _twice(task: LoadedTask, origins: dict[TaskName, str]) -> list[str]:
    first = origins.setdefault(task.name, task.origin)
    if first == task.origin:
        return []
    hint = "Tasks are identified by their class name: rename one of them."
    return [f"{task.origin}: the class {task.name!r} is in {first}, too. {hint}"]
