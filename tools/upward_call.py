"""Finds upward calls: where one part of a package is given a way to call another part that it doesn't import.

A part is an instance of a class of the package. Who calls whom is mostly shown by imports: a module calls what it
imports. An upward call is one that imports don't show:

1. a method of a part is given to a part whose module neither defines nor imports that method's class at run time:
   `Runner(self.consumer.ended)`. The method may also be in a lambda, which may read an attribute as well, in a
   `partial`, or in a list, tuple or dict;
2. a class gives a method of its own (`self.method`) to a part that takes a Callable, or a Protocol with `__call__`, in
   whose annotation a class of a third module of the package is named: `Places(begin=self._begin)`, where it is
   `begin: Callable[[Sequence[Flight]], None]`. Other parameters are not counted: a general helper (a batcher, a thread
   pool) has type variables and types of its own there, and a port such as `failed: Callable[[BaseException], None]`
   has nothing of the package;
3. a part, or `self`, is given to a part of another module that its own module imports, directly or through others:
   `Runner(self)`.

Given means: as an argument of a constructor; as an argument of a method that keeps it in an attribute or passes it to a
constructor (`wire`); or by an assignment to a part's attribute. A method counts once per argument: one that is given to
three parts makes three upward calls to one function.

Types are read from annotations, and from assignments of constructor calls; a class is known by its own name, not as
`module.Class`. Not seen is: a callable that is passed on as a parameter or as an attribute (it is counted where it was
given first), what is given through a function that makes parts, and parts in a container.
"""

import ast
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from source_tree import FunctionNode, Module, import_graph, imported_from, parameters, reachable, statements

T = TypeVar("T")
Scope = Mapping[str, "Part"]
"""By name of a variable, the class of what it holds."""


@dataclass(frozen=True, slots=True)
class UpwardCall:
    """given: the function, as `Class.method`. to: the part and the parameter or attribute that it is given to."""

    given: str
    to: str

    def __str__(self) -> str:
        return f"{self.given} -> {self.to}"


@dataclass(eq=False, slots=True)
class Part:
    """A class of the package, with what its instances can be asked for."""

    name: str
    module: Module
    node: ast.ClassDef
    methods: dict[str, FunctionNode] = field(default_factory=dict)
    attributes: "dict[str, Part]" = field(default_factory=dict)

    @property
    def is_protocol(self) -> bool:
        """Whether it is a Protocol of a callable."""
        return "__call__" in self.methods and any("Protocol" in ast.unparse(base) for base in self.node.bases)

    def parameter(self, function: FunctionNode | None, key: int | str) -> tuple[str, ast.expr | None]:
        """Name and annotation of the parameter by position (without `self`) or name; of the fields without function."""
        if function is None:
            fields = [one for one in self.node.body if isinstance(one, ast.AnnAssign)]
            known: list[tuple[str, ast.expr | None]] = [(ast.unparse(one.target), one.annotation) for one in fields]
        else:
            known = [(one.arg, one.annotation) for one in parameters(function)[1:]]
        if isinstance(key, int):
            return known[key] if key < len(known) else (f"#{key + 1}", None)
        return key, dict(known).get(key)


def upward_calls(modules: Collection[Module], package: str) -> list[UpwardCall]:
    """Those between the parts of `package` (dotted) and of what is below it, in the order of the files."""
    return _Finder([one for one in modules if f"{one.name}.".startswith(f"{package}.")]).found()


@dataclass(frozen=True, slots=True)
class _Site:
    """A function that gives: its module, its class if it has one, and what its variables hold."""

    module: Module
    owner: Part | None
    scope: Scope


class _Finder:
    def __init__(self, modules: list[Module]) -> None:
        self._modules = modules
        self._imports = import_graph(modules, checking=False)
        self._reached = reachable(import_graph(modules))
        parts = {module.name: {one.name: one for one in _parts(module)} for module in modules}
        aliases = {module.name: dict(_aliases(module)) for module in modules}
        self._parts = {one.name: dict(_imported(one, parts)) | parts[one.name] for one in modules}
        self._aliases = {one.name: dict(_imported(one, aliases)) | aliases[one.name] for one in modules}
        for _ in range(3):  # what one class's attributes are may be known by those of another
            for part in (part for of_module in parts.values() for part in of_module.values()):
                part.attributes |= self._attributes(part)

    def found(self) -> list[UpwardCall]:
        found: list[UpwardCall] = []
        for module in self._modules:
            for owner, function in _functions(module, self._parts[module.name]):
                site = _Site(module, owner, self._scope(module, owner, function))
                nodes = [node for node in ast.walk(function) if isinstance(node, ast.Call | ast.Assign)]
                for node in sorted(nodes, key=lambda node: (node.lineno, node.col_offset)):
                    if isinstance(node, ast.Call):
                        found += self._in_call(node, site)
                    else:
                        found += self._in_assignment(node, site)
        return found

    # -- what is what

    def _attributes(self, part: Part) -> dict[str, Part]:
        found: dict[str, Part] = {}
        for one in part.node.body:
            if isinstance(one, ast.AnnAssign) and (kind := self._annotated(part.module, one.annotation)):
                found[ast.unparse(one.target)] = kind
        for function in part.methods.values():
            if _is_property(function) and (kind := self._annotated(part.module, function.returns)):
                found[function.name] = kind
            scope = self._scope(part.module, part, function)
            for target, value, annotation in _assignments(function):
                if isinstance(target, ast.Attribute) and ast.unparse(target.value) == "self":
                    kind = self._annotated(part.module, annotation) or self._kind(value, part.module, scope)
                    if kind is not None:
                        found[target.attr] = kind
        return found

    def _scope(self, module: Module, owner: Part | None, function: FunctionNode) -> dict[str, Part]:
        scope: dict[str, Part] = {"self": owner} if owner is not None else {}
        for one in parameters(function):
            if (kind := self._annotated(module, one.annotation)) is not None:
                scope[one.arg] = kind
        for target, value, annotation in _assignments(function):
            if isinstance(target, ast.Name):
                kind = self._annotated(module, annotation) or self._kind(value, module, scope)
                if kind is not None:
                    scope[target.id] = kind
        return scope

    def _annotated(self, module: Module, annotation: ast.expr | None) -> Part | None:
        """The class that an annotation names, alone or as `X | None`; None where it is another thing."""
        match annotation:
            case ast.Name(id=name):
                return self._parts[module.name].get(name)
            case ast.Constant(value=str(text)):
                return self._annotated(module, _expression(text))
            case ast.BinOp(left=left, right=ast.Constant(value=None)):
                return self._annotated(module, left)
            case ast.Subscript(value=value):  # Channel[FromWorker]
                return self._annotated(module, value)
            case _:
                return None

    def _kind(self, value: ast.expr | None, module: Module, scope: Scope) -> Part | None:
        match value:
            case ast.Name(id=name):
                return scope.get(name)
            case ast.Attribute(value=base, attr=name):
                owner = self._kind(base, module, scope)
                return None if owner is None else owner.attributes.get(name)
            case ast.Call(func=made):
                return self._annotated(module, made)
            case ast.Await(value=inner):
                return self._kind(inner, module, scope)
            case ast.BoolOp(values=[*_, last]):  # gate or Gate()
                return self._kind(last, module, scope)
            case _:
                return None

    # -- what is given

    def _in_assignment(self, node: ast.Assign, site: _Site) -> Iterator[UpwardCall]:
        for target in node.targets:
            if isinstance(target, ast.Attribute) and ast.unparse(target.value) != "self":
                to = self._kind(target.value, site.module, site.scope)
                if to is not None:
                    annotation = to.parameter(None, target.attr)[1]
                    yield from self._given(node.value, site, to, f".{target.attr}", annotation)

    def _in_call(self, call: ast.Call, site: _Site) -> Iterator[UpwardCall]:
        if (to := self._annotated(site.module, call.func)) is not None:
            method, function = "", to.methods.get("__init__")
        elif isinstance(call.func, ast.Attribute) and ast.unparse(call.func.value) != "self":
            to, method = self._kind(call.func.value, site.module, site.scope), call.func.attr
            function = to.methods.get(method) if to is not None else None
        if to is None or (method and function is None):
            return
        arguments: list[tuple[int | str, ast.expr]] = [*enumerate(call.args)]
        arguments += [(one.arg, one.value) for one in call.keywords if one.arg]
        for key, value in arguments:
            name, annotation = to.parameter(function, key)
            if not method or (function is not None and self._keeps(to.module, function, name)):
                place = f".{method}({name})" if method else f"({name})"
                yield from self._given(value, site, to, place, annotation)

    def _keeps(self, module: Module, function: FunctionNode, name: str) -> bool:
        """Whether a method keeps a parameter: in an attribute, or by passing it to a constructor."""
        for node in ast.walk(function):
            kept: list[ast.expr] = []
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Attribute | ast.Subscript):
                kept = [node.value]
            elif isinstance(node, ast.Call) and self._annotated(module, node.func) is not None:
                kept = [*node.args, *(one.value for one in node.keywords)]
            if any(isinstance(one, ast.Name) and one.id == name for one in kept):
                return True
        return False

    def _given(
        self, value: ast.expr, site: _Site, to: Part, place: str, annotation: ast.expr | None
    ) -> Iterator[UpwardCall]:
        part = self._kind(value, site.module, site.scope)
        if part is not None:
            if part.module is not to.module and to.module.name in self._reached[part.module.name]:
                yield UpwardCall(part.name, f"{to.name}{place}")
            return
        for giver, name in dict.fromkeys(self._callables(value, site)):
            if giver is site.owner:
                is_upward = self._names_a_third(annotation, to.module, to.module)
            else:
                is_upward = giver.module is not to.module and giver.module.name not in self._imports[to.module.name]
            if is_upward:
                yield UpwardCall(f"{giver.name}.{name}", f"{to.name}{place}")

    def _callables(self, value: ast.expr, site: _Site) -> Iterator[tuple[Part, str]]:
        """(part, name) of each method that `value` is or holds, and of all that a lambda reads of a part."""
        match value:
            case ast.Attribute(value=base, attr=name):
                giver = self._kind(base, site.module, site.scope)
                if giver is not None and name in giver.methods and not _is_property(giver.methods[name]):
                    yield giver, name
            case ast.Lambda(body=body):
                for node in ast.walk(body):
                    if isinstance(node, ast.Attribute):
                        giver = self._kind(node.value, site.module, site.scope)
                        if giver is not None and node.attr not in giver.attributes:
                            yield giver, node.attr
            case ast.Call(func=ast.Name(id="partial") | ast.Attribute(attr="partial"), args=[first, *_]):
                yield from self._callables(first, site)
            case ast.List(elts=items) | ast.Tuple(elts=items) | ast.Dict(values=items):
                for item in items:
                    yield from self._callables(item, site)
            case _:
                pass

    def _names_a_third(self, annotation: ast.expr | None, module: Module, to: Module) -> bool:
        """Whether a callable has to do with a class of another module than `to`. annotation: as `module` reads it."""
        match annotation:
            case ast.Constant(value=str(text)):
                return self._names_a_third(_expression(text), module, to)
            case ast.Name(id=name) if name in self._aliases[module.name]:
                at, meant = self._aliases[module.name][name]
                return self._names_a_third(meant, at, to)
            case ast.Name(id=name) if (kind := self._parts[module.name].get(name)) and kind.is_protocol:
                called = parameters(kind.methods["__call__"])
                return any(self._has_a_third(one.annotation, kind.module, to) for one in called)
            case ast.expr() if "Callable" in ast.unparse(annotation):
                return self._has_a_third(annotation, module, to)
            case _:
                return False

    def _has_a_third(self, annotation: ast.expr | None, module: Module, to: Module) -> bool:
        nodes = ast.walk(annotation) if annotation is not None else ()
        names = {node.id for node in nodes if isinstance(node, ast.Name)}
        known = self._parts[module.name]
        return any(known[name].module is not to for name in names if name in known)


def _is_property(function: FunctionNode) -> bool:
    return any("property" in ast.unparse(one) for one in function.decorator_list)


def _expression(text: str) -> ast.expr | None:
    try:
        return ast.parse(text, mode="eval").body
    except SyntaxError:
        return None


def _parts(module: Module) -> Iterator[Part]:
    for node in module.tree.body:
        if isinstance(node, ast.ClassDef):
            methods = {one.name: one for one in node.body if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)}
            yield Part(node.name, module, node, methods)


def _aliases(module: Module) -> Iterator[tuple[str, tuple[Module, ast.expr]]]:
    """By name what `Report = Callable[...]` stands for, with the module in which it has to be read."""
    for node in module.tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Subscript | ast.BinOp):
            for target in node.targets:
                yield ast.unparse(target), (module, node.value)


def _imported(module: Module, known: Mapping[str, Mapping[str, T]]) -> Iterator[tuple[str, T]]:
    """By the name that it has here, what `module` imports of what is known by module and name."""
    for node in statements(module.tree):
        if isinstance(node, ast.ImportFrom):
            names = known.get(imported_from(module, node), {})
            for alias in node.names:
                if alias.name in names:
                    yield alias.asname or alias.name, names[alias.name]


def _functions(module: Module, names: Mapping[str, Part]) -> Iterator[tuple[Part | None, FunctionNode]]:
    """The module's functions and those of its classes, with their class; what is nested is part of these."""
    for node in module.tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield None, node
        elif isinstance(node, ast.ClassDef):
            for function in names[node.name].methods.values():
                yield names[node.name], function


def _assignments(function: FunctionNode) -> Iterator[tuple[ast.expr, ast.expr | None, ast.expr | None]]:
    """(target, value, annotation)."""
    for node in statements(function):
        if isinstance(node, ast.Assign):
            for target in node.targets:
                yield target, node.value, None
        elif isinstance(node, ast.AnnAssign):
            yield node.target, node.value, node.annotation
