"""`mulligan init`: lays an application out in a folder.

The files are those of the package's folder `template`, each by name: never what a clone's own application has become.
"""

import os
import re
import unicodedata
from pathlib import Path

import mulligan
from mulligan.cli.exit import UsageError
from mulligan.cli.output import harmless, say, write
from mulligan.core.error import MulliganError
from mulligan.settings.describe import default_of
from mulligan.settings.model import CONFIGURATION_FILE

__all__ = ["FILES", "TEMPLATE", "init", "prefix_of"]

TEMPLATE = Path(mulligan.__file__).parent / "template"

FILES = (
    "main.py",
    "publisher.py",
    "tasks.xml",
    "config/configuration.py",
    "tasks/jira_issue_creator_task.py",
    "tasks/slack_message_sender_task.py",
    "tasks/task1.py",
    "tasks/task2.py",
    "tasks/task3.py",
    "tasks/task4.py",
    "tasks/task4_constants.py",
    "tasks/trello_card_creator_task.py",
)
"""What an application is made of. By name: a file that somebody left in the template is nobody else's."""

_PREFIX_MAX = 60


def init(folder: str) -> None:
    """Write the files of an application into a folder, which is made if it is missing. Never overwrites a file.

    Its queues are called by the folder, so that two applications on one broker don't take each other's messages.
    """
    target = Path(folder)
    contents = {name: _content(name) for name in FILES}
    prefix = prefix_of(target.resolve().name)
    contents[CONFIGURATION_FILE] = contents[CONFIGURATION_FILE].replace(
        default_of("COMMON_PREFIX").encode(), prefix.encode()
    )
    there = [name for name in dict.fromkeys(name.partition("/")[0] for name in FILES) if os.path.lexists(target / name)]
    if there:
        raise UsageError(f"{target}: {', '.join(there)} is there already. Choose an empty folder, or move them away.")
    try:
        for name, content in contents.items():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            with (target / name).open("xb") as file:
                file.write(content)
    except OSError as exc:
        raise UsageError(f"{target}: can't be written: {exc.strerror or exc}. Choose a folder that you own.") from None
    write("\n".join(harmless(str(target / name)) for name in contents))
    enter = "" if target.resolve() == Path.cwd() else f"cd {target} && "
    say(f"COMMON_PREFIX is {prefix}: the queues are {prefix}-requests-q, {prefix}-rejects-q and {prefix}-dead-q")
    say(f"next: {enter}python main.py, and from a second terminal: {enter}python publisher.py s1")


def prefix_of(name: str) -> str:
    """The COMMON_PREFIX for a folder of this name: what of it a prefix may have; the default where that is nothing."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    return re.sub(r"[^A-Za-z0-9_]+", "-", plain)[:_PREFIX_MAX].strip("-") or str(default_of("COMMON_PREFIX"))


def _content(name: str) -> bytes:
    try:
        return (TEMPLATE / name).read_bytes()
    except OSError as exc:
        raise MulliganError(
            f"{TEMPLATE / name}, which mulligan init copies, can't be read: {exc.strerror or exc}. "
            "Install mulligan again."
        ) from None
