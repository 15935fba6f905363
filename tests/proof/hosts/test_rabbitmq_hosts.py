"""Two hosts that consume from RabbitMQ, with one ledger. SIZE=full: every round that SQS has, too."""

import pytest

from tests.proof.hosts import bed as hosts
from tests.proof.hosts.fault import ABOUT_BROKER, FAULTS
from tests.proof.hosts.verdict import check
from tests.proof.size import IS_FULL


@pytest.fixture(scope="module")
def bed():
    with hosts.running("rabbitmq", 2) as found:
        yield found
        assert found.finish() == []


@pytest.mark.figure
@pytest.mark.parametrize("name", FAULTS if IS_FULL else ABOUT_BROKER)
def test_hosts_lose_and_repeat_nothing_and_are_back_soon_when(bed, name):
    kind = FAULTS[name]

    outcome = bed.round(kind.fault, victims=kind.victims)

    check(outcome, kind, "rabbitmq", name)
