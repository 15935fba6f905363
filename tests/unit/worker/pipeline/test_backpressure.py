import pytest

from mulligan.worker.pipeline.backpressure import Backpressure


@pytest.fixture
def eased():
    return []


@pytest.fixture
def make(eased):
    def make(most):
        backpressure = Backpressure(most)
        backpressure.on_ease(lambda: eased.append("eased"))
        return backpressure

    return make


def test_brake_is_on_while_too_many_ends_wait_and_says_when_it_is_off(make, eased):
    backpressure = make(3)
    backpressure.ended(2)
    assert not backpressure.is_on
    backpressure.ended(2)
    assert backpressure.is_on

    backpressure.recorded(1)
    assert (backpressure.is_on, eased) == (True, [])
    backpressure.recorded(3)

    assert (backpressure.is_on, eased) == (False, ["eased"])


def test_brake_says_nothing_when_it_was_not_on(make, eased):
    backpressure = make(3)

    backpressure.ended(2)
    backpressure.recorded(2)

    assert eased == []


def test_brake_of_zero_is_never_on(make):
    backpressure = make(0)

    backpressure.ended(1_000)

    assert not backpressure.is_on
