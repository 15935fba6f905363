"""What a drain costs in requests, as the server counts them."""

import pytest

from tests.acceptance.harness.figure import figure

CODE = """
    class Only(Task):
        async def run(self, data, context: TaskContext):
            note("end", data, context)
            if data.endswith("once") and context.attempt == 1:
                raise RuntimeError("as its name says")
"""
MESSAGES = 4_000


@pytest.fixture
def cheap(app, sqs):
    """One process with a hundred messages in flight, whose task does next to nothing."""
    sqs.point(app)
    app.task("work", CODE)
    app.manifest("work Only")
    app.settings |= {
        "POOL_SIZE": 1, "NO_OF_REQUESTS_CONSUMERS": 1, "NO_OF_REJECTS_CONSUMERS": 1, "CONCURRENCY": 100,
        "LOG_LEVEL": "INFO", "TASK_BACKOFF_S": 0.5, "SHUTDOWN_S": 3,
    }  # fmt: skip
    return app


def fill(app, sqs, bodies) -> None:
    name = app.settings.get("REQUESTS_QUEUE", "msgparser-requests-q")
    entries = [{"MessageBody": body} for body in bodies]
    if name.endswith(".fifo"):
        for number, entry in enumerate(entries):
            entry |= {"MessageGroupId": f"g{number % 100}", "MessageDeduplicationId": str(number)}
    sqs.fill(sqs.declare(app, name), entries)


def work(app, sqs, until, successes: int) -> float:
    """Run until all is done and settled; requests per 1,000 messages, the few that a start costs included."""
    sqs.reset_counters()
    system = app.start()
    until(lambda: count(app) >= successes, "every message is done")
    until(lambda: sqs.counters()["messages"]["deleted"] >= successes, "every message is removed")
    told = sqs.counters()
    system.end()
    by_action = {action: sum(outcomes.values()) for action, outcomes in told["requests"].items()}
    print(f"{MESSAGES} messages: {told['total']} requests, {by_action}")
    return told["total"] / MESSAGES * 1000


def count(app) -> int:
    log = app.folder / "effects.log"
    return log.read_text().count("\n") if log.exists() else 0


@pytest.mark.parametrize("kind", ["standard", "fifo"])
def test_drain_costs_a_receive_and_a_removal_for_ten_messages(cheap, sqs, until, kind):
    if kind == "fifo":
        cheap.settings |= {"REQUESTS_QUEUE": "a-q.fifo", "REJECTS_QUEUE": "b-q.fifo", "DEAD_QUEUE": "c-q.fifo"}
    fill(cheap, sqs, [f"{number}-ok" for number in range(MESSAGES)])

    per_thousand = work(cheap, sqs, until, MESSAGES)

    print(f"{per_thousand:.1f} requests per 1,000 messages")
    assert per_thousand <= 205


def test_drain_costs_little_more_when_one_in_twenty_fails_once(cheap, sqs, until):
    fill(cheap, sqs, [f"{number}-{'ok' if number % 20 else 'once'}" for number in range(MESSAGES)])

    per_thousand = work(cheap, sqs, until, MESSAGES + MESSAGES // 20)

    print(f"{per_thousand:.1f} requests per 1,000 messages")
    assert per_thousand <= 240


@pytest.mark.figure
def test_drain_costs_at_most_a_third_more_when_one_request_in_ten_is_throttled(cheap, sqs, until):
    bodies = [f"{number}-ok" for number in range(MESSAGES)]
    fill(cheap, sqs, bodies)
    without = work(cheap, sqs, until, MESSAGES)
    (cheap.folder / "effects.log").unlink()
    fill(cheap, sqs, bodies)
    sqs.play(11, {"action": "*", "chance": 0.1, "fault": {"kind": "throttle"}})

    throttled = work(cheap, sqs, until, MESSAGES)

    figure(
        "G11", "sqs",
        f"{without:.0f} requests per 1,000 messages, {throttled:.0f} with a tenth of the requests throttled: "
        f"{throttled / without:.2f} times as many",
    )  # fmt: skip
    assert throttled <= 1.3 * without
