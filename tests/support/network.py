"""Hosts on one machine: network namespaces joined by a bridge, with faults between them.

Nothing of the machine's own network is touched: the bridge is in a namespace, too. All of it ends with the block.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Literal

import pytest

__all__ = ["RANGE", "Direction", "Network", "Node", "running"]

RANGE = "10.77.0.0/24"
"""The addresses of the nodes. They exist in these namespaces only, so two runs have the same."""
INSTALL = "tools/install/nftables.sh (or: apt-get install iproute2 nftables)"

Direction = Literal["in", "out", "both"]
"""Of packets, as the node sees them."""

_numbers = count(1)
_IN, _OUT = ("input", "iifname", "saddr"), ("output", "oifname", "daddr")
_HOOKS: dict[Direction, tuple[tuple[str, str, str], ...]] = {"in": (_IN,), "out": (_OUT,), "both": (_IN, _OUT)}


class Node:
    """One host. before: what a command is started by that is to run there."""

    def __init__(self, namespace: str, address: str, names: Path) -> None:
        self.address = address
        self.before = ("ip", "netns", "exec", namespace)
        self._names = names

    def drop(self, *others: "Node", direction: Direction = "both") -> None:
        """Packets from and to the others are lost without a word; of all, where none is named."""
        self._rule("drop", others, direction)

    def reset(self, *others: "Node") -> None:
        """Whoever sends a packet of a connection is told that there is none (RST)."""
        self._rule("tcp flags & rst == 0 reject with tcp reset", others, "both")

    def lose(self, percent: int, *others: "Node") -> None:
        """Lose so many of the packets, at random."""
        self._rule(f"numgen random mod 100 < {percent} drop", others, "both")

    def heal(self) -> None:
        """End all of these."""
        _run(*self.before, "nft", "flush table inet fault")

    def resolve(self, names: Mapping[str, "Node"]) -> None:
        """Have these names, and no others, found at these nodes from now on."""
        lines = ["127.0.0.1 localhost", *(f"{node.address} {name}" for name, node in names.items())]
        # written in place: each program that was started has this very file mounted
        self._names.write_text("\n".join(lines) + "\n")

    def _rule(self, verdict: str, others: "tuple[Node, ...]", direction: Direction) -> None:
        for chain, device, field in _HOOKS[direction]:
            whom = [f"ip {field} {other.address}" for other in others] or [f"{device} != lo"]
            for match in whom:
                _run(*self.before, "nft", f"add rule inet fault {chain} {match} {verdict}")


class Network:
    """The nodes that were made."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._switch = f"{prefix}-switch"
        self._namespaces: list[str] = []
        self._folders: list[Path] = []

    def open(self) -> None:
        self._add(self._switch)
        _run("ip", "-n", self._switch, "link", "add", "bridge", "type", "bridge")
        _run("ip", "-n", self._switch, "link", "set", "bridge", "up")

    def node(self, name: str) -> Node:
        """A new host of this name, which knows those that are made so far by their addresses only."""
        namespace, number = f"{self._prefix}-{name}", len(self._namespaces)
        names = Path("/etc/netns") / namespace / "hosts"
        names.parent.mkdir(parents=True)
        self._folders.append(names.parent)
        self._add(namespace)
        node = Node(namespace, RANGE.replace("0/24", str(number)), names)
        node.resolve({})
        port = f"port{number}"
        _run(
            "ip", "link", "add", "eth0", "netns", namespace, "type", "veth", "peer", "name", port, "netns", self._switch
        )
        _run("ip", "-n", self._switch, "link", "set", port, "master", "bridge", "up")
        _run("ip", "-n", namespace, "addr", "add", f"{node.address}/24", "dev", "eth0")
        _run("ip", "-n", namespace, "link", "set", "eth0", "up")
        for chain in ("input", "output"):
            hook = f"{{ type filter hook {chain} priority 0; }}"
            _run(*node.before, "nft", f"add table inet fault; add chain inet fault {chain} {hook}")
        return node

    def close(self) -> None:
        for namespace in self._namespaces:
            subprocess.run(("ip", "netns", "del", namespace), check=False, capture_output=True)
        for folder in self._folders:
            shutil.rmtree(folder, ignore_errors=True)

    def _add(self, namespace: str) -> None:
        _run("ip", "netns", "add", namespace)
        self._namespaces.append(namespace)
        _run("ip", "-n", namespace, "link", "set", "lo", "up")


@contextmanager
def running() -> Iterator[Network]:
    """A network, until the end of the block. Skips the test where there can be none."""
    if os.geteuid() != 0:
        pytest.skip("network namespaces can't be made here: that takes root")
    if missing := [name for name in ("ip", "nft") if shutil.which(name) is None]:
        pytest.skip(f"{' and '.join(missing)} not found. Install: {INSTALL}")
    prefix = f"mulligan{os.getpid()}-{next(_numbers)}"
    network = Network(prefix)
    try:
        try:
            network.open()
            network.node("probe").drop()
        except (AssertionError, OSError) as exc:
            pytest.skip(f"network namespaces can't be made here: {exc}")
        yield network
    finally:
        network.close()


def _run(*command: str) -> None:
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
