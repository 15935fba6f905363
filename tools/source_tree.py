"""The modules of a checkout's src/, parsed and never imported: names, lines, syntax trees, imports and circles.

`metrics.py` counts what is in them, `upward_call.py` what they hand to each other.
"""

import ast
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef
Graph = Mapping[str, Collection[str]]
"""By name of a module, the names of those that it imports."""


@dataclass(frozen=True, slots=True)
class Module:
    """One file.

    name: dotted, from its package on; a package's `__init__.py` has the package's name.
    """

    name: str
    path: Path
    lines: int
    tree: ast.Module

    @property
    def is_package(self) -> bool:
        """Whether it is an `__init__.py`."""
        return self.path.stem == "__init__"

    @property
    def package(self) -> str:
        """The dotted name of the package that it is in; its own name where it is one."""
        return self.name if self.is_package else self.name.rpartition(".")[0]


def read(checkout: Path) -> list[Module]:
    """The modules below `checkout`/src, sorted by name. A folder without `__init__.py` is left out.

    Raises SystemExit where there are none, or where one is not Python.
    """
    source = checkout / "src"
    found = [_parsed(source, path) for path in sorted(source.rglob("*.py")) if _is_in_package(source, path)]
    if not found:
        raise SystemExit(f"{source}: has no package, expected src/NAME/__init__.py. Give the path of a checkout.")
    return sorted(found, key=lambda module: module.name)


def _is_in_package(source: Path, path: Path) -> bool:
    folders = path.relative_to(source).parents[:-1]
    return bool(folders) and all((source / folder / "__init__.py").is_file() for folder in folders)


def _parsed(source: Path, path: Path) -> Module:
    try:
        text = path.read_text(encoding="utf-8")
        tree = ast.parse(text)
    except (SyntaxError, ValueError) as exc:
        raise SystemExit(f"{path}: can't be parsed ({exc}), expected Python source in UTF-8. Correct it.") from exc
    parts = path.relative_to(source).with_suffix("").parts
    name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
    return Module(name, path, len(text.splitlines()), tree)


def parameters(function: FunctionNode) -> list[ast.arg]:
    """All parameters in their order, `self`, `*args` and `**kwargs` included."""
    args = function.args
    found = [*args.posonlyargs, *args.args]
    found += [args.vararg] if args.vararg else []
    found += args.kwonlyargs
    return found + ([args.kwarg] if args.kwarg else [])


def import_graph(modules: Collection[Module], *, checking: bool = True) -> dict[str, set[str]]:
    """What each module imports of the others, anywhere in its file. A package's parents are not counted as imported.

    checking: also what is imported under `if TYPE_CHECKING:`.
    """
    names = {module.name for module in modules}
    return {
        module.name: {
            target
            for node in statements(module.tree, checking=checking)
            if isinstance(node, ast.Import | ast.ImportFrom)
            for target in _targets(module, node, names)
        }
        - {module.name}
        for module in modules
    }


def statements(node: ast.AST, *, checking: bool = True) -> Iterator[ast.stmt]:
    """The statements in `node` at any depth, in their order. Without checking, not those for type checkers only."""
    children = ast.iter_child_nodes(node)
    if not checking and isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
        children = iter(node.orelse)
    for child in children:
        if isinstance(child, ast.stmt):
            yield child
        if isinstance(child, ast.stmt | ast.ExceptHandler | ast.match_case):  # an expression has no statements
            yield from statements(child, checking=checking)


def _targets(module: Module, node: ast.Import | ast.ImportFrom, names: Collection[str]) -> Iterator[str]:
    if isinstance(node, ast.Import):
        paths = [alias.name for alias in node.names]
    else:
        paths = [f"{imported_from(module, node)}.{alias.name}" for alias in node.names]
    for path in paths:
        parts = path.split(".")
        known = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
        yield from [name for name in known if name in names][:1]  # the module, or the one that the name is in


def imported_from(module: Module, node: ast.ImportFrom) -> str:
    """The dotted name behind `from`, also where it is relative."""
    if not node.level:
        return node.module or ""
    base = module.package.split(".")
    base = base[: len(base) - node.level + 1]
    return ".".join([*base, *([node.module] if node.module else [])])


def reachable(graph: Graph) -> dict[str, set[str]]:
    """By module, all that it imports itself or through others; itself only where it is in a circle."""
    found: dict[str, set[str]] = {}
    for start in graph:
        seen: set[str] = set()
        waiting = list(graph[start])
        while waiting:
            name = waiting.pop()
            if name not in seen:
                seen.add(name)
                waiting += graph[name]
        found[start] = seen
    return found


def circles(graph: Graph) -> list[list[str]]:
    """The groups of modules each of which imports itself through the others, sorted."""
    reached = reachable(graph)
    groups = {
        tuple(sorted(other for other in reached[name] if name in reached[other]))
        for name in graph
        if name in reached[name]
    }
    return [list(group) for group in sorted(groups)]


def floors(graph: Graph) -> int:
    """How many modules the longest chain of imports has; a circle counts as one module."""
    reached = reachable(graph)
    levels: dict[str, int] = {}
    # what reaches less comes first, so that all that a module imports has its level already
    for name in sorted(graph, key=lambda name: len(reached[name])):
        below = [levels.get(other, 0) for other in reached[name] if name not in reached[other]]
        levels[name] = 1 + max(below, default=0)
    return max(levels.values(), default=0)
