from collections import Counter

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from mulligan.core.lifecycle import TRANSITIONS, InvalidReport, Order, Phase, Report, after, rows

LISTED = [(phase, report) for phase in Phase for report in TRANSITIONS[phase]]
UNLISTED = [(phase, report) for phase in Phase for report in Report if report not in TRANSITIONS[phase]]

BEGUN = (Phase.CLAIMING, Phase.WAITING, Phase.ACTIVE)
PARTS = {
    "intake: the ledger has answered": (Report.CLAIMED, (Phase.CLAIMING, Phase.LOST)),
    "intake: nothing is claimed": (Report.RESOLVED, (Phase.CLAIMING, Phase.LOST)),
    "intake: the head of its group was lost": (Report.TURNED_AWAY, (Phase.CLAIMING,)),
    "turns: the head of its group is not finished": (Report.TURNED_AWAY, (Phase.WAITING, Phase.LOST)),
    "turns: its copy has to carry what the ledger knows": (Report.PLACED, (Phase.WAITING,)),
    "capacity: a place is free": (Report.PLACED, (Phase.WAITING,)),
    "capacity: no place came free": (Report.TURNED_AWAY, (Phase.WAITING,)),
    "admission: this copy is not to be run": (Report.RESOLVED, (Phase.ACTIVE,)),
    "flow: a settlement": (Report.RESOLVED, (Phase.ACTIVE,)),
    "flow: a dead letter is due": (Report.EXHAUSTED, (Phase.ACTIVE,)),
    "isolation: a task is about to start": (Report.STARTING, (Phase.ACTIVE,)),
    "isolation: a task has ended": (Report.ENDED_ALONE, (Phase.ACTIVE, Phase.LOST)),
    "recorder: nothing is left to be saved": (Report.ENDED, (Phase.ACTIVE, Phase.LOST, Phase.ABANDONED)),
    "recorder: saved": (Report.SAVED, (Phase.ACTIVE, Phase.LOST, Phase.SETTLING, Phase.ABANDONED, Phase.OVER)),
    "recorder: the claim is another worker's": (Report.LOST, tuple(Phase)),
    "supervisor: the lease or the claim is another worker's": (Report.LOST, BEGUN),
    "drain: an attempt does not end": (Report.ABANDONED, (Phase.ACTIVE, Phase.LOST)),
    "settler: the dead letter is confirmed": (Report.BURIED, (Phase.BURYING,)),
    "settler: no dead letter was taken": (Report.SETTLED, (Phase.BURYING,)),
    "settler: settled": (Report.SETTLED, (Phase.SETTLING,)),
    "claims: given back": (Report.SETTLED, (Phase.SETTLING,)),
}
"""What the parts of a pipeline report, and of deliveries in which phases."""


def reached_from(start):
    """The phases that a delivery in this one can come to, itself included."""
    found, left = {start}, [start]
    while left:
        for phase, _ in TRANSITIONS[left.pop()].values():
            if phase not in found:
                found.add(phase)
                left.append(phase)
    return found


@pytest.mark.parametrize("phase", Phase)
def test_every_phase_ends(phase):
    assert reached_from(phase) & {Phase.OVER, Phase.ABANDONED}


def test_every_phase_is_reached_by_a_delivery_that_was_received():
    assert reached_from(Phase.CLAIMING) == set(Phase)


@pytest.mark.parametrize("phase", [Phase.OVER, Phase.ABANDONED])
def test_nothing_is_ordered_of_a_delivery_that_has_ended(phase):
    assert set(TRANSITIONS[phase].values()) == {(phase, Order.NOTHING)}


@pytest.mark.parametrize("part", PARTS)
def test_report_of_a_part_is_listed_in_each_phase_in_which_it_comes(part):
    report, phases = PARTS[part]

    assert [phase for phase in phases if report not in TRANSITIONS[phase]] == []


def test_every_report_and_every_order_is_used():
    assert {report for _, report in LISTED} == set(Report)
    assert {order for row in TRANSITIONS.values() for _, order in row.values()} == set(Order)


@pytest.mark.parametrize(("phase", "report"), LISTED)
def test_rows_and_after_agree_with_the_table_when_the_report_is_listed(phase, report):
    assert rows(report)[phase] == after(phase, report) == TRANSITIONS[phase][report]


@pytest.mark.parametrize(("phase", "report"), UNLISTED)
def test_report_that_is_not_listed_raises_with_the_phase_and_the_report(phase, report):
    assert rows(report)[phase] is None
    with pytest.raises(InvalidReport) as found:
        after(phase, report)

    assert phase.name in str(found.value)
    assert report.name in str(found.value)


STARTS = frozenset({Order.ADMIT, Order.DECIDE, Order.SAVE, Order.BURY, Order.RECORD_BURIAL})
ENDS = (Order.SETTLE, Order.GIVE_BACK, Order.END_BURIAL)
FREES = (Order.FREE, Order.END_BURIAL)


class OneDelivery(RuleBasedStateMachine):
    """Any reports that may come, in any order."""

    def __init__(self):
        super().__init__()
        self.phase = Phase.CLAIMING
        self.was_lost = self.was_settling = False
        self.ordered = Counter()

    @rule(data=st.data())
    @precondition(lambda self: TRANSITIONS[self.phase])
    def report(self, data):
        report = data.draw(st.sampled_from(list(TRANSITIONS[self.phase])))
        self.phase, order = after(self.phase, report)
        self.ordered[order] += 1
        if self.was_lost:
            assert order not in {Order.SETTLE, Order.BURY}
        if self.was_settling:
            assert order not in STARTS
        self.was_lost |= self.phase is Phase.LOST
        self.was_settling |= self.phase is Phase.SETTLING

    @invariant()
    def is_settled_once(self):
        assert sum(self.ordered[order] for order in ENDS) <= 1

    @invariant()
    def is_freed_once_and_only_when_it_is_over(self):
        assert sum(self.ordered[order] for order in FREES) == (self.phase is Phase.OVER)

    @invariant()
    def is_parked_or_settled(self):
        assert self.ordered[Order.PARK] == (self.phase is Phase.ABANDONED)


def test_delivery_is_settled_and_freed_once_whatever_is_reported_of_it():
    run_state_machine_as_test(OneDelivery, settings=settings(max_examples=100, stateful_step_count=25))
