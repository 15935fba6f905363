"""Each role with the rights that `mulligan iam-policy` gives it and no others; the server holds them queue by queue."""

import json

import pytest

from tests.acceptance.harness.sqs import REGION

ROLES = ("setup", "producer", "worker", "desk")
CODE = """
    class Only(Task):
        async def run(self, data, context: TaskContext):
            with effect(data, context):
                if data == "never" or (data == "once" and context.attempt == 1):
                    raise RuntimeError("as its name says")
"""


class Guarded:
    """An application at a server that knows a key for each role. server, app."""

    def __init__(self, app, server) -> None:
        self.app = app
        self.server = server

    def as_role(self, role: str) -> None:
        """What is started from now on signs with the role's key."""
        self.app.environment |= {"AWS_ACCESS_KEY_ID": role, "AWS_SECRET_ACCESS_KEY": role}
        self.app.settings["CREATE_QUEUES"] = False

    def denied(self) -> dict[str, int]:
        """Requests that were refused for want of a right, by action."""
        told = self.server.counters()["requests"]
        return {action: count for action, outcome in told.items() if (count := outcome.get("AccessDeniedException"))}


@pytest.fixture
def policies(app):
    """The policy documents by role, as the command line prints them."""
    told = {role: app.cli("iam-policy", "--role", role, "--region", REGION) for role in ROLES}
    return {role: json.loads(one.stdout) for role, one in told.items()}


@pytest.fixture
def guard(app, start_sqs, tmp_path):
    """Makes a `Guarded` of policies by role."""

    def make(policies) -> Guarded:
        keys = tmp_path / "keys.json"
        keys.write_text(json.dumps([{"id": role, "secret": role, "policy": policies[role]} for role in policies]))
        server = start_sqs("--keys", str(keys))
        server.point(app)
        app.task("work", CODE)
        app.manifest("work Only")
        app.settings |= {"POOL_SIZE": 1, "SHUTDOWN_S": 1, "LOG_LEVEL": "INFO"}
        return Guarded(app, server)

    return make


def make_queues(guarded) -> None:
    """As somebody who may make them, and nothing else; what runs later may not."""
    guarded.as_role("setup")
    told = guarded.app.cli("setup")
    assert told.returncode == 0, told.stderr


def test_every_role_does_its_work_with_the_rights_of_its_policy_and_no_others(guard, policies, until):
    guarded = guard(policies)
    app = guarded.app
    make_queues(guarded)
    checked = app.cli("check")
    guarded.as_role("producer")
    for body in ("ok", "once", "never"):
        assert app.publish(body)
    guarded.as_role("worker")
    system = app.start()
    until(lambda: app.count("Only", "failed") == 3, "the tasks have failed")
    until(lambda: guarded.server.counters()["messages"]["deleted"] == 5, "all is settled")
    system.end()
    guarded.as_role("desk")
    shown = app.cli("dead", "show", app.dead()[0]["uid"])
    replayed = app.cli("dead", "replay", "--all")
    rejects = app.status()["rejects"]["ready"]

    assert guarded.denied() == {}
    assert (checked.returncode, shown.returncode) == (0, 0), checked.stdout
    assert (replayed.returncode, replayed.stderr) == (0, "1 dead letter replayed\n")
    assert rejects == 1


def test_check_tells_a_refused_key_where_a_start_may_make_queues(guard, policies):
    guarded = guard(policies)
    make_queues(guarded)
    guarded.app.settings["CREATE_QUEUES"] = True
    guarded.app.environment["AWS_SECRET_ACCESS_KEY"] = "wrong"

    checked = guarded.app.cli("check")

    assert checked.returncode != 0, checked.stdout
    assert "problem  queues" in checked.stdout
    assert "the secret key is wrong" in checked.stdout


def test_start_says_which_right_is_missing_and_ends(guard, policies):
    guarded = guard({**policies, "worker": {"Statement": []}})
    make_queues(guarded)

    guarded.as_role("worker")
    system = guarded.app.start()

    assert system.wait() != 0
    assert "is not authorized to perform: sqs:getqueueurl" in system.log()
    assert "Traceback" not in system.log()


def test_producer_that_may_not_send_is_told_which_right_is_missing(guard, policies):
    find = {"Effect": "Allow", "Action": ["sqs:GetQueueUrl", "sqs:GetQueueAttributes"], "Resource": "*"}
    guarded = guard({**policies, "producer": {"Statement": [find]}})
    make_queues(guarded)

    guarded.as_role("producer")
    told = guarded.app.cli("send", "x")

    assert told.returncode == 1
    assert "is not authorized to perform: sqs:sendmessage" in told.stderr
    assert "Traceback" not in told.stderr


def test_nothing_is_lost_when_the_worker_may_not_put_dead_letters(guard, policies, until):
    worker = json.loads(json.dumps(policies["worker"]))
    (copy,) = (one for one in worker["Statement"] if one["Sid"] == "Copy")
    copy["Resource"] = [arn for arn in copy["Resource"] if "dead" not in arn]
    guarded = guard({**policies, "worker": worker})
    make_queues(guarded)
    guarded.as_role("producer")
    guarded.app.publish("never")

    guarded.as_role("worker")
    system = guarded.app.start()
    until(lambda: "not authorized to perform: sqs:sendmessage" in system.log(), "the log tells of the missing right")
    guarded.as_role("desk")
    status = guarded.app.status()

    assert system.popen.poll() is None
    assert sum(status["rejects"][kind] for kind in ("ready", "delayed", "in_flight")) == 1
    assert "Traceback" not in system.log()
