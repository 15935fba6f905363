import asyncio

import pytest

from mulligan.core.error import LedgerError, LedgerUnavailable
from mulligan.ledger.postgres.group_commit import GROUP_MAX, GroupCommit


class Acts:
    """What a lane is made to do; keeps the groups that it was handed."""

    def __init__(self) -> None:
        self.groups: list[list[int]] = []
        self.refused: set[int] = set()
        self.is_down = False

    async def __call__(self, items):
        self.groups.append(list(items))
        await asyncio.sleep(0)
        if self.is_down:
            raise LedgerUnavailable("down")
        if self.refused & set(items):
            raise LedgerError("refused")
        return [item * 10 for item in items]


@pytest.fixture
def acts():
    return Acts()


async def test_lane_serves_together_what_comes_together_and_answers_each_its_own(acts):
    lane = GroupCommit(acts)

    answers = await asyncio.gather(lane.ask([1, 2]), lane.ask([3]), lane.ask([4, 5]))

    assert answers == [[10, 20], [30], [40, 50]]
    assert acts.groups == [[1, 2, 3, 4, 5]]


async def test_lane_gathers_what_comes_while_it_is_busy(acts):
    lane = GroupCommit(acts)
    first = asyncio.create_task(lane.ask([1]))
    while not acts.groups:
        await asyncio.sleep(0)

    await asyncio.gather(first, lane.ask([2]), lane.ask([3]))

    assert acts.groups == [[1], [2, 3]]


async def test_lane_bounds_a_group_and_never_splits_a_call(acts):
    lane = GroupCommit(acts)
    big = list(range(GROUP_MAX + 1))

    await asyncio.gather(lane.ask(big), lane.ask([7]))

    assert acts.groups == [big, [7]]


async def test_lane_asks_nothing_for_no_entries(acts):
    assert await GroupCommit(acts).ask([]) == []
    assert acts.groups == []


async def test_lane_tries_each_alone_when_one_of_them_is_refused(acts):
    lane = GroupCommit(acts)
    acts.refused = {2}

    one, two, three = await asyncio.gather(lane.ask([1]), lane.ask([2]), lane.ask([3]), return_exceptions=True)

    assert (one, three) == ([10], [30])
    assert str(two) == "refused"


async def test_lane_tells_all_when_the_server_is_away_and_goes_on_afterwards(acts):
    lane = GroupCommit(acts)
    acts.is_down = True
    told = await asyncio.gather(lane.ask([1]), lane.ask([2]), return_exceptions=True)
    acts.is_down = False

    assert [type(one) for one in told] == [LedgerUnavailable, LedgerUnavailable]
    assert acts.groups == [[1, 2]]
    assert await lane.ask([3]) == [30]


async def test_lane_passes_over_a_caller_that_was_cancelled_before_its_turn(acts):
    lane = GroupCommit(acts)
    one, two = asyncio.create_task(lane.ask([1])), asyncio.create_task(lane.ask([2]))
    await asyncio.sleep(0)
    one.cancel()

    assert await two == [20]
    assert acts.groups == [[2]]


async def test_lane_that_is_closed_tells_those_who_wait(acts):
    stuck = asyncio.Event()

    async def hang(items):
        await stuck.wait()

    lane = GroupCommit(hang)
    one = asyncio.create_task(lane.ask([1]))
    await asyncio.sleep(0)

    await lane.close(0.01)

    with pytest.raises(LedgerError, match="closed"):
        await one
