"""`mulligan init`: lays an application out in a folder.

The files are those of the repository's own application, once: the build puts them into the package as `cli/template`
(see force-include in pyproject.toml); in a checkout they are taken from its root.
"""

import os
from collections.abc import Iterator
from pathlib import Path

from mulligan.cli.ending import UsageError
from mulligan.cli.output import harmless, say, write
from mulligan.core.error import MulliganError

__all__ = ["TEMPLATE", "init", "template_files"]

TEMPLATE = ("main.py", "publisher.py", "tasks.xml", "config", "tasks")
"""What an application is made of: files, and folders with all their Python files."""


def init(folder: str) -> None:
    """Write the files of an application into a folder, which is made if it is missing. Never overwrites a file."""
    target = Path(folder)
    files = {name: content.read_bytes() for name, content in template_files()}
    there = [name for name in TEMPLATE if os.path.lexists(target / name)]
    if there:
        raise UsageError(f"{target}: {', '.join(there)} is there already. Choose an empty folder, or move it away.")
    try:
        for name, content in files.items():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            with (target / name).open("xb") as file:
                file.write(content)
    except OSError as exc:
        raise UsageError(f"{target}: can't be written: {exc.strerror or exc}. Choose a folder that you own.") from None
    write("\n".join(harmless(str(target / name)) for name in files))
    enter = "" if target.resolve() == Path.cwd() else f"cd {target} && "
    say(f"next: {enter}python main.py, and from a second terminal: {enter}python publisher.py s1")


def template_files() -> Iterator[tuple[str, Path]]:
    """(path within the application, file to copy) of every file of the template."""
    root = _root()
    for name in TEMPLATE:
        path = root / name
        if path.is_file():
            yield name, path
        for file in sorted(path.rglob("*.py")) if path.is_dir() else ():
            yield str(file.relative_to(root)), file


def _root() -> Path:
    packaged = Path(__file__).parent / "template"
    checkout = Path(__file__).parents[3]
    for root in (packaged, checkout):
        if (root / "tasks.xml").is_file() and (root / "tasks").is_dir():
            return root
    raise MulliganError(f"the application's files are not in {packaged}. Install mulligan again.")
