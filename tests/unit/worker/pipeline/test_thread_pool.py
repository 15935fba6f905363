import asyncio
import contextvars
import threading

import pytest

from mulligan.worker.pipeline.thread_pool import Threads

NAME = contextvars.ContextVar("name", default="nobody")


class Ends(list):
    """What ended, and a way to wait for so many."""

    def __init__(self):
        self.changed = asyncio.Event()
        self.calls = 0

    def __call__(self, results):
        self.calls += 1
        self.extend(results)
        self.changed.set()

    async def until(self, count):
        with asyncio.get_running_loop().standing_still():
            while len(self) < count:
                self.changed.clear()
                await self.changed.wait()


@pytest.fixture
async def ends():
    return Ends()


@pytest.fixture
def shortages():
    return []


@pytest.fixture
def make(ends, shortages):
    made = []

    def make(work):
        made.append(Threads(asyncio.get_running_loop(), work, ends, lambda *told: shortages.append(told)))
        return made[-1]

    yield make
    for threads in made:
        threads.close()


async def test_threads_hand_results_back_with_their_items(make, ends):
    threads = make(lambda number: number * 2)

    for number in range(100):
        threads.put(number)
    await ends.until(100)

    assert sorted(ends) == [(number, number * 2) for number in range(100)]


async def test_threads_run_all_items_side_by_side(make, ends):
    barrier = threading.Barrier(20, timeout=10)
    threads = make(lambda _: barrier.wait())

    for number in range(20):
        threads.put(number)
    await ends.until(20)

    assert len({arrival for _, arrival in ends}) == 20


async def test_threads_are_used_again(make, ends):
    threads = make(lambda _: threading.current_thread().name)
    for number in range(5):
        threads.put(number)
        await ends.until(number + 1)

    assert {name for _, name in ends} == {"mulligan-task-1"}


async def test_threads_hand_back_nothing_when_the_loop_is_closed_already():
    loop = asyncio.new_event_loop()
    may_end = threading.Event()
    threads = Threads(loop, lambda _: may_end.wait(10), lambda _: None, lambda *_: None)
    threads.put(1)
    loop.close()

    may_end.set()
    threads.close()

    for thread in threading.enumerate():
        if thread.name == "mulligan-task-1":
            thread.join(10)
            assert not thread.is_alive()


async def test_threads_show_an_item_no_context_variable_of_the_one_before(make, ends):
    def work(name):
        before = NAME.get()
        NAME.set(name)
        return before

    threads = make(work)
    threads.put("first")
    await ends.until(1)

    threads.put("second")
    await ends.until(2)

    assert ends == [("first", "nobody"), ("second", "nobody")]


async def test_threads_leave_quick_items_to_a_thread_that_is_awake(make, ends):
    threads = make(lambda _: threading.current_thread().name)
    for number in range(200):  # until they are known to be quick
        threads.put(number)
        await ends.until(number + 1)
    del ends[:]

    for number in range(100):
        threads.put(number)
    await ends.until(100)

    assert {name for _, name in ends} == {"mulligan-task-1"}


async def test_threads_let_no_item_wait_behind_a_quick_one_that_turned_slow(make, ends):
    may_end = threading.Event()
    threads = make(lambda number: may_end.wait(10) if number == "slow" else None)
    for number in range(200):
        threads.put(number)
        await ends.until(number + 1)
    del ends[:]

    for item in ("slow", "behind it", "behind it, too"):
        threads.put(item)
    await ends.until(2)
    may_end.set()
    await ends.until(3)

    assert [item for item, _ in ends][2] == "slow"


class Limit:
    """How many more threads the system gives; `refused` is what it says beyond."""

    def __init__(self, monkeypatch, left):
        self.left = left
        self.refused = 0
        self._start = threading.Thread.start
        monkeypatch.setattr(threading.Thread, "start", lambda thread: self.ask(thread))  # noqa: PLW0108 - binds the thread

    def ask(self, thread):
        if not self.left:
            self.refused += 1
            raise RuntimeError("can't start new thread")
        self.left -= 1
        self._start(thread)


async def test_threads_run_all_items_by_those_there_are_when_the_system_gives_no_more(
    make, ends, shortages, monkeypatch
):
    limit = Limit(monkeypatch, 2)
    threads = make(lambda number: (number, threading.current_thread().name))

    for number in range(50):
        threads.put(number)
    await ends.until(50)

    assert sorted(number for number, _ in ends) == list(range(50))
    assert {name for _, (_, name) in ends} <= {"mulligan-task-1", "mulligan-task-2"}
    assert shortages == [(2, "can't start new thread")]
    assert limit.refused == 1, "not asked again at every item"


async def test_threads_run_items_side_by_side_once_the_system_gives_more(make, ends, shortages, monkeypatch):
    limit = Limit(monkeypatch, 0)
    barrier = threading.Barrier(3, timeout=10)
    threads = make(lambda _: barrier.wait())

    for number in range(3):
        threads.put(number)
    await asyncio.sleep(0.5)
    assert ends == []
    limit.left = 3
    await asyncio.sleep(1.0)
    await ends.until(3)

    assert sorted(arrival for _, arrival in ends) == [0, 1, 2]
    assert shortages == [(0, "can't start new thread")]


async def test_threads_let_no_item_wait_for_ever_behind_a_slow_one_when_the_system_gave_no_other(
    make, ends, shortages, monkeypatch
):
    may_end = threading.Event()
    threads = make(lambda number: may_end.wait(10) if number == "slow" else None)
    for number in range(200):  # until they are known to be quick
        threads.put(number)
        await ends.until(number + 1)
    del ends[:]
    limit = Limit(monkeypatch, 0)

    for item in ("slow", "behind it"):
        threads.put(item)
    with asyncio.get_running_loop().standing_still():
        while not shortages:  # it is the foreman that asks, or who asks for a foreman
            await asyncio.sleep(0)
    assert ends == []
    limit.left = 2
    await asyncio.sleep(1.0)
    await ends.until(1)
    may_end.set()
    await ends.until(2)

    assert [item for item, _ in ends] == ["behind it", "slow"]
