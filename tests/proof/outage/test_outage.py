"""Twenty seconds without the broker: nobody gives up, nobody spins, and work goes on soon after."""

import pytest

from tests.acceptance.harness import outage
from tests.acceptance.harness.figure import figure
from tests.acceptance.harness.outage import KINDS

OUTAGE_S = 20.0


@pytest.fixture(scope="module")
def trials(tmp_path_factory):
    with outage.trials(tmp_path_factory.mktemp, KINDS, OUTAGE_S) as found:
        yield found


@pytest.mark.figure
@pytest.mark.parametrize("kind", KINDS)
def test_system_waits_quietly_for_a_broker_that_is_away_and_goes_on_soon_after(trials, kind):
    trial = trials[kind]

    broker, _, how = kind.partition(" ")
    figure(
        "G10", broker,
        f"{how} for {trial.took_s:.0f} s: exit code {trial.code}, CPU {trial.cpu_share:.1%} of a core, {trial.said} "
        f"lines of log, at work {trial.back_s:.1f} s after",
    )  # fmt: skip
    outage.check(trial)


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_lost_or_repeated_when_the_broker_was_away(trials, kind):
    outage.nothing_is_lost(trials[kind])
