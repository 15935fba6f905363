"""What an application stands on: its folder, the places that it writes to, the functions that its settings name.

Each look gives a sentence, or raises ConfigurationError with what is wrong.
"""

import secrets
from pathlib import Path

from mulligan.core.error import ConfigurationError, PackingError
from mulligan.settings.load import DEFAULT, Loaded
from mulligan.settings.model import Settings
from mulligan.storage.body import BodyFolder

__all__ = ["is_application", "of_bodies", "of_functions", "of_log", "require_application", "require_own_names"]


def is_application(folder: Path, loaded: Loaded) -> bool:
    """Whether the folder holds an application, or somebody said where its queues are."""
    if (folder / "tasks").is_dir() or (folder / "config" / "configuration.py").exists():
        return True
    return loaded.origins["BROKER_URL"] != DEFAULT


def require_application(folder: Path, loaded: Loaded) -> None:
    """Raise where a queue would be made, or missed, only because the command runs in a wrong folder."""
    if not is_application(folder, loaded):
        raise ConfigurationError(
            [
                f"there is no application in {folder}: neither tasks/ nor config/configuration.py, and "
                "MULLIGAN_BROKER_URL is not set. Change to the application's folder, or create one: mulligan init"
            ]
        )


def require_own_names(folder: Path) -> None:
    """Raise where a file of the application's folder hides a module that the program needs: workers would get it."""
    from mulligan.tasks.shadow import hiding

    if found := hiding(folder):
        raise ConfigurationError(
            [
                f"{file} hides the module {file.stem!r} of Python or of a package from the workers. Rename it."
                for file in found
            ]
        )


def of_functions(chosen: Settings, folder: Path) -> str:
    """The functions around tasks and events. Imports them."""
    from mulligan.worker.extension import load_functions

    problems: list[str] = []
    for names, setting in ((chosen.middleware, "MIDDLEWARE"), (chosen.listeners, "LISTENERS")):
        try:
            load_functions(names, setting, folder)
        except ConfigurationError as exc:
            problems += exc.problems
    if problems:
        raise ConfigurationError(problems)
    return f"{', '.join((*chosen.middleware, *chosen.listeners))} can be imported"


def of_bodies(chosen: Settings, folder: Path) -> str:
    """The folder of stored bodies, by a file that is written and removed."""
    path = folder / chosen.bodies_url
    bodies = BodyFolder(path)
    name = f"check-{secrets.token_hex(4)}"
    try:
        bodies.keep(name, b"")
        bodies.drop(name)
        sizes = [file.stat().st_size for file in path.iterdir() if file.is_file()]
    except (PackingError, OSError) as exc:
        cause = exc.__cause__ or exc.__context__ or exc
        reason = cause.strerror if isinstance(cause, OSError) and cause.strerror else str(cause)
        if isinstance(cause, FileExistsError):
            reason = "a file is in its place"
        raise ConfigurationError(
            [
                f"BODIES_URL: the folder {str(path)!r} can't be written: {reason}. A message as large as its "
                "queue allows could not be retried. Name a folder that this user can write to."
            ]
        ) from None
    held = f", {len(sizes)} in it with {sum(sizes):,} bytes" if sizes else ""
    return f"{chosen.bodies_url}: can be written{held}"


def of_log(chosen: Settings, folder: Path) -> str:
    """The log file, which is made where it is missing. Its name is not None."""
    from mulligan.telemetry.sink import FileSink

    path = folder / str(chosen.log_file)
    sink = FileSink(path, max_bytes=1, backups=0, rotates=False, now=lambda: 0.0, report=lambda _: None)
    sink.close()
    return f"{chosen.log_file}: can be written"
