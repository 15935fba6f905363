"""The run of kills on SQS, while the service itself does wrong: everything that its documentation allows, and more."""

import pytest

from tests.acceptance.harness import killing
from tests.acceptance.harness.figure import figure
from tests.proof.size import IS_FULL

MESSAGES = 10_000 if IS_FULL else 5_000
BATCHES = ("SendMessageBatch", "DeleteMessageBatch", "ChangeMessageVisibilityBatch")
FAULTS = (
    {"action": "ReceiveMessage", "fault": {"kind": "duplicate", "share": 0.1}},
    {"action": "ReceiveMessage", "chance": 0.2, "fault": {"kind": "reorder"}},
    {"action": "ReceiveMessage", "chance": 0.5, "fault": {"kind": "empty"}},
    {"action": "*", "chance": 0.05, "fault": {"kind": "throttle"}},
    *({"action": action, "chance": 0.2, "fault": {"kind": "fail-entries", "share": 0.2}} for action in BATCHES),
    *({"action": action, "chance": 0.02, "fault": {"kind": "cut", "when": "after"}} for action in BATCHES),
    *({"action": action, "chance": 0.02, "fault": {"kind": "cut", "when": "before"}} for action in BATCHES),
    {"action": "ReceiveMessage", "chance": 0.005, "fault": {"kind": "cut", "when": "after"}},
    {"action": "ReceiveMessage", "chance": 0.005, "fault": {"kind": "cut", "when": "before"}},
)


@pytest.mark.figure
def test_nothing_is_lost_or_run_again_after_its_record_under_kills_and_a_service_that_does_wrong(app, until, sqs):
    killing.lay_out(app)
    sqs.point(app)

    run = killing.carry_out(
        app, until, messages=MESSAGES, worker_kills=30, supervisor_kills=1,
        sent=lambda: sqs.play(7, *FAULTS),
    )  # fmt: skip
    counters = sqs.counters()
    sqs.behave()

    print(counters)
    killing.check(run, "sqs")
    assert app.left() == {"requests": 0, "rejects": 0}
    # what was to be shown did happen
    requests, messages = counters["requests"], counters["messages"]
    happened = {outcome for action in BATCHES for outcome in requests[action]}
    assert {"cut after", "cut before", "RequestThrottled"} <= happened
    assert messages["received"] > 1.05 * len(run.bodies)
    empty = requests["ReceiveMessage"]["empty"]
    figure(
        "G12",
        "sqs",
        f"all of G1 to G4 with {messages['received']} receipts of {messages['sent']}, {empty} false empties",
    )
