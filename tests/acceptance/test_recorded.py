"""What an earlier version left in queues and ledger is finished by this one: `tests/golden` says how it was made."""

import json
from collections import Counter
from pathlib import Path

import pytest

from tests.acceptance.harness.recorded import Embedded, Postgres, Rabbit, Sqs

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "a1e6fb8"
# the embedded queue keeps its own time over one boot while the clock disagrees by up to a day: that of another host
LATER_S = 172_800.0
CODE = """
    class First(Task):
        async def run(self, data, context: TaskContext):
            with effect(data, context):
                pass

    class Second(Task):
        async def run(self, data, context: TaskContext):
            with effect(data, context):
                pass

    class Alert(Task):
        async def run(self, data, context: TaskContext):
            with effect(data, context):
                pass
"""
# what is still to be done for each sample, as (task, attempt); a letter's, once it is replayed
LEFT = {
    "ok": [],
    "once": [("Second", 2)],
    "once-packed": [("Second", 2)],
    "once-stored": [("Second", 2)],
    "once-full": [("Second", 2)],
    "never": [],
    "never-stored": [],
    "finished": [],
    "copied": [("Second", 2)],
    "buried": [("Alert", 1)],
    "cut": [("Second", 1)],
    "crash": [("Second", 1)],
}
LETTERS = ("never", "never-stored", "buried")


@pytest.fixture(params=["sqlite", "postgres", "sqs", "rabbitmq"])
def service(request, app, start_sqs):
    """Each service with what the earlier version left there, two days later."""
    app.task("work", CODE)
    app.manifest("work First", "work Second", "work Alert default")
    app.settings |= {"POOL_SIZE": 1, "NO_OF_REQUESTS_CONSUMERS": 1, "NO_OF_REJECTS_CONSUMERS": 1, "LEASE_S": 3}
    match request.param:
        case "sqlite":
            found = Embedded(app, LATER_S)
        case "postgres":
            found = Postgres(app, LATER_S, request.getfixturevalue("postgres"))
        case "rabbitmq":
            found = Rabbit(app, LATER_S, request.getfixturevalue("rabbitmq"))
        case "sqs":
            found = Sqs(app, LATER_S)
            found.use(start_sqs(*Sqs.options, env=app.environment))
    found.put(GOLDEN / request.param)
    found.samples = json.loads((GOLDEN / request.param / "samples.json").read_text("utf-8"))
    return found


def runs(app):
    """How often each task ended on each body, by attempt; what was started and did not end is there, too."""
    ends = Counter((one.uid, one.task, one.attempt) for one in app.effects(what="end"))
    assert ends == Counter((one.uid, one.task, one.attempt) for one in app.effects(what="start"))
    return ends


def test_messages_rows_and_letters_of_an_earlier_version_are_finished_and_nothing_done_runs_again(service):
    app, samples = service.app, service.samples
    uids = {name: sample["uid"] for name, sample in samples.items()}
    names = [name for name in LETTERS if name in samples]
    assert all(name in LEFT for name in samples)

    told = {letter["uid"]: letter for letter in app.dead()}
    shown = {name: app.cli("dead", "show", "--body", uids[name]).stdout for name in names}
    drained = app.drain()
    before = runs(app)
    replayed = app.cli("dead", "replay", *(uids[name] for name in names))
    app.drain()
    after = runs(app) - before

    assert told.keys() == {uids[name] for name in names}
    for name in names:
        tasks = told[uids[name]]["tasks"]
        assert told[uids[name]]["failed"] == ["Second"]
        assert (tasks["First"]["state"], tasks["Second"]["attempts"]) == ("done", 2)
        assert "RuntimeError: as its name says" in shown[name]
        assert samples[name]["body"] in shown[name]
    assert before == Counter({(uids[name], task, attempt): 1 for name in samples for task, attempt in LEFT[name]})
    sentence = "was in flight at 1 death of a worker or its host: its tasks run in isolation now"
    assert f"{uids['crash']} {sentence}" in drained.log()
    assert replayed.returncode == 0, replayed.stderr
    assert after == Counter({(uids[name], "Second", 1): 1 for name in names})
    assert app.left() == {"requests": 0, "rejects": 0}
    assert app.dead() == []
    bodies = {one.uid: one.body for one in app.effects(what="end")}
    assert bodies == {sample["uid"]: sample["body"] for name, sample in samples.items() if LEFT[name] or name in names}
