"""Which mutations a short run takes: ten of the main safeties, and those of what is being worked on."""

import subprocess
from collections.abc import Collection, Sequence
from functools import cache
from pathlib import Path

from tests.mutation.mutation import REPOSITORY, Mutation, noticed
from tests.simulation.history import run

__all__ = ["ALWAYS", "FEW", "changed_files", "few", "hold"]

FEW = 20
"""Mutations of a short run, at most."""

ALWAYS = (
    "claims_extended",
    "copy_before_remove_burial",
    "copy_before_remove_reject",
    "fencing_sqlite",
    "fifo_one_at_a_time",
    "leases_extended",
    "no_ack_while_pending",
    "record_before_settle",
    "record_synced",
    "suspect_alone",
)

_SOURCE = "src/mulligan/"
_MAIN = ("origin/main", "main")


def few(mutations: Sequence[Mutation], changed: Collection[str]) -> list[Mutation]:
    """ALWAYS, then those that change a file of `changed` (below src/mulligan), FEW together; both in order."""
    always = [one for one in mutations if one.name in ALWAYS]
    more = [one for one in mutations if one.name not in ALWAYS and any(each.file in changed for each in one.changes)]
    return [*always, *more][:FEW]


def changed_files(repository: Path = REPOSITORY) -> set[str]:
    """Files below src/mulligan that differ from the branch main; none where there is no such branch or no git."""
    for branch in _MAIN:
        command = ["git", "diff", "--name-only", f"{branch}...", "--", _SOURCE], ["git", "diff", "--name-only", "HEAD"]
        try:
            done = [subprocess.run(one, cwd=repository, check=False, capture_output=True, text=True) for one in command]
        except OSError:
            return set()
        if all(one.returncode == 0 for one in done):
            names = {name for one in done for name in one.stdout.splitlines()}
            return {name.removeprefix(_SOURCE) for name in names if name.startswith(_SOURCE)}
    return set()


def hold(mutation: Mutation, folder: Path) -> None:
    """Fail when nothing notices the mutation. folder: empty, for the mutated copy."""
    found = noticed(mutation, folder)

    assert found is not None, f"nothing notices when this is taken away: {mutation.safety}"
    print(f"{mutation.name}: noticed by {found.by}: {found.how}")
    if found.seed is not None:
        assert _violations(found.seed) == (), f"seed {found.seed} finds a fault without the mutation, too"


@cache
def _violations(seed: int) -> Sequence[str]:
    """Of the source as it is."""
    return run(seed).violations
