import pytest

from mulligan.brokers.memory import MemoryBroker
from mulligan.brokers.open import open_broker
from mulligan.brokers.sqlite import SqliteBroker
from mulligan.core.error import ConfigurationError


class Clock:
    def now(self) -> float:
        return 0.0

    def monotonic(self) -> float:
        return 0.0


def test_open_broker_makes_the_broker_of_the_scheme_and_touches_nothing(tmp_path):
    sqlite = open_broker("sqlite:///var/q.db", clock=Clock(), emit=print, base_dir=tmp_path)
    memory = open_broker("memory://", clock=Clock(), emit=print, base_dir=tmp_path)

    assert isinstance(sqlite, SqliteBroker)
    assert isinstance(memory, MemoryBroker)
    assert list(tmp_path.iterdir()) == []


def test_open_broker_names_what_is_known_when_the_scheme_is_not(tmp_path):
    with pytest.raises(ConfigurationError, match=r"Did you mean sqlite://\?") as caught:
        open_broker("sqlite3://me:secret@host/x", clock=Clock(), emit=print, base_dir=tmp_path)

    assert "secret" not in str(caught.value)
