import pickle

import pytest

from mulligan import GiveUp, Retry, Skip


@pytest.mark.parametrize("after_s", [-1, float("nan"), float("inf"), 10**400, 366 * 86_400 + 1])
def test_retry_refuses_a_wait_that_is_no_sensible_time(after_s):
    with pytest.raises(ValueError, match="expected seconds from 0 to"):
        Retry(after_s=after_s)


@pytest.mark.parametrize("after_s", ["30", True, [1]])
def test_retry_refuses_a_wait_that_is_no_number(after_s):
    with pytest.raises(TypeError, match="expected seconds as a number"):
        Retry(after_s=after_s)


def test_retry_keeps_seconds_as_a_float():
    assert Retry(5).after_s == 5.0
    assert Retry().after_s is None


@pytest.mark.parametrize("kind", [GiveUp, Skip])
def test_signal_refuses_a_reason_that_is_no_text(kind):
    with pytest.raises(TypeError, match="expected text"):
        kind(ValueError("x"))


@pytest.mark.parametrize("signal", [GiveUp("x"), Skip("y")])
def test_signal_survives_pickling_from_a_process_of_the_users(signal):
    copy = pickle.loads(pickle.dumps(signal))

    assert (type(copy), copy.reason) == (type(signal), signal.reason)


def test_retry_survives_pickling_from_a_process_of_the_users():
    copy = pickle.loads(pickle.dumps(Retry(3, "busy")))

    assert (copy.after_s, copy.reason) == (3.0, "busy")
