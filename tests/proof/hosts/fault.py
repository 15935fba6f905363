"""What happens to hosts, servers and the network between them.

Each is over when its block begins; at the end of the block all is as it was before.
"""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import NamedTuple

from tests.acceptance.harness.clock import HOUR_S
from tests.proof.hosts.bed import LEASE_S, Bed
from tests.support.network import Direction

__all__ = ["ABOUT_BROKER", "FAULTS", "LATE_NAME", "Kind"]

CUT_S = 1.5 * LEASE_S
"""Longer than a lease. Everywhere here: what is tested is that this much time goes by."""
FAILOVER_S = 3.0
"""How long those who watch over a database take to have its standby take over."""


LATE_S = 8.0
"""How long a name leads to the old address: caches, and whoever changes it."""


class Kind(NamedTuple):
    """victims: hosts that may repeat what they had in flight. back_within_s: all are at work so soon after its end."""

    fault: Callable[[Bed], AbstractContextManager[None]]
    victims: tuple[int, ...] = ()
    back_within_s: float = 5.0


def _cut(*others: str, direction: Direction = "both") -> Callable[[Bed], AbstractContextManager[None]]:
    """The first host loses all packets, or those from and to some."""

    @contextmanager
    def fault(bed: Bed) -> Iterator[None]:
        node = bed.hosts[0].node
        node.drop(*(bed.at[name] for name in others), direction=direction)
        time.sleep(CUT_S)
        node.heal()
        yield

    return fault


@contextmanager
def _reset(bed: Bed) -> Iterator[None]:
    """Every connection of the first host is reset, and no other is made."""
    node = bed.hosts[0].node
    node.reset(bed.at["broker"], bed.at["ledger-a"], bed.at["ledger-b"])
    time.sleep(CUT_S)
    node.heal()
    yield


@contextmanager
def _lossy(bed: Bed) -> Iterator[None]:
    """A fifth of all packets is lost, in both directions, on all hosts."""
    for host in bed.hosts:
        host.node.lose(20)
    time.sleep(CUT_S)
    for host in bed.hosts:
        host.node.heal()
    yield


def _crash(away_s: float) -> Callable[[Bed], AbstractContextManager[None]]:
    """The ledger's server crashes, and is there again after so long."""

    @contextmanager
    def fault(bed: Bed) -> Iterator[None]:
        bed.primary.stop(signal.SIGQUIT)
        time.sleep(away_s)
        bed.primary.start()
        yield

    return fault


@contextmanager
def _killed_primary(bed: Bed) -> Iterator[None]:
    bed.primary.stop(signal.SIGKILL)
    time.sleep(FAILOVER_S)
    bed.fail_over()
    yield
    bed.rejoin()


@contextmanager
def _silent_primary(bed: Bed) -> Iterator[None]:
    """Its packets are lost, so nobody is told that it is gone."""
    node = bed.node_of(bed.primary)
    node.drop()
    time.sleep(FAILOVER_S)
    bed.fail_over()
    yield
    bed.standby.stop(signal.SIGKILL)  # before it is heard again: two that can be written are not to be had
    node.heal()
    bed.rejoin()


@contextmanager
def _late_name(bed: Bed) -> Iterator[None]:
    """Primary and standby change roles in order; until the name follows it leads to one that only reads."""
    bed.primary.stop()
    bed.fail_over()
    bed.rejoin()
    time.sleep(LATE_S)
    bed.move_name()
    yield


@contextmanager
def _silent_standby(bed: Bed) -> Iterator[None]:
    """Commits wait for it, until somebody says that they need not."""
    node = bed.node_of(bed.standby)
    node.drop()
    time.sleep(CUT_S)
    bed.primary.set_synchronous(False)
    yield
    node.heal()
    bed.primary.set_synchronous(True)


@contextmanager
def _frozen_host(bed: Bed) -> Iterator[None]:
    bed.hosts[0].freeze()
    time.sleep(CUT_S)
    bed.hosts[0].thaw()
    yield


def _dead(number: int) -> Callable[[Bed], AbstractContextManager[None]]:
    """So many hosts are gone, and started anew afterwards."""

    @contextmanager
    def fault(bed: Bed) -> Iterator[None]:
        for host in bed.hosts[:number]:
            host.die()
        time.sleep(CUT_S)
        yield
        for host in bed.hosts[:number]:
            host.node.heal()
            host.up()

    return fault


def _clock(by_s: float) -> Callable[[Bed], AbstractContextManager[None]]:
    """The first host's wall clock is wrong for a while."""

    @contextmanager
    def fault(bed: Bed) -> Iterator[None]:
        bed.hosts[0].clock.set_by(by_s)
        time.sleep(CUT_S)
        bed.hosts[0].clock.set_by(0.0)
        yield

    return fault


@contextmanager
def _replaced(bed: Bed) -> Iterator[None]:
    """Host by host is stopped in order, and started again, as a new version is rolled out."""
    for host in bed.hosts:
        assert host.stop() == 0
        host.up()
    yield


FAULTS = {
    "a host is cut off": Kind(_cut(), victims=(0,)),
    "a host hears nothing": Kind(_cut(direction="in"), victims=(0,)),
    "a host is not heard": Kind(_cut(direction="out"), victims=(0,)),
    "a host is cut off from the broker": Kind(_cut("broker")),
    "a host is cut off from the ledger": Kind(_cut("ledger-a", "ledger-b")),
    "a host's connections are reset": Kind(_reset, victims=(0,)),
    "a fifth of the packets is lost": Kind(_lossy),
    "a host stands still": Kind(_frozen_host, victims=(0,)),
    "a host is dead": Kind(_dead(1), victims=(0,)),
    "two hosts are dead": Kind(_dead(2), victims=(0, 1)),
    "a clock is an hour fast": Kind(_clock(HOUR_S)),
    "a clock is an hour slow": Kind(_clock(-HOUR_S)),
    "the ledger crashes, 1 s": Kind(_crash(1.0)),
    "the ledger crashes, 5 s": Kind(_crash(5.0)),
    "the ledger crashes, 16 s": Kind(_crash(16.0)),
    "the ledger's primary is killed": Kind(_killed_primary, back_within_s=15.0),
    "the ledger's primary is silent": Kind(_silent_primary, back_within_s=15.0),
    "the ledger's standby is silent": Kind(_silent_standby),
    "the hosts are replaced": Kind(_replaced),
}

ABOUT_BROKER = (
    "a host is cut off",
    "a host is cut off from the broker",
    "a host's connections are reset",
    "a fifth of the packets is lost",
    "a host is dead",
    "a host stands still",
    "the ledger crashes, 5 s",
    "the hosts are replaced",
)
"""Those in which it matters which broker it is."""

LATE_NAME = Kind(_late_name)
"""For hosts that know their ledger by name."""
