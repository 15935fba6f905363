"""FIFO queues under failures: many groups, two worker processes, and the order of each group from the effect log.

The bodies are <group>-<place>-<fate>; `once` fails the first time, `never` every time.
"""

import os
import random
import signal
import time
from collections import defaultdict

__all__ = ["keep_order_when_heads_are_held", "keep_order_when_heads_step_aside", "lay_out"]

FAIL_ONCE = 0.1
FAIL_ALWAYS = 0.02
NAMES = {
    "REQUESTS_QUEUE": "app-requests-q.fifo",
    "REJECTS_QUEUE": "app-rejects-q.fifo",
    "DEAD_QUEUE": "app-dead-q.fifo",
}
CODE = """
    class Only(Task):
        async def run(self, data, context: TaskContext):
            with effect(data, context):
                await asyncio.sleep(0.002)
                if data.endswith("never") or (data.endswith("once") and context.attempt == 1):
                    raise RuntimeError("as its name says")

    class Alert(Task):
        async def run(self, data, context: TaskContext):
            with effect(data, context):
                pass
"""


def lay_out(app, sqs):
    """The application on FIFO queues of the server."""
    sqs.point(app)
    app.task("work", CODE)
    app.manifest("work Only", "work Alert default")
    app.settings |= {
        "POOL_SIZE": 2, "NO_OF_REQUESTS_CONSUMERS": 2, "NO_OF_REJECTS_CONSUMERS": 2, "CONCURRENCY": 100, "LEASE_S": 10,
        "LOG_LEVEL": "INFO", "SHUTDOWN_S": 4, **NAMES,
    }  # fmt: skip
    return app


def fates(rand: random.Random, count: int) -> list[str]:
    once, never = int(count * FAIL_ONCE), int(count * FAIL_ALWAYS)
    drawn = ["once"] * once + ["never"] * never + ["ok"] * (count - once - never)
    rand.shuffle(drawn)
    return drawn


def send(app, sqs, bodies: list[str]) -> None:
    """Into the groups that the bodies name, in order."""
    url = sqs.declare(app, NAMES["REQUESTS_QUEUE"])
    sqs.fill(
        url,
        [
            {"MessageBody": body, "MessageGroupId": body.split("-")[0], "MessageDeduplicationId": body}
            for body in bodies
        ],
    )


def bodies_of(rand: random.Random, groups: int, each: int) -> list[str]:
    """Place by place over all groups, as producers that work at the same time send."""
    drawn = fates(rand, groups * each)
    return [f"g{group}-{place}-{drawn[group * each + place]}" for place in range(each) for group in range(groups)]


def drain(app, sqs, until, bodies: list[str], kills: int, rand: random.Random) -> None:
    """Run until every message is done or buried; print rate and requests."""
    sqs.reset_counters()
    began_at = time.monotonic()
    system = app.start()
    for number in range(kills):
        wanted = len(bodies) * (number + 1) // (kills + 2)
        until(lambda least=wanted: app.count("Only", "end") >= least, "a share of the messages is done")
        os.kill(rand.choice(system.workers()), signal.SIGKILL)
    finishing = {body for body in bodies if not body.endswith("never")}
    buried = {body for body in bodies if body.endswith("never")}

    def is_done() -> bool:
        assert system.popen.poll() is None, system.log()[-3000:]
        ends = {(one.task, one.body) for one in app.effects(what="end")}
        return ends >= {("Only", body) for body in finishing} | {("Alert", body) for body in buried}

    until(is_done, "every message is done or buried", timeout_s=150)
    effects = app.effects()
    took_s = effects[-1].at - began_at
    until(lambda: [app.status()[name]["in_flight"] for name in ("requests", "rejects")] == [0, 0], "all is settled")
    counters = sqs.counters()
    system.end()
    print(
        f"{len(bodies)} messages in {took_s:.1f} s with the start, {len(bodies) / took_s:.0f}/s; "
        f"{counters['total'] / len(bodies) * 1000:.0f} requests per 1,000: "
        f"{ {action: sum(outcomes.values()) for action, outcomes in counters['requests'].items()} }"
    )


def places(effects) -> dict[str, list[int]]:
    """The places in the order of the effects, for each group."""
    found = defaultdict(list)
    for one in effects:
        group, place, _ = one.body.split("-")
        found[group].append(int(place))
    return found


def seeded() -> random.Random:
    seed = int(os.environ.get("MULLIGAN_TEST_SEED") or random.SystemRandom().randrange(2**32))
    print(f"seed: MULLIGAN_TEST_SEED={seed}")
    return random.Random(seed)


def out_of_order(effects) -> dict[str, list[int]]:
    return {group: seen for group, seen in places(effects).items() if seen != sorted(seen)}


def keep_order_when_heads_are_held(fifo, sqs, until, *, groups: int, each: int, kills: int) -> None:
    """Nothing of a message happens after something of one behind it in its group."""
    rand = seeded()
    bodies = bodies_of(rand, groups, each)
    send(fifo, sqs, bodies)

    drain(fifo, sqs, until, bodies, kills, rand)

    # nothing of a message, its retries and its alert included, happens after something of one behind it
    effects = fifo.effects()
    assert out_of_order(effects) == {}
    assert {one.body for one in effects if one.what == "end" and one.task == "Only"} == {
        body for body in bodies if not body.endswith("never")
    }
    never = sum(body.endswith("never") for body in bodies)
    assert len(fifo.dead()) == never
    if not kills:
        assert fifo.count("Only", "end") == len(bodies) - never
        assert fifo.count("Alert", "end") == never


def keep_order_when_heads_step_aside(fifo, sqs, until, *, groups: int, each: int) -> None:
    """What does not fail keeps its order."""
    rand = seeded()
    fifo.settings["FIFO_ON_FAILURE"] = "continue_group"
    bodies = bodies_of(rand, groups, each)
    send(fifo, sqs, bodies)

    drain(fifo, sqs, until, bodies, 0, rand)

    first = [one for one in fifo.effects("Only") if one.attempt == 1]
    assert out_of_order(first) == {}
    never = sum(body.endswith("never") for body in bodies)
    assert fifo.count("Only", "end") == len(bodies) - never
    assert len(fifo.dead()) == fifo.count("Alert", "end") == never
