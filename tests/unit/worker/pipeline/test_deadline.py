import asyncio

import pytest

from mulligan.worker.pipeline.deadline import Deadlines


class Item:
    def __init__(self, name=""):
        self.name = name
        self.deadline = 0.0
        self.has_ended = False


@pytest.fixture
async def expired():
    return []


@pytest.fixture
async def deadlines(expired):
    loop = asyncio.get_running_loop()
    made = Deadlines(loop, lambda item: expired.append((item.name, loop.time() - 1000.0)))
    yield made
    made.close()


async def test_deadlines_tell_an_item_when_its_time_is_over(deadlines, expired):
    deadlines.add(Item("a"), 5.0, asyncio.get_running_loop().time())

    await asyncio.sleep(4.99)
    assert expired == []
    await asyncio.sleep(10)

    assert expired == [("a", 5.0)]


async def test_deadlines_do_not_tell_what_has_ended(deadlines, expired):
    ended, other = Item("ended"), Item("other")
    deadlines.add(ended, 5.0, asyncio.get_running_loop().time())
    await asyncio.sleep(1)
    deadlines.add(other, 5.0, asyncio.get_running_loop().time())
    ended.has_ended = True

    await asyncio.sleep(10)

    assert expired == [("other", 6.0)]


async def test_deadlines_tell_items_of_many_timeouts_each_in_its_time(deadlines, expired):
    for name, timeout_s in (("slow", 60.0), ("quick", 1.0), ("middle", 30.0), ("quick too", 1.0)):
        deadlines.add(Item(name), timeout_s, asyncio.get_running_loop().time())

    await asyncio.sleep(100)

    assert expired == [("quick", 1.0), ("quick too", 1.0), ("middle", 30.0), ("slow", 60.0)]


async def test_deadlines_go_on_when_a_line_was_empty_for_a_while(deadlines, expired):
    deadlines.add(Item("first"), 5.0, asyncio.get_running_loop().time())
    await asyncio.sleep(50)

    deadlines.add(Item("second"), 5.0, asyncio.get_running_loop().time())
    await asyncio.sleep(50)

    assert expired == [("first", 5.0), ("second", 55.0)]


async def test_deadlines_keep_few_ended_items_alive_behind_a_slow_one(deadlines, expired):
    slow = Item("slow")
    deadlines.add(slow, 60.0, asyncio.get_running_loop().time())

    for _ in range(20_000):
        item = Item()
        deadlines.add(item, 60.0, asyncio.get_running_loop().time())
        item.has_ended = True

    assert len(deadlines._lines[60.0]) <= 0x1000
    await asyncio.sleep(61)
    assert expired == [("slow", 60.0)]


async def test_deadlines_tell_nothing_after_they_were_closed(deadlines, expired):
    deadlines.add(Item("a"), 5.0, asyncio.get_running_loop().time())

    deadlines.close()
    await asyncio.sleep(10)

    assert expired == []
