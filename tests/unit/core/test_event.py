import inspect

import pytest

from mulligan.core import event
from mulligan.core.event import BrokerDown, Event, MessageDeadLettered, MessageDone, TaskFailed, TaskSucceeded
from mulligan.core.message import Uid

KINDS = [
    kind for _, kind in inspect.getmembers(event, inspect.isclass) if issubclass(kind, Event) and kind is not Event
]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_event_has_a_sentence_and_a_level(kind: type[Event]):
    assert (kind.__doc__ or "").split(".")[0]
    assert kind.level in {"debug", "info", "warning", "error"}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_event_carries_no_body_and_no_attributes(kind: type[Event]):
    assert not {"body", "attributes", "message", "receipt", "url"} & set(inspect.signature(kind).parameters)


def test_levels_rise_with_what_a_person_has_to_do():
    assert TaskSucceeded.level == "debug"
    assert MessageDone.level == "info"
    assert TaskFailed.level == "warning"
    assert MessageDeadLettered.level == "error"
    assert BrokerDown.level == "error"


def test_event_compares_by_what_happened():
    assert MessageDone(Uid("u"), 3, 0.5) == MessageDone(Uid("u"), 3, 0.5)
    assert MessageDone(Uid("u"), 3, 0.5) != MessageDone(Uid("v"), 3, 0.5)
