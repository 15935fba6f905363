"""Reading config/configuration.py: it is run as a module, and its upper-case names are the settings.

Nothing that it does can end in a traceback: every mistake comes back as a problem with its line.
"""

import ast
import contextlib
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mulligan.core.cause import with_causes
from mulligan.core.value import value
from mulligan.settings.describe import NAMES, closest
from mulligan.settings.model import ALIASES, CONFIGURATION_FILE

__all__ = ["Configuration", "read"]


@value
class Configuration:
    """What the file says. values: by upper-case name. lines: where each was last assigned. problems: full sentences."""

    values: dict[str, Any]
    lines: dict[str, int]
    problems: tuple[str, ...] = ()

    def place(self, name: str) -> str:
        """'config/configuration.py line 12' for a name of the file."""
        line = self.lines.get(name)
        return f"{CONFIGURATION_FILE} line {line}" if line else CONFIGURATION_FILE


KNOWN = (*NAMES, *ALIASES)
NOTHING = Configuration({}, {})


def read(app_dir: Path) -> Configuration:
    """Run the configuration file of the application. A file that is missing says nothing, and that is not a problem."""
    path = app_dir / CONFIGURATION_FILE
    try:
        source = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return NOTHING
    except OSError as exc:
        return _failed(
            f"{CONFIGURATION_FILE} can't be read: {exc.strerror or exc}. Make it a readable file, or remove it."
        )
    try:
        tree = ast.parse(source, filename=str(path))
        code = compile(tree, str(path), "exec")
    except SyntaxError as exc:
        return _failed(f"{CONFIGURATION_FILE} line {exc.lineno or 1}: {exc.msg}. Correct the Python there.")
    except (ValueError, RecursionError, MemoryError) as exc:
        return _failed(f"{CONFIGURATION_FILE} is not a Python file: {exc}. Correct it, or remove it.")
    module = types.ModuleType("config.configuration")
    module.__file__ = str(path)
    try:
        with _importable(app_dir), contextlib.chdir(app_dir):  # and back, should the file change the folder
            exec(code, module.__dict__)  # noqa: S102 - the configuration is Python, as the request has it
    except KeyboardInterrupt:
        raise
    except BaseException as exc:  # noqa: BLE001 - the user's code may raise anything, SystemExit too
        return _failed(f"{CONFIGURATION_FILE} line {_line_of(exc, path)}: it raised {_named(exc)}. Correct the line.")
    names = {name: item for name, item in vars(module).items() if not name.startswith("_")}
    lines = dict(_assignments(tree))
    found = Configuration({name: item for name, item in names.items() if name.isupper()}, lines)
    return Configuration(
        {name: item for name, item in found.values.items() if name in KNOWN}, lines, tuple(_misnamed(names, found))
    )


def _misnamed(names: dict[str, Any], found: Configuration) -> Iterator[str]:
    for name, item in names.items():
        if isinstance(item, types.ModuleType):
            continue
        if name.isupper() and name not in KNOWN:
            yield (
                f"{found.place(name)}: {name} is not a setting.{closest(name, NAMES)} "
                "Correct or remove it; a name of your own begins with '_'."
            )
        elif not name.isupper() and name.upper() in KNOWN and name in found.lines:
            yield f"{found.place(name)}: settings are written in upper case. Write {name.upper()} for {name}."


def _assignments(tree: ast.Module) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id, node.lineno


@contextmanager
def _importable(app_dir: Path) -> Iterator[None]:
    # `python main.py` has the folder on the path, the `mulligan` script has not: the file must mean the same to both
    folder = str(app_dir)
    if folder in sys.path:
        yield
        return
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        if folder in sys.path:
            sys.path.remove(folder)


def _line_of(exc: BaseException, path: Path) -> int:
    line, trace = 1, exc.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == str(path):
            line = trace.tb_lineno
        trace = trace.tb_next
    return line


def _named(exc: BaseException) -> str:
    try:
        text = str(exc).splitlines()
    except Exception:  # noqa: BLE001 - an exception of the user's may raise in its __str__
        text = []
    return with_causes(f"{type(exc).__name__}: {text[0]}" if text and text[0] else type(exc).__name__, exc)


def _failed(problem: str) -> Configuration:
    return Configuration({}, {}, (problem,))
