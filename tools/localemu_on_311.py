"""Lets localemu's SQS run on Python 3.11: puts generics of Python 3.12 into their older form, in the installed files.

localemu 1.3.2 says that Python 3.10 is enough, and uses the syntax of 3.12 in nine of its 1,452 files; the four that
its SQS imports are mended here. The lock file pins the version by hash, so each text below occurs exactly once; where
one does not, nothing is written and the exit code is 1. On Python 3.12 or later there is nothing to do.

Called by tools/install/localemu.sh: python tools/localemu_on_311.py SITE_PACKAGES
"""

import sys
from pathlib import Path

__all__ = ["MENDED", "mend"]

_VARIABLE = '{0} = __import__("typing").TypeVar("{0}")\n\n\n'

MENDED: dict[str, tuple[tuple[str, str], ...]] = {
    "services/stores.py": (
        ("class RegionBundle[BaseStoreType](dict):", _VARIABLE.format("BaseStoreType") + "class RegionBundle(dict):"),
        ("class AccountRegionBundle[BaseStoreType](dict):", "class AccountRegionBundle(dict):"),
    ),
    "services/sqs/queue.py": (
        ("class InterruptibleQueue[T](Queue):", _VARIABLE.format("T") + "class InterruptibleQueue(Queue):"),
        (
            "class InterruptiblePriorityQueue[T](PriorityQueue[T], InterruptibleQueue[T]):",
            "class InterruptiblePriorityQueue(PriorityQueue, InterruptibleQueue):",
        ),
    ),
    "state/pickle.py": (
        (
            "class ObjectStateReducer[T]:",
            _VARIABLE.format("T") + 'class ObjectStateReducer(__import__("typing").Generic[T]):',
        ),
    ),
    "utils/tagging.py": (("from warnings import deprecated", "from typing_extensions import deprecated"),),
}
"""By file: what is there, and what has to be there."""


def mend(package: Path) -> list[str]:
    """Mend the package in this folder; what was not as expected, and then nothing is written."""
    texts: dict[Path, str] = {}
    problems = []
    for name, pairs in MENDED.items():
        path = package / name
        text = path.read_text("utf-8")
        for old, new in pairs:
            if text.count(old) != 1:
                problems.append(f"{path}: expected {old!r} once, found it {text.count(old)} times")
            text = text.replace(old, new)
        texts[path] = text
    if not problems:
        for path, text in texts.items():
            path.write_text(text, "utf-8")
    return problems


if __name__ == "__main__":
    found = [] if sys.version_info >= (3, 12) else mend(Path(sys.argv[1]) / "localemu")
    for problem in found:
        sys.stderr.write(f"localemu: {problem}\n")
    sys.exit(1 if found else 0)
