"""Whether a round came to what is promised, and the figure that it tells."""

from tests.acceptance.harness.figure import figure
from tests.proof.hosts.bed import Outcome
from tests.proof.hosts.fault import Kind

__all__ = ["check"]

GENEROUS_S = 30.0
"""Beyond what the promise says: a machine that is busy with other things takes longer."""


def check(outcome: Outcome, kind: Kind, broker: str, name: str) -> None:
    """Tell it. Raises AssertionError where the promise was not kept."""
    figure(
        "G14", broker,
        f"{name}: of {outcome.messages} messages lost {outcome.lost}, started again after the record {outcome.again}, "
        f"repeated {outcome.repeated} of {outcome.in_flight} that the victims had at work, all hosts at work "
        f"{outcome.back_s:.1f} s after",
    )  # fmt: skip
    assert (outcome.lost, outcome.again) == (0, 0)
    assert outcome.repeated <= outcome.in_flight
    assert outcome.back_s < kind.back_within_s + GENEROUS_S
