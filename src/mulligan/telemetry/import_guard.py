"""Keeps a package away from one that would take it if it is there, and do without it if it isn't."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["absent"]


@contextmanager
def absent(package: str) -> Iterator[None]:
    """An import of the package fails meanwhile, and works afterwards; what was imported before stays."""
    if package in sys.modules:
        yield
        return
    sys.modules[package] = None  # type: ignore[assignment]  # so Python itself marks what can't be imported
    try:
        yield
    finally:
        del sys.modules[package]
