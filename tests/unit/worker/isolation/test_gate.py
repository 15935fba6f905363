import asyncio

import pytest

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
