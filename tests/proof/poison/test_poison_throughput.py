"""Twenty messages that kill their worker, in six ways: each is buried after three starts, and the others go on."""

from collections import Counter

import pytest

from tests.acceptance.harness.figure import figure

KINDS = {
    "exit": "os._exit(0)",
    "segfault": "ctypes.string_at(0)",
    "abort": "os.abort()",
    "killed": "os.kill(os.getpid(), signal.SIGKILL)",  # as the kernel does when memory is short
    "overflow": "faulthandler._stack_overflow()",
    "trap": "os.kill(os.getpid(), signal.SIGILL)",
}
POISON = [f"{kind}-{number}" for number, kind in zip(range(20), list(KINDS) * 4, strict=False)]
SHARE = 0.2
"""The promise says 0.8, of a machine that has another worker up in half a second."""
CLEAN, AMONG = 2000, 10_000
"""Messages before the first poison and among it: half a minute, of which the workers' starts are a small part."""

CODE = f"""
    import faulthandler

    DEEDS = {{{", ".join(f'"{kind}": lambda: {deed}' for kind, deed in KINDS.items())}}}

    class Work(Task):
        async def run(self, data, context: TaskContext):
            with effect(data, context):
                await asyncio.sleep(0.05)
                DEEDS.get(data.partition("-")[0], lambda: None)()
"""


def mixed(good: list[str]) -> list[str]:
    """The poison evenly among those after the first."""
    bodies = list(good)
    for number, body in enumerate(POISON):
        bodies.insert(CLEAN + number * AMONG // len(POISON) + number, body)
    return bodies


def per_second(app) -> tuple[float, float]:
    """Good messages a second: before the poison, and from then to the last but the slowest hundredth."""
    effects = [one for one in app.effects("Work") if one.body.startswith("good")]
    ends = sorted({one.body: one.at for one in effects if one.what == "end"}.values())
    most = len(ends) * 99 // 100
    return CLEAN / (ends[CLEAN] - effects[0].at), (most - CLEAN) / (ends[most] - ends[CLEAN])


@pytest.mark.figure
@pytest.mark.alone
def test_poison_is_buried_after_three_starts_and_the_others_lose_little_time(app, broker):
    broker.point(app)
    good = [f"good-{number}" for number in range(CLEAN + AMONG)]
    app.task("work", CODE)
    app.manifest("work Work")
    app.settings |= {
        "POOL_SIZE": 5, "NO_OF_REQUESTS_CONSUMERS": 5, "CONCURRENCY": 4, "LEASE_S": 30, "LOG_LEVEL": "INFO",
    }  # fmt: skip
    app.send(mixed(good))
    app.drain(300)

    starts = Counter(one.body for one in app.effects(what="start"))
    ends = Counter(one.body for one in app.effects(what="end"))
    of_poison = Counter(starts[body] for body in POISON)
    before, then = per_second(app)
    figure(
        "G6", broker.name,
        f"{len(POISON)} poison messages of {len(KINDS)} kinds among {AMONG}, starts and how many had so many: "
        f"{dict(of_poison)}",
    )  # fmt: skip
    # a start that the death of another's worker cuts short is not its own doing, and is not counted against it
    assert min(of_poison) == 3
    assert of_poison[3] >= len(POISON) / 2
    assert len(app.dead()) == len(POISON)
    assert {body for body in good if not ends[body]} == set()
    assert app.left() == {"requests": 0, "rejects": 0}
    figure("G6", broker.name, f"throughput of the others {then / before:.0%} ({then:.0f} of {before:.0f} a second)")
    assert then > SHARE * before
