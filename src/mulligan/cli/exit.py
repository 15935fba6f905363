"""How a command ends: the one place where errors become a text and an exit code.

0 ok, 1 failure, 2 usage or configuration, 3 unhealthy or partly done, 4 broker not reachable, 5 ledger not reachable,
75 the installation was changed under a running system: start again, 130 interrupted.
"""

import os
import traceback
from collections.abc import Callable
from enum import IntEnum
from errno import ENOSPC
from pathlib import Path

from typer import Abort, TyperException

from mulligan.cli.output import drop, flush, say, secretive
from mulligan.core.cause import with_causes
from mulligan.core.error import (
    BrokerUnavailable,
    ConfigurationError,
    InstallationChangedError,
    LedgerUnavailable,
    LeftUndoneError,
    MulliganError,
)
from mulligan.environ import ENVIRON

__all__ = ["Code", "PartialError", "UsageError", "ended"]


_STDERR = 2


class Code(IntEnum):
    """Exit codes of every command."""

    OK = 0
    FAILURE = 1
    USAGE = 2
    PARTLY = 3
    UNREACHABLE = 4
    LEDGER_UNREACHABLE = 5
    CHANGED = 75  # EX_TEMPFAIL of sysexits.h
    INTERRUPTED = 130


class UsageError(MulliganError):
    """What was asked for can't be done as asked. Exit code 2."""


class PartialError(MulliganError):
    """Some of it was done, some was not; the text says which. Exit code 3."""


def ended(command: Callable[[], int | None]) -> int:
    """Run a command; its exit code. An error is a few lines on stderr, without traceback unless MULLIGAN_DEBUG=1."""
    with secretive():
        return _ended(command)


def _ended(command: Callable[[], int | None]) -> int:
    _hold_standard_descriptors()
    try:
        code = command()
        flush()
    except BrokenPipeError:
        return _quiet()
    except SystemExit as exc:
        # what the parser makes of a broken pipe
        if isinstance(exc.__context__, BrokenPipeError):
            return _quiet()
        raise
    except (KeyboardInterrupt, Abort):
        say("interrupted")
        return Code.INTERRUPTED
    except TyperException as exc:
        return _misused(exc)
    except MulliganError as exc:
        return _failed(exc)
    except Exception as exc:  # noqa: BLE001 - the last resort: one line for a person instead of a traceback
        return _refused(exc) if isinstance(exc, OSError) else _unexpected(exc)
    if code == Code.INTERRUPTED:  # what the parser makes of Ctrl-C
        say("interrupted")
    return Code.OK if code is None else code


def _hold_standard_descriptors() -> None:
    """Have something at 0, 1 and 2: a socket or database that got such a number would be taken for what was closed."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= _STDERR:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)


def code_of(error: MulliganError) -> Code:
    """The exit code of an error."""
    if isinstance(error, (ConfigurationError, UsageError)):
        return Code.USAGE
    if isinstance(error, InstallationChangedError):
        return Code.CHANGED
    if isinstance(error, (PartialError, LeftUndoneError)):
        return Code.PARTLY
    if isinstance(error, LedgerUnavailable):
        return Code.LEDGER_UNREACHABLE
    return Code.UNREACHABLE if isinstance(error, BrokerUnavailable) else Code.FAILURE


def _failed(error: MulliganError) -> Code:
    problems = error.problems if isinstance(error, ConfigurationError) else (str(error),)
    for problem in problems:
        say(f"error: {problem}")
    if len(problems) > 1:
        say(f"{len(problems)} problems")
    _trace(error)
    return code_of(error)


def _misused(error: TyperException) -> Code:
    context = getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError":  # its text is the whole help, and its class is not public
        say(error.format_message())
        return Code.USAGE
    say(f"error: {_sentence(error.format_message())}")
    if context is not None:
        say(f"try: {context.command_path} --help")
    return Code.USAGE


def _sentence(text: str) -> str:
    # texts of the parser's, in the words of all other hints
    text = text.replace("Value error, ", "")
    head, mark, rest = text.partition(" (Possible options: ")
    return f"{head}. Did you mean {rest.rstrip(')')}?" if mark else text


def _refused(error: OSError) -> Code:
    """What the parser prints, help and version, it prints itself: there a full stdout is an error of no file."""
    if error.errno == ENOSPC and error.filename is None:
        drop()
        return _failed(MulliganError(f"stdout can't be written: {error.strerror}. Redirect it elsewhere."))
    return _unexpected(error)


def _unexpected(error: Exception) -> Code:
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    hint = _hint(error)
    described = with_causes(f"unexpected {type(error).__name__}{place}: {error}", error)
    say(f"error: {described}{'.' + hint if hint else ''}")
    if not _trace(error) and not hint:
        say("This is a bug in mulligan. MULLIGAN_DEBUG=1 shows where it comes from.")
    return Code.USAGE if hint else Code.FAILURE


def _hint(error: Exception) -> str:
    """About files of the current folder that hide modules, which makes errors that nobody expects."""
    try:
        from mulligan.tasks.shadow import shadow_hint

        return shadow_hint(Path.cwd(), error)
    except Exception:  # noqa: BLE001 - the modules that are hidden may be needed for it
        return ""


def _trace(error: BaseException) -> bool:
    if ENVIRON.get("MULLIGAN_DEBUG") != "1":
        return False
    say("".join(traceback.format_exception(error)))
    return True


def _quiet() -> Code:
    """The reader of stdout has gone (`| head`) with what it wanted."""
    drop()
    return Code.OK
