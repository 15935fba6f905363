import pytest

from mulligan.worker.pipeline.backpressure import Backpressure


@pytest.fixture
def eased():
    return []


@pytest.fixture
def make(eased):
    def make(most):
        brake = Backpressure(most)
        brake.on_ease(lambda: eased.append("eased"))
        return brake

    return make


def test_brake_is_on_while_too_many_ends_wait_and_says_when_it_is_off(make, eased):
    brake = make(3)
    brake.ended(2)
    assert not brake.is_on
    brake.ended(2)
    assert brake.is_on

    brake.recorded(1)
    assert (brake.is_on, eased) == (True, [])
    brake.recorded(3)

    assert (brake.is_on, eased) == (False, ["eased"])


def test_brake_says_nothing_when_it_was_not_on(make, eased):
    brake = make(3)

    brake.ended(2)
    brake.recorded(2)

    assert eased == []


def test_brake_of_zero_is_never_on(make):
    brake = make(0)

    brake.ended(1_000)

    assert not brake.is_on
