"""Files of an application that stand in the place of a module of Python's or of an installed package.

The application's folder comes first on sys.path, so `random.py` in it is what everybody gets who imports random.
"""

import sys
from collections.abc import Iterator
from importlib.machinery import PathFinder
from pathlib import Path
from types import TracebackType

__all__ = ["hides", "hiding", "loaded_shadows", "shadow_hint"]


def hides(name: str, folder: Path) -> bool:
    """Whether a file of that name in the folder would hide a module: of the standard library, or an installed one."""
    if name in sys.stdlib_module_names:
        return True
    elsewhere = [place for place in sys.path if place and Path(place) != folder]
    found = PathFinder.find_spec(name, elsewhere)
    return found is not None and found.origin is not None  # else a folder that happens to have the name


def hiding(folder: Path) -> list[Path]:
    """The files directly in the folder that would hide a module that this process has loaded from elsewhere.

    A process that is started in the folder gets them in its place, as workers are. Modules that are part of the
    interpreter can't be hidden.
    """
    files = [*folder.glob("*.py"), *folder.glob("*/__init__.py")]
    return sorted(
        _shown(file) for file in files if (name := _name_in(folder, file)) and _is_from_elsewhere(name, folder)
    )


def loaded_shadows(folder: Path, trace: TracebackType | None = None) -> list[Path]:
    """The files directly in the folder that were loaded, or began to be, and hide a module. trace: of an error."""
    found = {Path(file) for module in list(sys.modules.values()) if (file := _file_of(module))}
    while trace is not None:
        found.add(Path(trace.tb_frame.f_code.co_filename))
        trace = trace.tb_next
    return sorted(file for file in found if (name := _name_in(folder, file)) and hides(name, folder))


def shadow_hint(folder: Path, exc: BaseException) -> str:
    """' /app/random.py hides ...: rename it.' for the files that may be the cause of an error, or ''. Never raises."""
    try:
        found = list(_shadows_of(folder, exc))
    except Exception:  # noqa: BLE001 - it is about to explain another error, in a process where modules are hidden
        return ""
    if not found:
        return ""
    names = " and ".join(str(_shown(file)) for file in found)
    one = len(found) == 1
    what = f"{names} {'hides a module' if one else 'hide modules'} of the same name that Python or a package needs"
    return f" {what}: rename {'it' if one else 'them'}."


def _shadows_of(folder: Path, exc: BaseException) -> Iterator[Path]:
    yield from loaded_shadows(folder, exc.__traceback__)
    if isinstance(exc, SyntaxError) and exc.filename:
        file = Path(exc.filename)
        if (name := _name_in(folder, file)) and hides(name, folder):
            yield file


def _is_from_elsewhere(name: str, folder: Path) -> bool:
    origin = getattr(getattr(sys.modules.get(name), "__spec__", None), "origin", None)
    if origin in (None, "built-in", "frozen"):
        return False
    return not Path(origin).is_relative_to(folder) or "site-packages" in Path(origin).parts


def _shown(file: Path) -> Path:
    return file.parent if file.name == "__init__.py" else file


def _file_of(module: object) -> str | None:
    file = getattr(module, "__file__", None)
    return file if isinstance(file, str) and getattr(module, "__name__", "") != "__main__" else None


def _name_in(folder: Path, file: Path) -> str | None:
    """The name by which a file directly in the folder is imported."""
    if file.parent == folder and file.suffix == ".py":
        return file.stem
    return file.parent.name if file.name == "__init__.py" and file.parent.parent == folder else None
