"""strace as a fault: has the n-th call of a kind that a process makes fail, or end the process."""

import shutil
import subprocess

import pytest

__all__ = ["injecting", "need_strace"]


def injecting(calls: str, fault: str) -> tuple[str, ...]:
    """The command to put before a program. calls: names, by commas; fault: as `-e inject` has it."""
    return "strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={calls}", "-e", f"inject={calls}:{fault}"


def need_strace() -> None:
    """Skip the test where strace is missing or may not be used."""
    if not shutil.which("strace"):
        pytest.skip("strace is not installed: apt-get install strace")
    told = subprocess.run([*injecting("fdatasync", "error=EIO"), "true"], capture_output=True, text=True, check=False)
    if told.returncode != 0:
        pytest.skip(f"strace can't be used here: {told.stderr.strip()}")
