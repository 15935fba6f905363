"""Two hosts that consume from RabbitMQ, with one ledger. SIZE=full: nearly every round that SQS has."""

import pytest

from tests.proof.hosts import bed as hosts
from tests.proof.hosts.fault import ABOUT_BROKER, FAULTS
from tests.proof.hosts.verdict import check
from tests.proof.size import IS_FULL

NAMES = [name for name, kind in FAULTS.items() if name in ABOUT_BROKER or (IS_FULL and len(kind.victims) < 2)]


@pytest.fixture(scope="module")
def bed():
    with hosts.running("rabbitmq", 2) as found:
        yield found
        assert found.finish() == []


@pytest.mark.figure
@pytest.mark.parametrize("name", NAMES)
def test_hosts_lose_and_repeat_nothing_and_are_back_soon_when(bed, name):
    kind = FAULTS[name]

    outcome = bed.round(kind.fault, victims=kind.victims)

    check(outcome, kind, "rabbitmq", name)
