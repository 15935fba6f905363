"""The decorator that every value of the project is made with.

Values are replaced, never changed. The type checker holds that (`frozen_default=True`); at run time they are
plain slotted dataclasses, because a frozen dataclass pays one `object.__setattr__` a field on every construction.
"""

from dataclasses import dataclass, field
from typing import TypeVar, dataclass_transform

T = TypeVar("T")

__all__ = ["value"]


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def value(cls: type[T]) -> type[T]:
    """Make `cls` a slotted, comparable, hashable dataclass that type checkers treat as frozen."""
    return dataclass(slots=True, unsafe_hash=True)(cls)
