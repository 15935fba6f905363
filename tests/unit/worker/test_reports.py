import pytest

from mulligan.core.lifecycle import Report
from mulligan.worker.reports import Reports


@pytest.fixture
def flights(make_flight):
    return [make_flight() for _ in range(3)]


@pytest.fixture
def connected():
    """Reports that a function handles."""

    def connected(handle):
        reports = Reports()
        reports.connect(handle)
        return reports

    return connected


def test_report_has_been_handled_when_it_was_put(connected, flights):
    handled = []

    connected(lambda *what: handled.append(what)).put(Report.CLAIMED, flights)

    assert handled == [(Report.CLAIMED, flights)]


def test_report_of_no_delivery_is_none(connected):
    handled = []

    connected(lambda *what: handled.append(what)).put(Report.CLAIMED, [])

    assert handled == []


def test_report_of_one_that_is_being_handled_is_handled_after_it_and_in_order(connected, flights):
    order = []

    def handle(report, _):
        order.append(f"{report.name} begins")
        if report is Report.CLAIMED:
            reports.put(Report.PLACED, flights[:1])
            reports.put(Report.TURNED_AWAY, flights[1:])
        if report is Report.PLACED:
            reports.put(Report.RESOLVED, flights[:1])
        order.append(f"{report.name} ends")

    reports = connected(handle)

    reports.put(Report.CLAIMED, flights)

    names = ("CLAIMED", "PLACED", "TURNED_AWAY", "RESOLVED")
    assert order == [f"{name} {when}" for name in names for when in ("begins", "ends")]


def test_reports_that_lead_to_one_another_are_a_loop_and_no_recursion(connected, flights):
    """A long group of duplicates, each of which is over as soon as it begins, was too deep."""
    left = 10_000

    def handle(*_):
        nonlocal left
        left -= 1
        if left:
            reports.put(Report.PLACED, flights)

    reports = connected(handle)

    reports.put(Report.PLACED, flights)

    assert left == 0


def test_fault_in_handling_a_report_goes_to_whoever_put_it_and_the_others_keep_their_order(connected, flights):
    handled = []

    def handle(report, _):
        handled.append(report)
        if report is Report.CLAIMED:
            reports.put(Report.PLACED, flights)
            reports.put(Report.RESOLVED, flights)
            raise RuntimeError("a fault of the program")

    reports = connected(handle)

    with pytest.raises(RuntimeError, match="a fault of the program"):
        reports.put(Report.CLAIMED, flights)
    reports.put(Report.SETTLED, flights)

    assert handled == [Report.CLAIMED, Report.PLACED, Report.RESOLVED, Report.SETTLED]
