"""Some seconds without the broker: nobody gives up, and work goes on soon after."""

import pytest

from tests.acceptance.harness import outage

OUTAGE_S = 6.0
KINDS = ("sqlite locked", "sqs gone", "rabbitmq gone")


@pytest.fixture(scope="module")
def trials(tmp_path_factory):
    with outage.trials(tmp_path_factory.mktemp, KINDS, OUTAGE_S) as found:
        yield found


@pytest.mark.parametrize("kind", KINDS)
def test_system_waits_for_a_broker_that_is_away_and_loses_and_repeats_nothing(trials, kind):
    outage.check(trials[kind])
    outage.nothing_is_lost(trials[kind])
