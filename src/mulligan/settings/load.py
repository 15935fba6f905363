"""From defaults, config/configuration.py and the environment to one checked `Settings`, or to every problem at once."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from mulligan.core.error import ConfigurationError
from mulligan.core.value import value
from mulligan.settings import configuration
from mulligan.settings.configuration import Configuration
from mulligan.settings.describe import NAMES, closest, default_of, expected, shown, variable
from mulligan.settings.model import ENVIRONMENT_PREFIX, OTHER_VARIABLES, Settings

__all__ = ["DEFAULT", "Loaded", "load"]

DEFAULT = "default"
"""The origin of a value that nobody set."""


@value
class Loaded:
    """Settings, and where each value came from: by upper-case name, "default", a file with its line, or a variable."""

    settings: Settings
    origins: Mapping[str, str]


@value
class _Given:
    """One value that somebody set. place: for a person."""

    value: Any
    place: str


def load(app_dir: Path, environ: Mapping[str, str]) -> Loaded:
    """The settings of the application in `app_dir`. The environment wins over the file, the file over the defaults.

    environ: the process's environment. Raises ConfigurationError with all problems.
    """
    from_file = configuration.read(app_dir)
    problems = list(from_file.problems)
    problems += _unknown_variables(environ)
    given = _given(from_file, environ)
    try:
        settings = Settings.model_validate({name.lower(): item.value for name, item in given.items()})
    except ValidationError as exc:
        raise ConfigurationError(problems + list(_problems(exc, given))) from None
    if problems:
        raise ConfigurationError(problems)
    return Loaded(settings, {name: given[name].place if name in given else DEFAULT for name in NAMES})


def _given(from_file: Configuration, environ: Mapping[str, str]) -> dict[str, _Given]:
    result: dict[str, _Given] = {}
    for name in NAMES:
        if variable(name) in environ:
            result[name] = _Given(environ[variable(name)], f"environment variable {variable(name)}")
        elif name in from_file.values:
            result[name] = _Given(from_file.values[name], from_file.place(name))
    return result


def _unknown_variables(environ: Mapping[str, str]) -> Iterator[str]:
    known = [variable(name) for name in NAMES]
    for name in sorted(environ):
        if name.startswith(ENVIRONMENT_PREFIX) and name not in known and name not in OTHER_VARIABLES:
            yield (
                f"environment variable {name}: there is no such setting.{closest(name, [*known, *OTHER_VARIABLES])} "
                "Correct or unset it; `mulligan settings` lists all."
            )


def _problems(exc: ValidationError, given: Mapping[str, _Given]) -> Iterator[str]:
    told: set[str] = set()
    for error in exc.errors(include_url=False):
        name = str(error["loc"][0]).upper() if error["loc"] else ""
        if name in told:
            continue  # a tuple's items and a union's members report one by one
        told.add(name)
        yield _problem(name, error, given)


def _problem(name: str, error: ErrorDetails, given: Mapping[str, _Given]) -> str:
    if name not in given:
        # a check over several settings: its text says all
        return re.sub(r"^Value error, ", "", error["msg"])
    seen = given[name]
    return (
        f"{seen.place}: {name} is {shown(name, seen.value)}, expected {expected(name)}. "
        f"Correct it, or remove it for the default {shown(name, default_of(name))}."
    )
