from mulligan.core.event import BrokerUp, Event, LedgerUp, ListenerFailed
from mulligan.telemetry.hub import Hub

UP = BrokerUp("settling q", 3.0)


class Ear:
    """A listener that keeps what it hears of the kinds that it wants."""

    def __init__(self, *kinds: type[Event]) -> None:
        self.kinds = kinds
        self.heard: list[Event] = []
        self.asked = 0

    def __call__(self, event: Event) -> None:
        self.heard.append(event)

    def wants(self, kind: type[Event]) -> bool:
        self.asked += 1
        return kind in self.kinds


def test_hub_gives_every_event_to_every_listener():
    one: list[Event] = []
    other: list[Event] = []
    hub = Hub([one.append, other.append])

    hub.emit(UP)

    assert one == other == [UP]


def test_hub_gives_a_listener_only_the_kinds_that_it_wants():
    ear = Ear(BrokerUp)
    hub = Hub([ear])

    hub.emit(UP)
    hub.emit(LedgerUp(1.0))

    assert ear.heard == [UP]


def test_hub_wants_what_any_listener_wants_and_asks_once():
    ear = Ear(BrokerUp)
    hub = Hub([ear])

    assert [hub.wants(BrokerUp), hub.wants(LedgerUp), hub.wants(BrokerUp)] == [True, False, True]
    assert ear.asked == 2


def test_hub_passes_over_a_listener_that_raises_and_tells_the_others_once():
    heard: list[Event] = []

    def bad(event: Event) -> None:
        raise ValueError("no ears")

    hub = Hub([bad, heard.append])
    hub.emit(UP)
    hub.emit(UP)

    told = ListenerFailed(listener=f"{__name__}:{bad.__qualname__}", error="ValueError: no ears")
    assert heard == [told, UP, UP]
    assert hub.raised == {told.listener: 3}


def test_hub_tells_what_was_behind_the_exception_of_a_listener():
    heard: list[Event] = []

    def bad(event: Event) -> None:
        try:
            {}["uid"]
        except KeyError as exc:
            raise ValueError("no ears") from exc

    Hub([bad, heard.append]).emit(UP)

    assert isinstance(heard[0], ListenerFailed)
    assert heard[0].error == "ValueError: no ears; caused by KeyError: 'uid'"


def test_hub_survives_a_listener_that_ends_the_process():
    heard: list[Event] = []

    def bad(event: Event) -> None:
        raise SystemExit(3)

    Hub([bad, heard.append]).emit(UP)

    assert heard[-1] == UP


def test_hub_survives_listeners_whose_methods_raise():
    class Bad:
        def __call__(self, event: Event) -> None:
            self.called = True

        def wants(self, kind: type[Event]) -> bool:
            raise RuntimeError

        def tend(self) -> None:
            raise RuntimeError

        def close(self) -> None:
            raise OSError

    bad = Bad()
    hub = Hub([bad])

    assert hub.wants(BrokerUp)
    hub.emit(UP)
    hub.tend()
    hub.close()
    assert bad.called
