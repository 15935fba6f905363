"""Prints how the source of a checkout is built, in numbers that can be compared with those of another.

module       a file of a package below src/. Lines are all lines of the file.
function     a `def`, methods and nested ones included. One that only declares (its body is a docstring, `...` or
             nothing else) is not measured.
lines        of a function: from the first statement after its docstring to its end, with comments, blank lines and what
             is nested.
branches     of a function, without what is nested: 1 for each if, elif, conditional expression, for, while, except,
             `case` (not `case _`) and `for` of a comprehension; for `and` and `or` one less than their operands.
             McCabe's number is one more.
p50 p90 p95  the smallest value that 50, 90 or 95 % of the functions don't exceed.
methods      the names that are defined by `def` in a class, private ones and properties included. Brokers (classes
             called ...Broker) are counted apart: their protocol says how many methods they have.
parameters   of `__init__`, without `self`; the fields of a dataclass are not counted.
upward call  in the package `worker`, as upward_call.py defines it.
circle       a group of modules that import each other, directly or through others. Imports in functions and under
             TYPE_CHECKING count, here and in what follows.
floors       of `worker`: the modules in the longest chain of imports.
docstrings   share of the public modules, classes, functions and methods that have one. Public is what has no name
             with `_` in its path, and is not inside a function.
annotated    share of the functions all of whose parameters (not self and cls) and result have a type.

python3 tools/metrics.py                    of this checkout
python3 tools/metrics.py BEFORE AFTER       of two checkouts, side by side: git archive REVISION | tar x -C BEFORE
python3 tools/metrics.py --json [PATH ...]  as JSON: by path, {"numbers": {name: value}, "lists": {name: [text]}}
"""

import argparse
import ast
import json
import math
import re
import sys
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from source_tree import FunctionNode, Module, circles, floors, import_graph, parameters, read
from upward_call import upward_calls

ROOT = Path(__file__).resolve().parent.parent
METHODS_MAX = 15
PARAMETERS_MAX = 8
LARGEST = 5
PERCENTILES = (50, 90, 95, 100)
WORD = "told"
"""A word with too many meanings (state, text, problems, result): its number says how often it is still used."""

ROWS = {
    "modules": "modules",
    "lines": "lines",
    "module_lines_median": "lines per module: median",
    "module_lines_max": "lines per module: max",
    "functions": "functions",
    "function_lines_p50": "lines per function: p50",
    "function_lines_p90": "lines per function: p90",
    "function_lines_p95": "lines per function: p95",
    "function_lines_max": "lines per function: max",
    "function_branches_p50": "branches per function: p50",
    "function_branches_p90": "branches per function: p90",
    "function_branches_p95": "branches per function: p95",
    "function_branches_max": "branches per function: max",
    "classes": "classes",
    "large_classes": f"classes with more than {METHODS_MAX} methods, brokers aside",
    "large_brokers": f"brokers with more than {METHODS_MAX} methods",
    "large_constructors": f"constructors with more than {PARAMETERS_MAX} parameters",
    "upward_calls": "upward calls in worker",
    "upward_functions": "functions that they call",
    "circles": "import circles",
    "worker_modules": "modules in worker",
    "worker_imports": "imports between them",
    "worker_floors": "floors of them",
    "worker_packages": "packages in worker",
    "worker_package_imports": "imports between these",
    "glossary_entries": "glossary entries",
    "docstrings_percent": "public names with a docstring, %",
    "annotated_percent": "functions annotated, %",
    "shared_module_names": "module names used more than once",
    "sibling_module_names": "... in sibling packages",
    "shared_class_names": "class names used more than once",
    "word_in_src": f'"{WORD}" in src',
    "word_in_docs": f'"{WORD}" in docs and *.md',
}
"""The numbers, in the order of the table."""

TITLES = {
    "largest_modules": "Largest modules, lines",
    "longest_functions": "Longest functions, lines",
    "most_branches": "Functions with the most branches",
    "large_classes": f"Classes with more than {METHODS_MAX} methods",
    "large_constructors": f"Constructors with more than {PARAMETERS_MAX} parameters",
    "upward_calls": "Upward calls in worker",
    "circles": "Import circles",
    "shared_module_names": "Module names used more than once",
    "sibling_module_names": "Module names used more than once in sibling packages",
    "shared_class_names": "Class names used more than once",
}


@dataclass(frozen=True, slots=True)
class Metrics:
    """numbers: by the names of ROWS. lists: by the names of TITLES, largest or first by name first."""

    numbers: dict[str, float]
    lists: dict[str, list[str]]


@dataclass(frozen=True, slots=True)
class Definition:
    """A class or function. name: dotted, with its module. owner: the class or function that it stands in."""

    name: str
    module: Module
    node: ast.ClassDef | FunctionNode
    owner: "Definition | None"

    @property
    def is_method(self) -> bool:
        """Whether it stands in a class."""
        return self.owner is not None and isinstance(self.owner.node, ast.ClassDef)

    @property
    def is_in_function(self) -> bool:
        """Whether it is nested in a function, at any depth."""
        owner = self.owner
        return owner is not None and (not isinstance(owner.node, ast.ClassDef) or owner.is_in_function)


def measure(checkout: Path) -> Metrics:
    """All numbers and lists of a checkout. Raises SystemExit where it has no source that can be read."""
    modules = read(checkout)
    defined = [one for module in modules for one in definitions(module.tree, module, module.name, None)]
    numbers: dict[str, float] = {}
    lists: dict[str, list[str]] = {}
    for part in (
        _sizes(modules, defined),
        _classes(defined),
        _imports(modules),
        _shares(modules, defined),
        _names(modules, defined),
        _words(checkout),
    ):
        numbers |= part.numbers
        lists |= part.lists
    return Metrics({name: numbers[name] for name in ROWS}, {name: lists[name] for name in TITLES})


def definitions(node: ast.AST, module: Module, name: str, owner: Definition | None) -> Iterator[Definition]:
    """The classes and functions in `node`, which is called `name`, in their order, at any depth."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            found = Definition(f"{name}.{child.name}", module, child, owner)
            yield found
            yield from definitions(child, module, found.name, found)
        elif not isinstance(child, ast.expr):
            yield from definitions(child, module, name, owner)


# -- sizes ------------------------------------------------------------------------------------------------------------


def _sizes(modules: Collection[Module], defined: Iterable[Definition]) -> Metrics:
    sizes = [(module.lines, module.name) for module in modules]
    long, branchy = [], []
    for one in defined:
        if not isinstance(one.node, ast.ClassDef) and not _only_declares(one.node):
            long.append((function_lines(one.node), one.name))
            branchy.append((sum(map(_branches, one.node.body)), one.name))
    numbers: dict[str, float] = {
        "modules": len(modules),
        "lines": sum(lines for lines, _ in sizes),
        "module_lines_median": median(lines for lines, _ in sizes),
        "module_lines_max": max(sizes)[0],
        "functions": len(long),
    }
    for share in PERCENTILES:
        name = "max" if share == 100 else f"p{share}"
        numbers[f"function_lines_{name}"] = percentile([lines for lines, _ in long], share)
        numbers[f"function_branches_{name}"] = percentile([count for count, _ in branchy], share)
    return Metrics(
        numbers,
        {
            "largest_modules": _listed(sizes)[:LARGEST],
            "longest_functions": _listed(long)[:LARGEST],
            "most_branches": _listed(branchy)[:LARGEST],
        },
    )


def percentile(values: Sequence[int], share: int) -> int:
    """The smallest value that `share` % of the values don't exceed; 0 where there are no values."""
    return sorted(values)[math.ceil(len(values) * share / 100) - 1] if values else 0


def function_lines(function: FunctionNode) -> int:
    """Lines of its body, as above."""
    body = _without_docstring(function)
    if not body:
        return 0
    first = body[0]
    top = first.lineno
    if isinstance(first, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        top = min([top, *(one.lineno for one in first.decorator_list)])
    return (function.end_lineno or top) - top + 1


def _without_docstring(function: FunctionNode) -> list[ast.stmt]:
    return function.body[1:] if ast.get_docstring(function, clean=False) is not None else function.body


def _only_declares(function: FunctionNode) -> bool:
    return all(
        isinstance(one, ast.Expr) and isinstance(one.value, ast.Constant) and one.value.value is ...
        for one in _without_docstring(function)
    )


def _branches(node: ast.AST) -> int:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return 0
    return _own_branches(node) + sum(map(_branches, ast.iter_child_nodes(node)))


def _own_branches(node: ast.AST) -> int:
    match node:
        case ast.BoolOp(values=values):
            return len(values) - 1
        case ast.match_case(pattern=ast.MatchAs(pattern=None), guard=None):
            return 0  # `case _`, as `else`
        case ast.If() | ast.IfExp() | ast.For() | ast.AsyncFor() | ast.While() | ast.ExceptHandler():
            return 1
        case ast.match_case() | ast.comprehension():
            return 1
        case _:
            return 0


def _listed(counted: Iterable[tuple[int, str]]) -> list[str]:
    return [f"{count:>4} {name}" for count, name in sorted(counted, key=lambda one: (-one[0], one[1]))]


# -- classes ----------------------------------------------------------------------------------------------------------


def _classes(defined: Collection[Definition]) -> Metrics:
    methods: dict[str, set[str]] = defaultdict(set)
    constructors = []
    for one in defined:
        if one.owner is not None and one.is_method and not isinstance(one.node, ast.ClassDef):
            methods[one.owner.name].add(one.node.name)
            if one.node.name == "__init__":
                constructors.append((len(parameters(one.node)) - 1, one.owner.name))
    large = [(len(names), name) for name, names in methods.items() if len(names) > METHODS_MAX]
    wide = [(count, name) for count, name in constructors if count > PARAMETERS_MAX]
    brokers = [name for _, name in large if name.endswith("Broker")]
    return Metrics(
        {
            "classes": sum(isinstance(one.node, ast.ClassDef) for one in defined),
            "large_classes": len(large) - len(brokers),
            "large_brokers": len(brokers),
            "large_constructors": len(wide),
        },
        {"large_classes": _listed(large), "large_constructors": _listed(wide)},
    )


# -- imports ----------------------------------------------------------------------------------------------------------


def _imports(modules: Collection[Module]) -> Metrics:
    graph = import_graph(modules)
    found = circles(graph)
    worker = next((one.name for one in modules if one.is_package and one.name.split(".")[1:] == ["worker"]), "")
    calls = upward_calls(modules, worker) if worker else []
    package_of = {
        one.name: one.package for one in modules if f"{one.package}.".startswith(f"{worker}.") and not one.is_package
    }
    inside = {name: graph[name] & package_of.keys() for name in package_of}
    arrows = [(package_of[name], package_of[target]) for name, targets in inside.items() for target in targets]
    return Metrics(
        {
            "upward_calls": len(calls),
            "upward_functions": len({call.given for call in calls}),
            "circles": len(found),
            "worker_modules": len(inside),
            "worker_imports": len(arrows),
            "worker_floors": floors(inside),
            "worker_packages": len(set(package_of.values())),
            "worker_package_imports": len({(one, other) for one, other in arrows if one != other}),
        },
        {"upward_calls": [str(call) for call in calls], "circles": [", ".join(names) for names in found]},
    )


# -- shares -----------------------------------------------------------------------------------------------------------


def _shares(modules: Collection[Module], defined: Collection[Definition]) -> Metrics:
    public: list[ast.Module | ast.ClassDef | FunctionNode] = [one.tree for one in modules if _is_public(one.name)]
    public += [one.node for one in defined if _is_public(one.name) and not one.is_in_function]
    functions = [one for one in defined if not isinstance(one.node, ast.ClassDef)]
    return Metrics(
        {
            "docstrings_percent": _percent(sum(ast.get_docstring(one) is not None for one in public), len(public)),
            "annotated_percent": _percent(sum(map(_is_annotated, functions)), len(functions)),
        },
        {},
    )


def _is_public(name: str) -> bool:
    return not any(part.startswith("_") and part != "__main__" for part in name.split("."))


def _is_annotated(one: Definition) -> bool:
    assert not isinstance(one.node, ast.ClassDef)
    decorators = {ast.unparse(decorator) for decorator in one.node.decorator_list}
    skipped = 1 if one.is_method and "staticmethod" not in decorators else 0
    typed = [parameter.annotation is not None for parameter in parameters(one.node)[skipped:]]
    return all(typed) and one.node.returns is not None


def _percent(part: int, whole: int) -> float:
    """To one decimal, downwards: only all of them are 100."""
    return math.floor(1000 * part / whole) / 10 if whole else 100.0


# -- names and words --------------------------------------------------------------------------------------------------


def _names(modules: Iterable[Module], defined: Iterable[Definition]) -> Metrics:
    packages: dict[str, list[str]] = defaultdict(list)
    siblings: dict[str, list[str]] = defaultdict(list)
    owners: dict[str, list[str]] = defaultdict(list)
    for module in modules:
        package, _, name = module.name.rpartition(".")
        if not module.is_package and name != "__main__":
            packages[name].append(package)
            siblings[f"{package.rpartition('.')[0]}: {name}"].append(package)
    for one in defined:
        if isinstance(one.node, ast.ClassDef):
            owners[one.node.name].append(one.module.name)
    shared, beside, classes = _repeated(packages), _repeated(siblings), _repeated(owners)
    return Metrics(
        {
            "shared_module_names": len(shared),
            "sibling_module_names": len(beside),
            "shared_class_names": len(classes),
        },
        {"shared_module_names": shared, "sibling_module_names": beside, "shared_class_names": classes},
    )


def _repeated(places: dict[str, list[str]]) -> list[str]:
    counted = sorted(((len(found), name) for name, found in places.items()), key=lambda one: (-one[0], one[1]))
    return [f"{count:>4} {name} ({', '.join(sorted(places[name]))})" for count, name in counted if count > 1]


def _words(checkout: Path) -> Metrics:
    glossary = checkout / "GLOSSARY.md"
    rows = [line for line in _text(glossary).splitlines() if line.startswith("|")]
    heads = sum(line.startswith("|---") for line in rows)  # under the names of the columns, once per table
    pages = [*(checkout / "docs").rglob("*.md"), *checkout.glob("*.md")]
    sources = [path for path in (checkout / "src").rglob("*") if "__pycache__" not in path.parts]
    return Metrics(
        {
            "glossary_entries": len(rows) - 2 * heads,
            "word_in_src": sum(map(_count, sources)),
            "word_in_docs": sum(map(_count, pages)),
        },
        {},
    )


def _count(path: Path) -> int:
    return len(re.findall(rf"\b{WORD}\b", _text(path)))


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""


# -- what is printed --------------------------------------------------------------------------------------------------


def table(measured: dict[str, Metrics]) -> str:
    """The numbers as columns, one per checkout, then each checkout's lists."""
    cells = [["", *measured]]
    cells += [[label, *(f"{one.numbers[name]:,}" for one in measured.values())] for name, label in ROWS.items()]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        )
        for row in cells
    ]
    for path, one in measured.items():
        for name, title in TITLES.items():
            lines += ["", f"{title} ({path}):", *(f"  {text}" for text in one.lists[name] or ["none"])]
    return "\n".join(lines)


def main(arguments: Sequence[str]) -> int:
    """Print them; the exit code."""
    parser = argparse.ArgumentParser(description="Print how the source of a checkout is built, in numbers.")
    parser.add_argument("path", nargs="*", default=[str(ROOT)], help="a checkout; several are shown side by side")
    parser.add_argument("--json", action="store_true", help="print JSON in place of tables")
    chosen = parser.parse_args(arguments)
    measured = {path: measure(Path(path)) for path in chosen.path}
    if chosen.json:
        sys.stdout.write(
            json.dumps({path: {"numbers": one.numbers, "lists": one.lists} for path, one in measured.items()}, indent=2)
            + "\n"
        )
    else:
        sys.stdout.write(table(measured) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
