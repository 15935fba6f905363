"""Which of the ledger's calls wait for the disk, as the kernel sees it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import mulligan
from tests.acceptance.harness.strace import need_strace

CALLS = """
import asyncio, os, sys
from pathlib import Path
from mulligan.core.progress import DONE_AT_FIRST_TRY, Progress
from mulligan.ledger.base import Claim, Record
from mulligan.ledger.sqlite import SqliteLedger

class Clock:
    now = monotonic = staticmethod(lambda: 1_700_000_000.0)

DONE = Progress({"Jira": DONE_AT_FIRST_TRY})
A, B = "018bcfe56801-0123456789abcdef0123", "018bcfe56802-0123456789abcdef0123"

async def main():
    ledger = SqliteLedger(Path(sys.argv[1]), Clock())
    await ledger.open()
    for name, call in [
        ("claim", lambda: ledger.claim([Claim(A, 0, 0, "a", 1_700_000_060.0)], 1_700_000_000.0)),
        ("save", lambda: ledger.save([Record(A, 0, "a", DONE)])),
        ("claim again", lambda: ledger.claim([Claim(B, 0, 0, "b", 1_700_000_060.0)], 1_700_000_000.0)),
        ("refused save", lambda: ledger.save([Record(A, 0, "a", DONE, None, True), Record(B, 0, "other", DONE)])),
        ("extend", lambda: ledger.extend([(B, 0, "b")], 1_700_000_090.0)),
        ("give_back", lambda: ledger.give_back([(B, 0, "b")])),
        ("third claim", lambda: ledger.claim([Claim(B, 0, 0, "c", 1_700_000_060.0)], 1_700_000_000.0)),
        ("end", lambda: ledger.end([(B, 0, "c")])),
    ]:
        await call()
        os.write(2, f"told {name};".encode())
    await ledger.close()
asyncio.run(main())
"""


@pytest.fixture(scope="module")
def told_of_syncs(tmp_path_factory):
    """How many syncs came before each call's answer, after the answer before it."""
    need_strace()
    folder = tmp_path_factory.mktemp("sync")
    env = {**os.environ, "PYTHONPATH": str(Path(mulligan.__file__).parents[1])}
    subprocess.run(
        ["strace", "-f", "-qq", "-o", folder / "trace", "-e", "trace=fdatasync,fsync,write",
         sys.executable, "-c", CALLS, folder / "ledger.db"],
        env=env, check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    counts, count = {}, 0
    for line in (folder / "trace").read_text().splitlines():
        if found := re.search(r'write\(2, "told (.*);"', line):
            counts[found[1]], count = count, 0
        elif re.search(r"f(data)?sync\(", line):
            count += 1
    return counts


@pytest.mark.parametrize("name", ["save", "refused save", "extend", "give_back", "end"])
def test_what_the_ledger_told_as_kept_is_on_disk(told_of_syncs, name):
    assert told_of_syncs[name] == 1


def test_claim_does_not_wait_for_the_disk_after_a_save(told_of_syncs):
    assert told_of_syncs["claim again"] == 0
