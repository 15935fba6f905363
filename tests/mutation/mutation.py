"""A mutation: a safety line, how it is taken away, and what has to notice. One TOML file each in `mutations/`.

    safety = "what the line is for"
    seeds = [17]                      # of the simulation, known to notice; first, then others are tried
    tests = ["tests/...::test_..."]   # in place of seeds, where the simulation can't see it: all of them must fail

    [[change]]                        # one or more
    file = "ledger/memory.py"         # below src/mulligan
    old = '''...'''                   # must be in the file exactly once; the lines around it may move
    new = '''...'''

It is applied to a copy of `src` in a temporary folder; the tree stays as it is.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

__all__ = [
    "FOLDER",
    "Change",
    "Found",
    "Mutation",
    "MutationError",
    "apply",
    "load",
    "noticed",
    "read",
    "renew",
    "table",
]

REPOSITORY = Path(__file__).resolve().parents[2]
FOLDER = Path(__file__).parent / "mutations"

SEEDS_MAX = 400
"""Seeds that are tried, at most: the known ones may not notice any more when the worker's steps have changed."""

_LIMIT_S = 600.0


class MutationError(Exception):
    """A mutation that can't be used: it does not apply any more, or what runs on it could not run."""


@dataclass(frozen=True)
class Change:
    """file: below src/mulligan. old: is there exactly once."""

    file: str
    old: str
    new: str


@dataclass(frozen=True)
class Mutation:
    """seeds: of the simulation; () when tests have to notice. tests: pytest's ids; each must fail."""

    name: str
    safety: str
    seeds: tuple[int, ...]
    tests: tuple[str, ...]
    changes: tuple[Change, ...]


@dataclass(frozen=True)
class Found:
    """What noticed a mutation. seed: of the simulation; None for a test. how: a violation, or what the test said."""

    by: str
    how: str
    seed: int | None = None


def load() -> list[Mutation]:
    """All mutations, by name."""
    return [read(path) for path in sorted(FOLDER.glob("*.toml"))]


def read(path: Path) -> Mutation:
    """The mutation of a file. Raises MutationError with its name."""
    data = tomllib.loads(path.read_text("utf-8"))
    seeds, tests = tuple(data.get("seeds", ())), tuple(data.get("tests", ()))
    if bool(seeds) == bool(tests):
        raise MutationError(f"mutation {path.stem}: expected either seeds or tests that notice it")
    changes = tuple(Change(one["file"], one["old"].strip("\n"), one["new"].strip("\n")) for one in data["change"])
    return Mutation(path.stem, data["safety"], seeds, tests, changes)


def renew(name: str, seed: int, folder: Path = FOLDER) -> None:
    """Write the only seed that is known to notice a mutation."""
    path = folder / f"{name}.toml"
    path.write_text(re.sub(r"^seeds = .*$", f"seeds = [{seed}]", path.read_text("utf-8"), flags=re.MULTILINE), "utf-8")


def apply(mutation: Mutation, source: Path) -> None:
    """Change the files below source/mulligan. Raises MutationError where the old text is not found exactly once."""
    for change in mutation.changes:
        path = source / "mulligan" / change.file
        text = path.read_text("utf-8") if path.is_file() else ""
        if (count := text.count(change.old)) != 1:
            raise MutationError(
                f"mutation {mutation.name} does not apply any more: its old text is {count} times in"
                f" src/mulligan/{change.file}, expected once. If the line has moved or was reworded, write the mutation"
                f" anew; if the safety is gone, ask why.\n{change.old}"
            )
        mutated = text.replace(change.old, change.new)
        compile(mutated, str(path), "exec")
        for compiled in path.parent.glob(f"__pycache__/{path.stem}.*.pyc"):
            compiled.unlink()
        path.write_text(mutated, "utf-8")


def noticed(mutation: Mutation, folder: Path) -> Found | None:
    """What noticed the mutation; None when nothing did. folder: empty, for the copy. Raises MutationError."""
    source = folder / "src"
    shutil.copytree(REPOSITORY / "src", source)  # with what is compiled of it
    apply(mutation, source)
    return _simulated(mutation, source) if mutation.seeds else _tested(mutation, source)


def _simulated(mutation: Mutation, source: Path) -> Found | None:
    others = [seed for seed in range(SEEDS_MAX) if seed not in mutation.seeds]
    seeds = [*mutation.seeds, *others][:SEEDS_MAX]
    done = _run(mutation, source, ["-m", "tests.mutation.hunt", str(source), *map(str, seeds)])
    if done.returncode != 0:
        raise MutationError(f"mutation {mutation.name}: the simulation does not run on it\n{done.stdout}{done.stderr}")
    found = json.loads(done.stdout)
    if found["seed"] is None:
        return None
    return Found(f"seed {found['seed']}", found["violations"][0], found["seed"])


def _tested(mutation: Mutation, source: Path) -> Found | None:
    command = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "--no-header", "--tb=line", *mutation.tests]
    done = _run(mutation, source, command)
    failed = [line for line in done.stdout.splitlines() if line.startswith("FAILED ")]
    if done.returncode == 0:
        return None
    if done.returncode != 1 or "ERROR " in done.stdout:
        raise MutationError(f"mutation {mutation.name}: its tests can't be run\n{done.stdout}{done.stderr}")
    for test in mutation.tests:
        if not any(test in line for line in failed):
            return None
    by, _, how = failed[0].removeprefix("FAILED ").partition(" - ")
    return Found(by, how)


def _run(mutation: Mutation, source: Path, arguments: list[str]) -> "subprocess.CompletedProcess[str]":
    environment = {name: item for name, item in os.environ.items() if not name.startswith("PYTEST_")}
    environment |= {"PYTHONPATH": f"{source}:{REPOSITORY}", "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        return subprocess.run(
            [sys.executable, *arguments], cwd=REPOSITORY, env=environment, capture_output=True, text=True,
            timeout=_LIMIT_S, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as exc:
        raise MutationError(f"mutation {mutation.name}: what runs on it had not ended after {_LIMIT_S:g} s") from exc


def table(mutations: list[Mutation]) -> str:
    """The mutations as docs/simulation.md lists them."""
    rows = [
        f"| `{one.name}` | {one.safety} | "
        + ", ".join([f"seed {seed}" for seed in one.seeds] + [f"`{test.rpartition('::')[2]}`" for test in one.tests])
        + " |"
        for one in mutations
    ]
    return "\n".join(["| mutation | what is taken away | noticed by |", "|---|---|---|", *rows])
