"""What one round of the soak does, from its seed alone."""

import random
from typing import NamedTuple

from mulligan.core.value import value
from tests.soak.wild import AT_IMPORT

CALM_EVERY = 4
"""Each fourth seed is of a round without any fault: then nothing may be repeated."""
CALM_IS_SHORTER = 4
"""Nothing in them takes long."""

PROCESS_FAULTS = ("stop worker", "stop supervisor", "kill supervisor", "restart", "crash", "stuck")
BROKER_FAULTS = {
    "sqlite": (),
    "sqs": ("throttle", "cut", "twins", "partly", "outage"),
    "rabbitmq": ("close", "kill server", "alarm"),
}
LEDGERS = {"sqlite": ("file",), "sqs": ("file", "postgres"), "rabbitmq": ("file", "postgres")}
LEDGER_FAULTS = {
    "file": (),
    "postgres": ("ledger crash", "ledger restart", "ledger frozen", "ledger sessions", "ledger read-only"),
}
IN_MESSAGES = {"crash", "stuck"}
"""Faults that messages bring along."""
ALWAYS_ON = {"throttle", "cut", "twins", "partly"}
"""Faults of a service that last the whole round."""


class Deed(NamedTuple):
    """Something that is begun when a share of the round's work is done."""

    share: float
    what: str


@value
class Plan:
    """A round. faults: what may go wrong in it; empty: a calm one. ledger: one of LEDGERS.

    wild: what the tasks' file does when it is imported, one of AT_IMPORT, in a round whose tasks do to their process
    what production code does; None: they are well-behaved.
    """

    seed: int
    messages: int
    ledger: str
    faults: tuple[str, ...]
    deeds: tuple[Deed, ...]
    wild: str | None = None

    @property
    def is_calm(self) -> bool:
        return not self.faults


def wild_of(seed: int) -> str | None:
    """Half of the seeds, half of the calm ones among them, are of rounds with wild tasks."""
    if (seed + seed // (2 * CALM_EVERY)) % 2 == 0:
        return None
    return random.Random(f"soak/wild/{seed}").choice(AT_IMPORT)


def plan(seed: int, broker: str, messages: int, kills: int) -> Plan:
    """The plan of a seed. kills: of workers, with a task in flight, in a round that is not calm."""
    rand = random.Random(f"soak/{broker}/{seed}")
    ledger = LEDGERS[broker][(seed + seed // CALM_EVERY) % len(LEDGERS[broker])]  # calm rounds take turns, too
    chunks = [Deed(share / 10, "send") for share in range(1, 8)]
    if seed % CALM_EVERY == 0:
        return Plan(seed, messages // CALM_IS_SHORTER, ledger, (), tuple(chunks), wild_of(seed))
    names = PROCESS_FAULTS + BROKER_FAULTS[broker] + LEDGER_FAULTS[ledger]
    faults = sorted(rand.sample(names, rand.randint(1, len(names))))
    deeds = [Deed(0.9 * (number + 1) / (kills + 1), "kill worker") for number in range(kills)]
    for fault in faults:
        if fault not in ALWAYS_ON | IN_MESSAGES:
            deeds += [Deed(rand.uniform(0.05, 0.85), fault) for _ in range(rand.randint(1, 2))]
    return Plan(seed, messages, ledger, ("kill worker", *faults), tuple(sorted([*chunks, *deeds])), wild_of(seed))
