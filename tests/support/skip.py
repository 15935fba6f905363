"""Which tests CI may skip: those that .ci/may-skip names. Any other skip is a failure there: nobody would look at it.

Each entry of that file is a line: the beginning of a test's id (tests/...), or of the reason that it is skipped for.
The comment above it says why that is right.
"""

from collections.abc import Iterator, Sequence

import pytest

__all__ = ["MAY_SKIP", "entries", "refused"]

MAY_SKIP = ".ci/may-skip"


def entries(text: str) -> list[str]:
    """The entries of the file. Raises ValueError at one without a comment above it."""
    return list(_entries(text))


def _entries(text: str) -> Iterator[str]:
    is_explained = False
    for number, line in enumerate(map(str.strip, text.splitlines()), 1):
        if line and not line.startswith("#"):
            if not is_explained:
                raise ValueError(f"{MAY_SKIP} line {number}: {line!r} has no comment above it. Say why CI may skip it.")
            yield line
        else:
            is_explained = bool(line)


def refused(report: pytest.TestReport | pytest.CollectReport, allowed: Sequence[str]) -> str | None:
    """What is wrong with a report's skip; None where there is none, or CI may skip it."""
    if report.outcome != "skipped" or hasattr(report, "wasxfail"):
        return None
    reason = _reason(report)
    if any(report.nodeid.startswith(one) if one.startswith("tests/") else reason.startswith(one) for one in allowed):
        return None
    return (
        f"{report.nodeid} was skipped: {reason}. With CI set that is a failure: have CI run it, or name it, or its"
        f" reason, in {MAY_SKIP} and say why."
    )


def _reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    text = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return text.removeprefix("Skipped: ")
