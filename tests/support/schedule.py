"""Which test runs where and when, if they run side by side.

Those with the mark `alone` have nothing of the run beside them: a test that tells how long something took says little
when another one has the other core. Locks of this checkout's files are what the processes of a run have in common; they
go with the process that holds them.
"""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from xdist.scheduler import LoadScopeScheduling

__all__ = ["Scheduling", "turn"]

TOGETHER = frozenset(
    f"tests/{name}"
    for name in (
        "acceptance/test_long_task.py",
        "acceptance/test_outage.py",
        "acceptance/test_poison.py",
        "integration/ledger/test_sqlite_sync.py",
        "integration/postgres/test_faults.py",
        "integration/postgres/test_tls.py",
        "integration/rabbitmq/test_faults.py",
        "integration/rabbitmq/test_tls.py",
        "proof/hosts/test_rabbitmq_hosts.py",
        "proof/hosts/test_sqs_hosts.py",
        "proof/outage/test_outage.py",
    )
)
"""Files whose tests share what is slow to make: one process runs them."""

ROOM = Path(__file__)
"""Shared by the tests that run side by side; one that is alone has it to itself."""
DOOR = Path(__file__).parents[1] / "conftest.py"
"""Held on the way into the room. Who waits to be alone holds it, so that no one else comes in meanwhile."""


SERVERS = ("localemu", "rabbitmq")
"""Servers that take a while to start and that many quick tests share: one process runs all of those of a folder."""


class Scheduling(LoadScopeScheduling):
    """Hands out test by test, in order; those of TOGETHER as one. xdist's own groups need an older pytest than ours."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        if file in TOGETHER:
            return file
        folder = file.split("/")[1]
        if folder != "proof":
            for server in SERVERS:
                if f"[{server}" in nodeid or f"-{server}" in nodeid or f"/{server}" in file or f"_{server}" in file:
                    return f"{'acceptance' if folder == 'acceptance' else 'conformance'} on {server}"
        return nodeid


@contextmanager
def turn(*, is_alone: bool) -> Iterator[None]:
    """Wait until the test may run; the others of its kind may until the end of the block."""
    with ROOM.open() as room, DOOR.open() as door:
        fcntl.flock(door, fcntl.LOCK_EX)
        fcntl.flock(room, fcntl.LOCK_EX if is_alone else fcntl.LOCK_SH)
        fcntl.flock(door, fcntl.LOCK_UN)
        try:
            yield
        finally:
            # said, not left to closing: a process that the test forked and left behind has the files open, too
            fcntl.flock(room, fcntl.LOCK_UN)
