import asyncio

import pytest

from mulligan.core.lifecycle import Phase
from mulligan.core.progress import Progress
from mulligan.worker.in_flight import IsolatedStart
from mulligan.worker.ipc.channel import Isolate, Isolated
from mulligan.worker.isolation.gate import Gate, HostGate


@pytest.fixture
def granted():
    return []


@pytest.fixture
def turnstile(granted):
    return HostGate(lambda seat, number: granted.append((seat, number)))


def test_turnstile_lets_suspects_of_all_workers_start_side_by_side(turnstile, granted):
    turnstile.heard(0, Isolate(1, False))
    turnstile.heard(1, Isolate(1, False))

    assert granted == [(0, 1), (1, 1)]


def test_turnstile_lets_a_last_start_wait_until_nobody_else_runs(turnstile, granted):
    turnstile.heard(0, Isolate(1, False))
    turnstile.heard(1, Isolate(1, True))
    before = list(granted)

    turnstile.heard(0, Isolated(1))

    assert before == [(0, 1)]
    assert granted == [(0, 1), (1, 1)]


def test_turnstile_lets_nobody_start_beside_a_last_start(turnstile, granted):
    """A message that took its hosts down had those buried that ran beside it."""
    turnstile.heard(0, Isolate(1, True))
    turnstile.heard(1, Isolate(1, False))
    turnstile.heard(1, Isolate(2, True))
    before = list(granted)

    turnstile.heard(0, Isolated(1))

    assert before == [(0, 1)]
    assert granted == [(0, 1), (1, 1)]


def test_turnstile_lets_nobody_overtake_a_last_start(turnstile, granted):
    turnstile.heard(0, Isolate(1, False))
    turnstile.heard(1, Isolate(1, True))

    turnstile.heard(0, Isolate(2, False))

    assert granted == [(0, 1)]


def test_turnstile_goes_on_when_the_worker_of_a_last_start_has_died(turnstile, granted):
    turnstile.heard(0, Isolate(1, True))
    turnstile.heard(0, Isolate(2, True))
    turnstile.heard(1, Isolate(1, False))

    turnstile.gone(0)

    assert granted == [(0, 1), (1, 1)]


def test_turnstile_takes_leaving_twice_for_once(turnstile, granted):
    turnstile.heard(0, Isolate(1, True))

    turnstile.heard(0, Isolated(1))
    turnstile.heard(0, Isolated(1))
    turnstile.heard(0, Isolate(2, True))

    assert granted == [(0, 1), (0, 2)]


async def test_gate_asks_its_supervisor_and_waits_for_its_word():
    sent = []
    gate = Gate(sent.append)
    entering = asyncio.get_running_loop().create_task(gate.enter(is_last=True))
    await asyncio.sleep(0)
    asked = list(sent)

    gate.granted(1)

    assert asked == [Isolate(1, True)]
    assert await entering == 1


async def test_gate_leaves_when_who_waits_is_cancelled():
    sent = []
    gate = Gate(sent.append)
    entering = asyncio.get_running_loop().create_task(gate.enter(is_last=False))
    await asyncio.sleep(0)

    entering.cancel()
    await asyncio.wait([entering])

    assert sent == [Isolate(1, False), Isolated(1)]


async def test_gate_without_a_supervisor_keeps_its_own_order():
    gate = Gate()
    first = await gate.enter(is_last=True)
    entering = asyncio.get_running_loop().create_task(gate.enter(is_last=False))
    await asyncio.sleep(0)
    had_to_wait = not entering.done()

    gate.leave(first)

    assert had_to_wait
    assert await entering == 2


# -- of a suspect


@pytest.fixture
async def sent():
    return []


@pytest.fixture
async def suspect(sent, make_flight):
    """A gate whose supervisor grants at once, and a suspect whose task has entered it."""

    def send(message):
        sent.append(message)
        if isinstance(message, Isolate):
            gate.granted(message.number)

    gate = Gate(send)
    flight = make_flight()
    flight.slot, flight.phase, flight.alone = 0, Phase.ACTIVE, IsolatedStart()
    flight.alone.gate = await gate.enter(is_last=True)
    sent.clear()
    return gate, flight


async def test_gate_is_left_once_the_end_of_the_attempt_is_saved_and_not_before(suspect, sent):
    """The next suspect may end the host, and the one before would be blamed for it."""
    gate, flight = suspect
    flight.progress = Progress(flight.progress.marks, deaths=2)

    gate.ended(flight.alone)
    gate.let_others(flight)
    assert sent == []
    flight.saved = flight.progress
    gate.let_others(flight)
    gate.let_others(flight)

    assert sent == [Isolated(1)]


@pytest.mark.parametrize("phase", [Phase.LOST, Phase.SETTLING, Phase.OVER])
async def test_gate_is_left_when_nobody_saves_the_end_any_more(suspect, sent, phase):
    gate, flight = suspect
    flight.progress, flight.phase = Progress(flight.progress.marks, deaths=2), phase

    gate.ended(flight.alone)
    gate.let_others(flight)

    assert sent == [Isolated(1)]


async def test_gate_is_left_at_once_by_an_attempt_that_has_not_started_because_the_one_before_is_not_saved(
    suspect, sent
):
    gate, flight = suspect
    flight.progress = Progress(flight.progress.marks, deaths=2)
    gate.ended(flight.alone)
    flight.alone.gate = await gate.enter(is_last=False)
    sent.clear()

    gate.ended(flight.alone)

    assert sent == [Isolated(2)]
    flight.saved = flight.progress
    gate.let_others(flight)
    assert sent == [Isolated(2), Isolated(1)]
