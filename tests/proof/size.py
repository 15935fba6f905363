"""How much a proof does: what every change has to pass, or far more, by hand (`make prove SIZE=full`)."""

import os

__all__ = ["IS_FULL"]

VARIABLE = "MULLIGAN_TEST_SIZE"
SIZES = ("plain", "full")


def _is_full(size: str) -> bool:
    if size not in SIZES:
        raise ValueError(f"{VARIABLE} is {size!r}, expected one of: {', '.join(SIZES)}. Write: make prove SIZE=full")
    return size == "full"


IS_FULL = _is_full(os.environ.get(VARIABLE) or "plain")
"""Whether this run is the long one, by hand."""
