import pytest

from mulligan.core import error
from mulligan.core.error import (
    BrokerError,
    BrokerRefused,
    BrokerUnavailable,
    ConfigurationError,
    LedgerError,
    LedgerUnavailable,
    MulliganError,
)


def test_configuration_error_keeps_every_problem_and_prints_one_a_line():
    exc = ConfigurationError(["tasks.xml line 3: no such file.", "POOL_SIZE is 0."])

    assert exc.problems == ("tasks.xml line 3: no such file.", "POOL_SIZE is 0.")
    assert str(exc) == "tasks.xml line 3: no such file.\nPOOL_SIZE is 0."


@pytest.mark.parametrize("name", error.__all__)
def test_every_error_is_caught_by_the_root(name: str):
    assert issubclass(getattr(error, name), MulliganError)


def test_what_may_be_repeated_is_told_from_what_may_not():
    assert issubclass(BrokerUnavailable, BrokerError)
    assert issubclass(LedgerUnavailable, LedgerError)
    assert not issubclass(BrokerRefused, BrokerUnavailable)
