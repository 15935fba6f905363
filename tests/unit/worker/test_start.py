"""What a worker process imports: its start is a good part of a restart, and each has a memory of its own."""

import subprocess
import sys

import pytest

HEAVY = ("pydantic", "rich", "typer", "httpx")
"""Needed by the command line and the supervisor, or by some tasks. A task that asks for one gets it."""


@pytest.mark.parametrize(
    "module", ["mulligan.worker.process.worker_process", "mulligan.worker.isolation.isolated_process"]
)
def test_worker_starts_without_packages_that_it_does_not_need(module):
    code = f"import {module}, sys; print(*(name for name in {HEAVY!r} if sys.modules.get(name)))"

    told = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60)

    assert told.stdout.split() == []
