"""Three hosts that consume from SQS, with one ledger: cut off, frozen, dead, replaced, and their servers as well."""

import pytest

from tests.proof.hosts import bed as hosts
from tests.proof.hosts.fault import FAULTS, LATE_NAME
from tests.proof.hosts.verdict import check


@pytest.fixture(scope="module")
def bed():
    with hosts.running("sqs", 3) as found:
        yield found
        assert found.finish() == []


@pytest.mark.figure
@pytest.mark.parametrize("name", FAULTS)
def test_hosts_lose_and_repeat_nothing_and_are_back_soon_when(bed, name):
    kind = FAULTS[name]

    outcome = bed.round(kind.fault, victims=kind.victims)

    check(outcome, kind, "sqs", name)


@pytest.mark.figure
def test_hosts_are_back_soon_when_the_name_of_their_ledger_moves_late(bed):
    bed.use_name()

    outcome = bed.round(LATE_NAME.fault)

    check(outcome, LATE_NAME, "sqs", "the ledger's name moves late")
