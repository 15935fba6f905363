"""From defaults, config/configuration.py and the environment to one checked `Settings`, or to every problem at once."""

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from mulligan.core.error import ConfigurationError
from mulligan.core.event import SettingRenamed
from mulligan.core.value import value
from mulligan.settings import configuration, kubernetes
from mulligan.settings.configuration import Configuration
from mulligan.settings.describe import NAMES, closest, default_of, expected, shown, variable
from mulligan.settings.model import ALIASES, ENVIRONMENT_PREFIX, OTHER_VARIABLES, VALUE_ALIASES, Settings

__all__ = ["DEFAULT", "Loaded", "load"]

DEFAULT = "default"
"""The origin of a value that nobody set."""


@value
class Loaded:
    """Settings, and where each value came from: by upper-case name, "default", a file with its line, or a variable.

    renamed: the settings that were given by earlier names or values.
    """

    settings: Settings
    origins: Mapping[str, str]
    renamed: tuple[SettingRenamed, ...] = ()


@value
class _Given:
    """One value that somebody set. name: as it is written there, perhaps an alias. place: for a person."""

    name: str
    value: Any
    place: str

    @property
    def is_said(self) -> bool:
        """None and "" stand for the default."""
        return self.value is not None and not (isinstance(self.value, str) and not self.value)


def load(app_dir: Path, environ: Mapping[str, str]) -> Loaded:
    """The settings of the application in `app_dir`. The environment wins over the file, the file over the defaults.

    environ: the process's environment. Raises ConfigurationError with all problems.
    """
    from_file = configuration.read(app_dir)
    problems = list(from_file.problems)
    problems += _unknown_variables(environ)
    given = _given(NAMES, from_file, environ)
    aliased = _given(ALIASES, from_file, environ)
    problems += _contradictions(given, aliased)
    given |= _resolved(given, aliased)
    renamed = [*_renamed(aliased, given), *_values_renamed(given)]
    given = {name: _present(name, item) for name, item in given.items()}
    try:
        settings = Settings.model_validate({name.lower(): item.value for name, item in given.items()})
    except ValidationError as exc:
        raise ConfigurationError(problems + list(_problems(exc, given))) from None
    if problems:
        raise ConfigurationError(problems)
    origins = {name: given[name].place if name in given else DEFAULT for name in NAMES}
    return Loaded(settings, origins, tuple(renamed))


def _given(names: Iterable[str], from_file: Configuration, environ: Mapping[str, str]) -> dict[str, _Given]:
    result: dict[str, _Given] = {}
    for name in names:
        if variable(name) in environ:
            result[name] = _Given(name, environ[variable(name)], f"environment variable {variable(name)}")
        elif name in from_file.values:
            result[name] = _Given(name, from_file.values[name], from_file.place(name))
    return result


def _contradictions(given: Mapping[str, _Given], aliased: Mapping[str, _Given]) -> Iterator[str]:
    """Problems of settings that both of their names say, and differently: neither is known to be the one meant."""
    for old, said in aliased.items():
        other = given.get(ALIASES[old].name)
        if other is None or not (other.is_said and said.is_said):
            continue
        if str(_present(other.name, other).value) != str(_present(other.name, said).value):
            yield (
                f"{said.place}: {old} is {shown(other.name, said.value)}, and {other.name} is "
                f"{shown(other.name, other.value)} ({other.place}). They are two names for one setting: "
                f"{ALIASES[old].meaning}. Keep {other.name}, and remove {old}."
            )


def _resolved(given: Mapping[str, _Given], aliased: Mapping[str, _Given]) -> dict[str, _Given]:
    """What the earlier names say of settings that their present ones leave open, by present name."""
    named = {ALIASES[old].name: said for old, said in aliased.items()}
    return {name: said for name, said in named.items() if name not in given or not given[name].is_said}


def _renamed(aliased: Mapping[str, _Given], given: Mapping[str, _Given]) -> Iterator[SettingRenamed]:
    """One per earlier name. Where the value is an earlier one too, `_values_renamed` names both."""
    for old, said in aliased.items():
        name = ALIASES[old].name
        has_both = given.get(name) is said and _present(name, said) is not said
        if said.is_said and not has_both:
            yield SettingRenamed(old, name, ALIASES[old].meaning, said.place)


def _values_renamed(given: Mapping[str, _Given]) -> Iterator[SettingRenamed]:
    for name, said in given.items():
        now = _present(name, said).value
        if now != said.value:
            yield SettingRenamed(f"{said.name}={said.value}", f"{name}={now}", "it means the same", said.place)


def _present(name: str, given: _Given) -> _Given:
    """The same, with an earlier value under its present name. name: the setting's."""
    values = VALUE_ALIASES.get(name, {})
    if not isinstance(given.value, str) or given.value not in values:
        return given
    return _Given(given.name, values[given.value], given.place)


def _unknown_variables(environ: Mapping[str, str]) -> Iterator[str]:
    known = [variable(name) for name in (*NAMES, *ALIASES)]
    for name in sorted(environ):
        if (
            name.startswith(ENVIRONMENT_PREFIX)
            and name not in known
            and name not in OTHER_VARIABLES
            and not kubernetes.is_service_link(name)
        ):
            yield (
                # the other variables are for tests and for processes of our own: nobody mistypes them
                f"environment variable {name}: there is no such setting.{closest(name, known)} "
                "Correct or unset it; `mulligan settings` lists all."
            )


def _problems(exc: ValidationError, given: Mapping[str, _Given]) -> Iterator[str]:
    named: set[str] = set()
    for error in exc.errors(include_url=False):
        name = str(error["loc"][0]).upper() if error["loc"] else ""
        if name in named:
            continue  # a tuple's items and a union's members report one by one
        named.add(name)
        yield _problem(name, error, given)


def _problem(name: str, error: ErrorDetails, given: Mapping[str, _Given]) -> str:
    if name not in given:
        # a check over several settings: its text says all
        return re.sub(r"^Value error, ", "", error["msg"])
    seen = given[name]
    return (
        f"{seen.place}: {seen.name} is {shown(name, seen.value)}, expected {expected(name)}. "
        f"Correct it, or remove it for the default {shown(name, default_of(name))}."
    )
