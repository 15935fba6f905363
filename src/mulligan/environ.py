"""The environment of this process: the one module of the package that reads it. Others are handed what they need."""

import os
from collections.abc import Mapping
from typing import Final

__all__ = ["ENVIRON", "refuses_color"]

ENVIRON: Final[Mapping[str, str]] = os.environ
"""As it is when it is asked, not as it was when this was imported."""


def refuses_color() -> bool:
    """Whether the terminal wants no colours, by the conventions of terminals (https://no-color.org)."""
    return bool(ENVIRON.get("NO_COLOR")) or ENVIRON.get("TERM") == "dumb"
