"""Imports the files of the tasks folder, as modules `tasks.<name>`; next comes `adapter`, which makes tasks of classes.

A file is user code: importing it can raise anything, and all of that is a problem to report, not a traceback.
"""

import importlib
import importlib.util
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Final

from mulligan.core.error import ConfigurationError
from mulligan.tasks.shadow import hides, shadow_hint
from mulligan.tasks.text import raised

__all__ = ["PACKAGE", "import_file", "prepare"]

PACKAGE: Final = "tasks"

# packages whose name for pip is not the one they are imported by
_PIP_NAMES = {
    "PIL": "Pillow",
    "bs4": "beautifulsoup4",
    "cv2": "opencv-python",
    "dateutil": "python-dateutil",
    "dotenv": "python-dotenv",
    "slack_sdk": "slack-sdk",
    "sklearn": "scikit-learn",
    "trello": "py-trello",
    "yaml": "PyYAML",
}


def prepare(app_dir: Path) -> None:
    """Let `tasks.<name>` mean the files of this application, whatever else of that name is installed or was loaded.

    Puts app_dir first on sys.path, so that tasks may import one another and modules beside them. Modules of another
    application that was loaded before are forgotten. Raises ConfigurationError for the package's own __init__.py.
    """
    folder = app_dir / PACKAGE
    if sys.path[:1] != [str(app_dir)]:
        sys.path.insert(0, str(app_dir))
    importlib.invalidate_caches()
    known = sys.modules.get(PACKAGE)
    if known is not None and list(getattr(known, "__path__", ())) == [str(folder)]:
        return
    for name in [name for name in sys.modules if name == PACKAGE or name.startswith(PACKAGE + ".")]:
        del sys.modules[name]
    spec = importlib.util.spec_from_file_location(
        PACKAGE, folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    if spec is None or not (folder / "__init__.py").exists():
        spec = ModuleSpec(PACKAGE, None, is_package=True)
        spec.submodule_search_locations = [str(folder)]
    package = importlib.util.module_from_spec(spec)
    sys.modules[PACKAGE] = package
    if spec.loader is not None:
        try:
            spec.loader.exec_module(package)
        except (Exception, SystemExit) as exc:  # noqa: BLE001 - user code
            del sys.modules[PACKAGE]
            raise ConfigurationError([_problem(app_dir, "__init__", exc)]) from None


def import_file(app_dir: Path, name: str) -> ModuleType:
    """The module of tasks/<name>.py. Raises ConfigurationError with one problem. Call `prepare` first."""
    try:
        return importlib.import_module(f"{PACKAGE}.{name}")
    except (Exception, SystemExit) as exc:  # noqa: BLE001 - user code
        raise ConfigurationError([_problem(app_dir, name, exc)]) from None


def _problem(app_dir: Path, name: str, exc: BaseException) -> str:
    file = f"{PACKAGE}/{name}.py"
    if isinstance(exc, SyntaxError):
        where = _relative(app_dir, exc.filename) if exc.filename else file
        line = (exc.text or "").strip()[:100]
        shown = f": {line}" if line else ""
        return f"{where} line {exc.lineno or 1}: {exc.msg}{shown}. Correct the Python code."
    where = _where(app_dir, exc) or file
    if isinstance(exc, ModuleNotFoundError) and exc.name:
        return f"{where}: {_missing(app_dir, exc.name)}"
    if isinstance(exc, SystemExit):
        return f"{where}: importing it ends the program (SystemExit: {exc.code!r}). Move that code into `run`."
    if isinstance(exc, ImportError):
        hint = shadow_hint(app_dir, exc) or " Correct the import, or update the package it is from."
        return f"{where}: {raised(exc)}.{hint}"
    hint = shadow_hint(app_dir, exc) if isinstance(exc, AttributeError) else ""
    return f"{where}: importing it raises {raised(exc)}.{hint or ' Correct it, or move the code into `run`.'}"


def _missing(app_dir: Path, module: str) -> str:
    top = module.partition(".")[0]
    if module.rpartition(".")[2] in {"task", "Task"}:
        return f"there is no module {module!r}. The class Task comes from mulligan now: from mulligan import Task"
    if top == PACKAGE and module != PACKAGE:
        return f"there is no file {module.replace('.', '/')}.py in the application's folder. Correct the import."
    if top != module and (app_dir / f"{top}.py").is_file():
        beside = f", and hides the folder {top}/" if (app_dir / top).is_dir() else ""
        cure = "Rename it" if beside or hides(top, app_dir) else "Correct the import, or rename it"
        return f"there is no module {module!r}: {app_dir / top}.py is imported as {top!r}{beside}. {cure}."
    if own := _own(app_dir, top):
        return f"there is no module {module!r} to import by that name. For your own {own[0]} write: {own[1]}"
    if top != module and top in sys.modules:
        return f"the package {top!r} is installed, but has no module {module!r}. Correct the import, or update {top!r}."
    pip_name = _PIP_NAMES.get(top, top)
    return f"imports {module!r}, which is not installed. Install it: {sys.executable} -m pip install {pip_name}"


def _own(app_dir: Path, name: str) -> tuple[str, str] | None:
    """A file of the application's that may be meant, and how to import it: in the tasks folder, or in one beside it."""
    folders = [app_dir / PACKAGE, *sorted(folder for folder in app_dir.iterdir() if folder.is_dir())]
    for folder in folders:
        if not folder.name.isidentifier() or (folder / "pyvenv.cfg").exists():
            continue
        for file in (folder / f"{name}.py", folder / name / "__init__.py"):
            if file.is_file():
                return str(file.relative_to(app_dir)), f"from {folder.name} import {name}"
    return None


def _where(app_dir: Path, exc: BaseException) -> str | None:
    """The innermost line of the application's own code that the error passed through."""
    found = None
    trace = exc.__traceback__
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if file.startswith(f"{app_dir}/{PACKAGE}/"):
            found = f"{_relative(app_dir, file)} line {trace.tb_lineno}"
        trace = trace.tb_next
    return found


def _relative(app_dir: Path, file: str) -> str:
    return file.removeprefix(f"{app_dir}/")
