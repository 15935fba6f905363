import importlib.util

import pytest

from mulligan.brokers import sqs
from mulligan.core.error import ConfigurationError


class StillClock:
    def now(self):
        return 0.0

    def monotonic(self):
        return 0.0


def test_open_sqs_connects_to_nothing_and_knows_the_features_of_sqs():
    broker = sqs.open_sqs("sqs://eu-west-1", clock=StillClock(), emit=print)

    features = broker.features
    assert (features.max_batch, features.max_delay_s, features.max_lease_s) == (10, 900, 43200)
    assert features.has_price
    assert not features.cancels_receive


def test_open_sqs_says_what_to_install_when_the_extra_is_missing(monkeypatch):
    real = importlib.util.find_spec
    monkeypatch.setattr(sqs, "find_spec", lambda name: None if name == "httptools" else real(name))

    with pytest.raises(ConfigurationError, match=r"httptools is not installed: pip install 'PATH\[sqs\]' \(PATH: "):
        sqs.open_sqs("sqs://eu-west-1", clock=StillClock(), emit=print)
