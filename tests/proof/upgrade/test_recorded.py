"""What an earlier version left in queues and ledger is finished by this one: `tests/golden` says how it was made."""

import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.acceptance.harness.recorded import Embedded, Postgres, Rabbit, Sqs, SqsFifo

GOLDEN = Path(__file__).resolve().parents[2] / "golden" / "a1e6fb8"
# the embedded queue keeps its own time over one boot while the clock disagrees by up to a day: that of another host
LATER_S = 172_800.0
CODE = """
    import json

    class First(Task):
        async def run(self, data, context: TaskContext):
            with effect(data, context):
                pass

    class Second(Task):
        async def run(self, data, context: TaskContext):
            note("attributes", json.dumps(dict(context.message.attributes), default=str), context)
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
    "once-wide": [("Second", 2)],
    "once-aside": [("Second", 2)],
    "held": [("Second", 2)],
    "held-behind": [("First", 1), ("Second", 1)],
    "never": [],
    "never-stored": [],
    "never-wide": [],
    "finished": [],
    "copied": [("Second", 2)],
    "buried": [("Alert", 1)],
    "cut": [("Second", 1)],
    "cut-behind": [("First", 1), ("Second", 1)],
    "crash": [("Second", 1)],
}
STATES = ("ready", "delayed", "in_flight")
LETTERS = ("never", "never-stored", "never-wide", "buried")


@pytest.fixture(params=["sqlite", "postgres", "sqs", "sqs-fifo", "rabbitmq", "rabbitmq-envelope"])
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
        case "rabbitmq" | "rabbitmq-envelope":
            found = Rabbit(app, LATER_S, request.getfixturevalue("rabbitmq"))
        case "sqs" | "sqs-fifo":
            found = (SqsFifo if request.param == "sqs-fifo" else Sqs)(app, LATER_S)
            found.use(start_sqs(*Sqs.options, env=app.environment))
    found.put(GOLDEN / request.param)
    found.samples = json.loads((GOLDEN / request.param / "samples.json").read_text("utf-8"))
    return found


def runs(app):
    """How often each task ended on each body, by attempt; what was started and did not end is there, too."""
    ends = Counter((one.uid, one.task, one.attempt) for one in app.effects(what="end"))
    assert ends == Counter((one.uid, one.task, one.attempt) for one in app.effects(what="start"))
    return ends


def show(app, uids):
    """What `mulligan dead show` prints of each letter."""
    return [app.cli("dead", "show", "--body", uid).stdout for uid in uids]


def attributes(app):
    """Of each message, as its second task had them last."""
    return {one.uid: json.loads(one.body) for one in app.effects(what="attributes")}


def test_messages_rows_and_letters_of_an_earlier_version_are_finished_and_nothing_done_runs_again(service):
    app, samples = service.app, service.samples
    uids = {name: sample["uid"] for name, sample in samples.items()}
    names = [name for name in LETTERS if name in samples]
    assert all(name in LEFT for name in samples)

    listed = {letter["uid"]: letter for letter in app.dead()}
    # a drain sends the letter of a message that was being buried again: that one is shown before
    early = [name for name in names if name == "buried"]
    rest = [name for name in names if name != "buried"]
    shown = dict(zip(early, show(app, [uids[name] for name in early]), strict=True))
    with ThreadPoolExecutor(1) as beside:
        showing = beside.submit(show, app, [uids[name] for name in rest])
        drained = app.drain()
        shown |= dict(zip(rest, showing.result(), strict=True))
    before = runs(app)
    replayed = app.cli("dead", "replay", *(uids[name] for name in names))
    groups = service.groups("rejects") if isinstance(service, SqsFifo) else None
    app.drain()
    after = runs(app) - before
    status = app.status()
    left = {queue: sum(status[queue][state] or 0 for state in STATES) for queue in ("requests", "rejects", "dead")}

    assert listed.keys() == {uids[name] for name in names}
    for name in names:
        tasks = listed[uids[name]]["tasks"]
        assert listed[uids[name]]["failed"] == ["Second"]
        assert (tasks["First"]["state"], tasks["Second"]["attempts"]) == ("done", 2)
        assert "RuntimeError: as its name says" in shown[name]
        assert samples[name]["body"] in shown[name]
    assert before == Counter({(uids[name], task, attempt): 1 for name in samples for task, attempt in LEFT[name]})
    if "crash" in samples:
        sentence = "was in flight at 1 death of a worker or its host: its tasks run in isolation now"
        assert f"{uids['crash']} {sentence}" in drained.log()
    assert replayed.returncode == 0, replayed.stderr
    assert after == Counter({(uids[name], "Second", 1): 1 for name in names})
    assert left == {"requests": 0, "rejects": 0, "dead": 0}
    if groups is not None:
        assert sorted(groups) == sorted(samples[name]["group"] for name in names)
    ends = [(one.uid, one.task) for one in app.effects(what="end")]
    for name in [name for name in samples if name.endswith("-behind")]:
        head = uids[name.removesuffix("-behind")]
        assert ends.index((head, "Second")) < ends.index((uids[name], "First"))
    seen = attributes(app)
    for sample in samples.values():
        assert sample.get("attributes", {}).items() <= seen.get(sample["uid"], {}).items()
    bodies = {one.uid: one.body for one in app.effects(what="end")}
    assert bodies == {sample["uid"]: sample["body"] for name, sample in samples.items() if LEFT[name] or name in names}
