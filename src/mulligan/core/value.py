"""The decorator that every value of the project is made with.

Values are replaced, never changed. The type checker holds that (`frozen_default=True`); at run time they are
plain slotted dataclasses, because a frozen dataclass pays one `object.__setattr__` a field on every construction.

Comparison, hash and repr are functions here: `dataclass` would compile three of its own for each class, which was a
tenth of the start of every process.
"""

from collections.abc import Callable, Sequence
from dataclasses import Field, dataclass, field, fields
from operator import attrgetter
from typing import Any, TypeVar, dataclass_transform

T = TypeVar("T")

__all__ = ["value"]


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def value(cls: type[T]) -> type[T]:
    """Make `cls` a slotted, comparable, hashable dataclass that type checkers treat as frozen."""
    own = set(vars(cls))
    made = dataclass(slots=True, repr=False, eq=False)(cls)
    for method in _methods(fields(made)):  # type: ignore[arg-type] # it is a dataclass
        if method.__name__ not in own:
            setattr(made, method.__name__, method)
    return made


def _methods(parts: Sequence["Field[Any]"]) -> tuple[Callable[..., Any], ...]:
    """Those that `dataclass` would make of the fields."""
    names, shown = [one.name for one in parts], [one.name for one in parts if one.repr]
    values: Callable[[Any], Any] = attrgetter(*names) if names else lambda _: ()  # of one name: its value alone

    def __eq__(self: Any, other: Any) -> Any:  # noqa: N807 - it becomes one
        return values(self) == values(other) if other.__class__ is self.__class__ else NotImplemented

    def __hash__(self: Any) -> int:  # noqa: N807
        return hash(values(self))

    def __repr__(self: Any) -> str:  # noqa: N807
        return f"{type(self).__qualname__}({', '.join(f'{name}={getattr(self, name)!r}' for name in shown)})"

    return __eq__, __hash__, __repr__
