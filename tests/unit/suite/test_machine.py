"""Clocks, dice and environment are read in one module each; everything else is handed what it needs."""

import ast
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[3] / "src" / "mulligan"
CLOCKS = {
    "time": {"time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns", "sleep"},
    "datetime": {"now", "utcnow", "today"},
    "date": {"today"},
    "random": {"random", "uniform", "randint", "randrange", "choice", "choices", "sample", "shuffle", "gauss"},
}
ENVIRONMENT = {"os": {"environ", "environb", "getenv", "getenvb", "putenv", "unsetenv"}}
GIVEN = ("brokers", "integrations", "ledger", "settings", "storage", "tasks", "telemetry")
"""Packages whose callers say which clock counts. The machine's may be the default of a parameter of theirs."""


@cache
def modules() -> list[tuple[str, ast.Module]]:
    """By name, but for the users' own files."""
    paths = {str(path.relative_to(PACKAGE)): path for path in sorted(PACKAGE.rglob("*.py"))}
    return [(name, ast.parse(path.read_text())) for name, path in paths.items() if not name.startswith("template/")]


def reads(tree: ast.AST, names: dict[str, set[str]]) -> list[str]:
    """What a module takes of these, as `module.name`, by whichever import."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            owner = ast.unparse(node.value).removeprefix("datetime.")
            found += [f"{owner}.{node.attr}"] if node.attr in names.get(owner, ()) else []
        elif isinstance(node, ast.ImportFrom):
            taken = (one.name for one in node.names)
            found += [f"{node.module}.{one}" for one in taken if one in names.get(node.module or "", ())]
    return found


def uses_beside_defaults(tree: ast.AST) -> list[int]:
    """Lines that use the machine's clock otherwise than as a type, or as the default of a parameter or attribute."""
    allowed = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            allowed |= {id(one) for default in node.args.defaults for one in ast.walk(default)}
            allowed |= {id(one) for default in node.args.kw_defaults if default for one in ast.walk(default)}
        elif isinstance(node, ast.ClassDef):
            allowed |= {id(one) for line in node.body if isinstance(line, ast.AnnAssign) for one in ast.walk(line)}
    return [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute | ast.Call)
        and isinstance(target := node.func if isinstance(node, ast.Call) else node.value, ast.Name)
        and target.id == "SystemClock"
        and id(node) not in allowed
    ]


def test_clock_and_dice_of_the_machine_are_read_in_one_module():
    found = {name: read for name, tree in modules() if (read := reads(tree, CLOCKS))}

    assert list(found) == ["clock.py"]


def test_environment_is_read_in_one_module():
    found = {name: read for name, tree in modules() if (read := reads(tree, ENVIRONMENT))}

    assert found == {"environ.py": ["os.environ"]}


def test_brokers_ledgers_and_tasks_use_the_clock_that_they_are_given():
    found = {
        name: lines for name, tree in modules() if name.startswith(GIVEN) and (lines := uses_beside_defaults(tree))
    }

    assert found == {}


# -- what these tests would notice


@pytest.mark.parametrize(
    ("code", "read"),
    [
        ("import time\ndef at(): return time.time()", ["time.time"]),
        ("from time import monotonic", ["time.monotonic"]),
        ("import datetime\nx = datetime.datetime.now()", ["datetime.now"]),
        ("from random import choice", ["random.choice"]),
        ("x = self.random.choice([1])", []),
        ("from random import Random\nfrom time import strftime, gmtime\nx = gmtime(5)", []),
    ],
)
def test_a_read_of_a_clock_or_dice_is_seen_however_it_is_imported(code, read):
    assert reads(ast.parse(code), CLOCKS) == read


@pytest.mark.parametrize(
    "code", ["import os\nx = os.environ['A']", "from os import environ", "import os\nos.getenv('A')"]
)
def test_a_read_of_the_environment_is_seen_however_it_is_imported(code):
    assert len(reads(ast.parse(code), ENVIRONMENT)) == 1


@pytest.mark.parametrize(
    ("code", "lines"),
    [
        ("def at(rand=SystemClock.random): return rand()", []),
        ("class A:\n    now: Callable = staticmethod(SystemClock.now)", []),
        ("def at(clock: SystemClock): return clock.now()", []),
        ("def at():\n    return SystemClock.now()", [2]),
        ("def at():\n    clock = SystemClock()", [2]),
    ],
)
def test_a_clock_of_ones_own_is_seen_and_a_default_is_none(code, lines):
    assert uses_beside_defaults(ast.parse(code)) == lines
