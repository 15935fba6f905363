"""Says where the repository's own application is not what `mulligan init` lays out.

The template is src/mulligan/template; main.py, publisher.py, tasks.xml, config/ and tasks/ of the repository are the
same application, to be tried at once. Nothing is written here: which of two files is right, a person knows.

.venv/bin/python tools/template.py    exit 1 when they differ
"""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from mulligan.cli.init import FILES

ROOT = Path(__file__).resolve().parent.parent
TEMPLATE = "src/mulligan/template"


def tracked(root: Path, *places: str) -> list[str]:
    """Files of these places that git knows, sorted; [] where there is no git, or no repository."""
    try:
        told = subprocess.run(
            ["git", "ls-files", "-z", "--", *places], cwd=root, check=True, capture_output=True, text=True
        )
    except (OSError, subprocess.CalledProcessError):
        return []
    return sorted(name for name in told.stdout.split("\0") if name)


def differences(root: Path) -> Iterator[str]:
    """A sentence for each file that the two do not share."""
    known = [name.removeprefix(f"{TEMPLATE}/") for name in tracked(root, TEMPLATE)]
    for name in sorted({*known} - {*FILES}):
        yield f"{TEMPLATE}/{name} is not in FILES of src/mulligan/cli/init.py: mulligan init leaves it out. Name it."
    for name in tracked(root, "config", "tasks"):
        if name not in FILES:
            yield (
                f"{name} is in the repository, and not in {TEMPLATE}. Copy it there and name it in FILES of "
                f"src/mulligan/cli/init.py, or, if it is of your own application: git rm --cached {name}"
            )
    for name in FILES:
        here, there = root / name, root / TEMPLATE / name
        if not there.is_file():
            yield f"{there.relative_to(root)} is missing, and mulligan init lays it out: cp {name} {TEMPLATE}/{name}"
        elif not here.is_file() or here.read_bytes() != there.read_bytes():
            yield f"{name} is not what mulligan init lays out. Copy the right one over the other: {TEMPLATE}/{name}"


def main() -> int:
    """The exit code."""
    found = list(differences(ROOT))
    for sentence in found:
        print(sentence, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
