"""The run of kills on SQS, while the service itself does wrong: everything that its documentation allows, and more."""

import os

import pytest

from tests.acceptance import killing

BATCHES = ("SendMessageBatch", "DeleteMessageBatch", "ChangeMessageVisibilityBatch")
FAULTS = (
    {"action": "ReceiveMessage", "fault": {"kind": "duplicate", "share": 0.1}},
    {"action": "ReceiveMessage", "chance": 0.2, "fault": {"kind": "reorder"}},
    {"action": "ReceiveMessage", "chance": 0.1, "fault": {"kind": "empty"}},
    {"action": "*", "chance": 0.05, "fault": {"kind": "throttle"}},
    *({"action": action, "chance": 0.2, "fault": {"kind": "fail-entries", "share": 0.2}} for action in BATCHES),
    *({"action": action, "chance": 0.02, "fault": {"kind": "cut", "when": "after"}} for action in BATCHES),
    *({"action": action, "chance": 0.02, "fault": {"kind": "cut", "when": "before"}} for action in BATCHES),
    {"action": "ReceiveMessage", "chance": 0.005, "fault": {"kind": "cut", "when": "after"}},
    {"action": "ReceiveMessage", "chance": 0.005, "fault": {"kind": "cut", "when": "before"}},
)
FULL = bool(os.environ.get("MULLIGAN_TEST_FULL"))
"""The size that was promised, 10,000 messages and 20 kills; else one that takes a minute."""


@pytest.mark.timeout(900)
def test_nothing_is_lost_or_run_again_after_its_record_under_kills_and_a_service_that_does_wrong(app, until, sqs):
    killing.lay_out(app)
    sqs.point(app)

    run = killing.carry_out(
        app, until, messages=10_000 if FULL else 3_000, worker_kills=20 if FULL else 10, supervisor_kills=0,
        sent=lambda: sqs.play(7, *FAULTS),
    )  # fmt: skip
    counters = sqs.counters()
    sqs.behave()

    print(counters)
    killing.check(run)
    status = app.status()
    assert [status[name][kind] for name in ("requests", "rejects") for kind in ("ready", "delayed", "in_flight")] == [
        0
    ] * 6
    # what was to be shown did happen
    happened = {outcome for action in BATCHES for outcome in counters["requests"][action]}
    assert {"cut after", "cut before", "RequestThrottled"} <= happened
    assert counters["messages"]["received"] > 1.05 * len(run.bodies)
