import pytest

from mulligan.core.error import ConfigurationError
from mulligan.core.message import Uid
from mulligan.core.progress import Progress
from mulligan.ledger.base import Claim, Granted, Record
from mulligan.ledger.memory import MemoryLedger
from mulligan.ledger.none import NoLedger
from mulligan.ledger.open import open_ledger
from mulligan.ledger.sqlite import SqliteLedger


class Clock:
    def now(self) -> float:
        return 0.0

    def monotonic(self) -> float:
        return 0.0


@pytest.mark.parametrize(
    ("url", "kind"),
    [("sqlite:///var/l.db", SqliteLedger), ("memory://", MemoryLedger), ("none", NoLedger), ("", NoLedger)],
)
def test_open_ledger_makes_the_ledger_of_the_url_and_touches_nothing(tmp_path, url, kind):
    assert isinstance(open_ledger(url, clock=Clock(), base_dir=tmp_path), kind)
    assert list(tmp_path.iterdir()) == []


def test_open_ledger_names_what_is_known_when_the_scheme_is_not(tmp_path):
    with pytest.raises(ConfigurationError, match="LEDGER_URL: the scheme sqlit:// is unknown"):
        open_ledger("sqlit:///x", clock=Clock(), base_dir=tmp_path)


async def test_no_ledger_grants_everything_and_keeps_nothing():
    ledger = NoLedger()
    await ledger.open()
    claim = Claim(Uid("018bcfe56800-a"), 0, 0, "token", 60.0)

    assert await ledger.claim([claim, claim], 0.0) == [Granted(None), Granted(None)]
    assert await ledger.save([Record(claim.uid, 0, "any", Progress({}))]) == [True]
    assert await ledger.extend([(claim.uid, 0, "any")], 9.0) == [True]
    assert await ledger.forget(99.0) == 0
    assert not ledger.is_durable
