"""Runs one seed from its first message to its end, and says what was wrong with it."""

import asyncio
import gc
import random
from dataclasses import dataclass

from mulligan.worker.supervisor.allocation import allocate
from tests.simulation.loop import Deadlock, SimLoop, ended
from tests.simulation.world import World

__all__ = ["Result", "run"]

_STAFFED_WITHIN_S = 240.0  # a call of the supervisor may be stuck for two and a half leases
_ENDS_WITHIN_S = 100_000.0  # what must not be copied waits for 12 hours, before its queue moves it away
_LATE_S = 3000.0  # retries wait for a third of it at most, and suspects one for another; clocks differ by more
_TROUBLES = {
    "kill": 5, "kill supervisor": 1, "kill host": 1, "stop": 2, "stop host": 1, "jump": 1, "broker down": 2,
    "ledger down": 2, "restart": 2, "replay": 1, "kill isolated": 1,
    "bodies away": 1, "damaged row": 1,
}  # fmt: skip


@dataclass
class Result:
    """violations: () for a history as it should be. story: line by line, when it was asked for."""

    seed: int
    messages: int
    violations: tuple[str, ...]
    story: tuple[str, ...]
    digest: str
    kind: str


def run(seed: int, *, is_telling: bool = False) -> Result:
    """The history of a seed. The same seed gives the same history, to the last step."""
    was_enabled = gc.isenabled()
    gc.disable()  # finalizers would run at moments of their own
    loop = SimLoop()
    if is_telling:
        loop.story = []
    world = World(seed, loop)
    try:
        try:
            loop.run_until_complete(_history(world))
        except Deadlock:
            world.watch.wrong("nothing happens any more")
        except TimeoutError as exc:
            world.watch.wrong(str(exc))
        for context in loop.errors[:3]:
            world.watch.wrong(f"an error that nobody caught: {context.get('message')}, {context.get('exception')!r}")
        steps = sum(one.steps for one in (*world.workers, *world.supervisors))
        digest = f"{steps}/{loop.time():.6f}/{sum(world.watch.events.values())}/{sum(world.watch.begun.values())}"
        violations = tuple(world.watch.violations)
        story = tuple(loop.story or ())
        loop.story = None
        world.watch.violations = []
        ended(loop)
    finally:
        for table in world.tables:
            table.close()
        if was_enabled:
            gc.enable()
    del loop.world
    return Result(seed, len(world.watch.accepted), violations, story, digest, world.kind)


async def _history(world: World) -> None:
    dice = world.dice
    beside = world.loop.create_task(world.newer.run()) if world.newer.is_there else None
    if world.mover.is_there:
        world.loop.create_task(world.mover.run())
    if world.ledger_away_s:
        world.loop.create_task(_ledger_away(world))
    hosts = [0, 1] if dice.random() < 0.25 else [0]
    if world.plan.lacking is not None or world.has_host_clocks:
        hosts = [0, 1]
    for host in hosts:
        world.begin(host)
    world.is_bad = not world.is_calm
    left = list(range(world.messages))
    for number in left[: dice.randint(0, len(left))]:
        world.publish(number)
        left.remove(number)
    for _ in range(dice.choice((0, 2, 4, 8))):
        await asyncio.sleep(dice.choice((0.01, 0.5, 5.0, 20.0)) * dice.random())
        if not world.is_calm:
            await _trouble(world, dice, dice.choice(hosts))
        while left and dice.random() < 0.7:
            world.publish(left.pop())
    await asyncio.sleep(dice.random() * 30)
    for number in left:
        world.publish(number)
    await _end(world, hosts)
    if dice.random() < 0.3 and not world.watch.violations:
        world.replay()
        world.is_bad = not world.is_calm and dice.random() < 0.5
        world.begin(0)
        await asyncio.sleep(dice.random() * 30)
        await _end(world, [0])
    if beside is not None:
        beside.cancel()
    world.watch.settled()


async def _ledger_away(world: World) -> None:
    """The ledger is away while messages wait for their claim, and others are worked on."""
    await asyncio.sleep(world.ledger_away_at)
    world.loop.told("TROUBLE", f"the ledger is away for {world.ledger_away_s:g} s")
    world.ledger_down_until = world.loop.time() + world.ledger_away_s


async def _trouble(world: World, dice: random.Random, host: int) -> None:  # noqa: C901 - one case a kind of trouble
    kind = dice.choices(list(_TROUBLES), list(_TROUBLES.values()))[0]
    alive = world.alive(host)
    workers = [one for one in alive if one.name.startswith("w")]
    supervisors = [one for one in alive if one.name.startswith("s")]
    world.loop.told("TROUBLE", f"{kind}, host {host}")
    match kind:
        case "kill" if workers:
            dice.choice(workers).kill()
        case "kill isolated":
            for worker in workers:
                for child in worker.children:
                    _kill_isolated(world, child)
        case "kill supervisor" if supervisors:
            supervisors[0].kill()
            await asyncio.sleep(dice.random() * 10)
            world.begin(host)
        case "kill host":
            world.kill_host(host)
            await asyncio.sleep(dice.random() * world.lease_s)
            world.begin(host)
        case "stop" if workers:
            world.stop(dice.choice(workers), dice.choice((1.0, 2.2)) * world.lease_s)
        case "stop host":
            seconds = dice.choice((1.0, 2.2)) * world.lease_s
            for one in alive:
                world.stop(one, seconds)
        case "jump":
            world.has_jumped = True
            jumped_s = dice.choice((-3600.0, -30.0, 30.0, 3600.0))
            if world.has_host_clocks:
                world.ahead_s[host] += jumped_s
            else:
                world.jumped_s += jumped_s
        case "broker down":
            world.broker_down_until = world.loop.time() + dice.choice((3.0, 20.0, 2.0 * world.lease_s))
            for connection in world.connections:
                world.stored.disconnect(connection)
        case "ledger down":
            world.ledger_down_until = world.loop.time() + dice.choice((3.0, 20.0, 2.0 * world.lease_s))
        case "bodies away":
            world.bodies_hidden_until = world.loop.time() + dice.choice((5.0, 100.0))
        case "damaged row" if world.watch.accepted:
            uid = dice.choice(list(world.watch.accepted))
            world.damaged[uid] = world.loop.time() + dice.choice((5.0, 100.0))
        case "restart":
            if dice.random() < 0.5:
                world.loop.told("PERSON", world.plan.change(dice))
                world.has_changed = True
            await _stop(world, host)
            world.begin(host)
        case "replay":
            world.replay()
        case _:
            pass


def _kill_isolated(world: World, child: object) -> None:
    running = [one for one in world.watch.running if one[0] is child]
    for _, uid, generation, _ in running:
        if (uid, generation) in world.isolated_hit:
            return
    for _, uid, generation, task in running:
        world.isolated_hit.add((uid, generation))
        world.watch.disturbed.add((uid, generation, task))
    if running:
        child.kill()  # type: ignore[attr-defined]


async def _stop(world: World, host: int) -> None:
    """SIGTERM; then all of the host's processes end in time."""
    began = world.loop.time()
    world.stop_host(host)
    settings = world.settings
    stopped = max((one.stopped_until for one in world.alive(host)), default=began)
    bound = max(began, stopped) + settings.shutdown_s + 5 + 5 + 15
    while world.alive(host):
        if world.loop.time() > bound and not world.is_down():
            raise TimeoutError(f"{world.alive(host)} have not ended {world.loop.time() - began:.0f} s after SIGTERM")
        await asyncio.sleep(0.25)


async def _end(world: World, hosts: list[int]) -> None:
    """The faults stop, and the moves; what is left is worked off."""
    world.mover.is_over = True
    world.is_bad = False
    world.broker_down_until = world.bodies_hidden_until = 0.0
    if not world.ledger_away_s:
        world.ledger_down_until = 0.0
    world.damaged.clear()
    if world.is_calm:
        await _until_empty(world)
    for host in hosts:
        await _until_staffed(world, host)
    for host in (*hosts, *hosts):  # one that a task took down may be started again while another is being stopped
        await _stop(world, host)
    began = world.loop.time()
    until = began + _ENDS_WITHIN_S
    while True:
        world.begin(0, drains=True)
        while world.alive(0) or world.is_lost(0):
            if world.loop.time() > until:
                raise TimeoutError(f"the queues never become empty: {_depths(world)}")
            await asyncio.sleep(1.0)
        if not world.is_estimating:
            _told_rightly(world)
        if _is_empty(world):
            if world.has_host_clocks and not _may_be_late(world) and world.loop.time() - began > _LATE_S:
                world.watch.wrong(f"the last message waited {world.loop.time() - began:.0f} s for a clock")
            return
        # what was held when the end began may have been buried since
        may_leave = world.left_undone and (world.held() or world.plan.lacking is not None)
        if not world.is_estimating and not may_leave:
            raise TimeoutError("--drain ended before the queues were empty")
        await asyncio.sleep(5.0)


async def _until_staffed(world: World, host: int) -> None:
    """No worker's place stays empty, however the one before came to its end."""
    until = world.loop.time() + _STAFFED_WITHIN_S
    chosen = world.settings
    places = len(allocate(chosen.no_of_requests_consumers, chosen.no_of_rejects_consumers, chosen.pool_size))
    while True:
        alive = world.alive(host)
        if any(one.is_stopped for one in alive):
            until = world.loop.time() + _STAFFED_WITHIN_S  # who stands still replaces nobody
        names = [one.name for one in alive]
        supervisors = [name for name in names if name.startswith("s")]
        if not supervisors or len(names) - len(supervisors) >= places:
            return
        if world.loop.time() > until:
            raise TimeoutError(f"a worker is missing {_STAFFED_WITHIN_S:g} s after the last fault: {names}")
        await asyncio.sleep(1.0)


async def _until_empty(world: World) -> None:
    """Nobody is stopped meanwhile: then no task may start more often than it was tried."""
    until = world.loop.time() + _ENDS_WITHIN_S
    while not _is_empty(world):
        if world.loop.time() > until:
            raise TimeoutError(f"the queues never become empty: {_depths(world)}")
        await asyncio.sleep(1.0)


def _told_rightly(world: World) -> None:
    """Whether `--drain` has told of what it left. What a newer version took at that moment may have been told, too."""
    is_left = bool(world.newer.count(world.queues.rejects) or world.held())
    if is_left and not world.left_undone:
        world.watch.wrong("--drain ended well, and left messages that it can't read or finish")
    if world.left_undone and not is_left and not world.newer.takes:
        world.watch.wrong("--drain told of copies that it left, and there are none")


def _may_be_late(world: World) -> bool:
    """Whether something else than a retry may wait for long at the end."""
    return bool(world.has_changed or world.receives or world.newer.is_there or world.mover.is_there)


def _is_empty(world: World) -> bool:
    """But for what only a newer version can read."""
    names = (world.queues.requests, world.queues.rejects)
    return all(world.stored.depth(name) == world.newer.count(name) for name in names)


def _depths(world: World) -> dict[str, int]:
    return {name: world.stored.depth(name) for name in world.queues.all}
