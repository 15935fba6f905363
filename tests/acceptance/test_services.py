"""The whole request at once, on stand-ins of Jira, Trello and Slack that fail as the real ones can.

A message's body tells its fate: `bad-a...` and `bad-b...` have a task that fails for good, each for its own reason.
"""

import os
import random
import signal
import threading
from collections import Counter

import pytest

from tests.servers.all import running
from tests.servers.service import Fault

MESSAGES = 200
BAD = {"bad-a": 6, "bad-b": 4}
KILLS = 5
FULL = bool(os.environ.get("MULLIGAN_TEST_FULL"))
TRELLO_DOWN_S = 60.0 if FULL else 12.0
"""A minute takes a minute; the tests of the rule have a service down for an hour of another clock."""

CHECK = """
    class Check(Task):
        async def run(self, data: str):
            if data.startswith("bad-a"):
                raise ValueError(f"no such article: {data!r}")
            if data.startswith("bad-b"):
                raise LookupError(f"no such customer: {data!r}")
"""

# as Jira's own lag is minutes, its schedule of looks takes two; the stand-in's lag is a second
JIRA = """
    from mulligan import integrations

    class JiraIssueCreatorTask(integrations.JiraIssueCreatorTask):
        looks_at_s = (1.5, 4.0, 8.0)
"""
FILES = (
    "jira_issue_creator_task JiraIssueCreatorTask",
    "trello_card_creator_task TrelloCardCreatorTask",
    "slack_message_sender_task SlackMessageSenderTask",
)


@pytest.fixture
def services():
    with running() as found:
        yield found


@pytest.fixture
def whole(samples, services):
    samples.environment |= services.environment
    return samples


@pytest.fixture(params=["sqlite", "sqs"])
def queue(request, whole):
    """The application on a broker: a name more here, and what points the application at it, is one more run."""
    if request.param == "sqs":
        request.getfixturevalue("sqs").point(whole)
    return whole


def dropping(rand: random.Random):
    """One create in eight is done and its reply lost, one in sixteen is cut before that."""

    def fault(request):
        if request.method != "POST" or not request.path.endswith("/issue"):
            return None
        chance = rand.random()
        return Fault(True, None) if chance < 1 / 8 else Fault(False, None) if chance < 3 / 16 else None

    return fault


@pytest.mark.timeout(400)
def test_each_message_is_one_issue_one_card_and_one_message_whatever_the_services_and_workers_do(
    queue, services, until
):
    app = queue
    seed = int(os.environ.get("MULLIGAN_TEST_SEED") or random.SystemRandom().randrange(2**32))
    print(f"seed: MULLIGAN_TEST_SEED={seed}")
    rand = random.Random(seed)
    app.task("check", CHECK)
    app.task("jira_issue_creator_task", JIRA)
    app.manifest("check Check", *FILES, "task4 Task4 default")
    app.settings |= {"POOL_SIZE": 3, "LOG_LEVEL": "INFO", "LEASE_S": 10}
    bodies = [f"{kind}-{number}" for kind, count in BAD.items() for number in range(count)]
    bodies += [f"good-{number}" for number in range(MESSAGES - len(bodies))]
    rand.shuffle(bodies)
    services.jira.chaos, services.jira.lag_s = dropping(rand), 1.0
    services.slack.limit = 15
    services.trello.is_down = True
    for one in services[:3]:
        one.delay_s = 0.05
    app.send(bodies)

    system = app.start("--drain")
    up_again = threading.Timer(TRELLO_DOWN_S, lambda: setattr(services.trello, "is_down", False))
    up_again.start()
    try:
        for kill in range(KILLS):
            wanted = (kill + 1) * 2 * MESSAGES // (KILLS + 2)
            until(lambda wanted=wanted: created(services) >= wanted, f"{wanted} objects are there")
            victim = rand.choice(until(system.workers, "there is a worker"))
            os.kill(victim, signal.SIGKILL)
            until(lambda victim=victim: victim not in system.workers(), "the victim is gone")
        assert system.wait(240) == 0, system.log()[-3000:]
    finally:
        up_again.cancel()
        up_again.join()

    alerts = [one for one in services.slack.messages if is_alert(one)]
    plain = [one for one in services.slack.messages if not is_alert(one)]
    letters = app.dead()
    print(f"died with their workers: {system.log().count('alone')} messages; {len(letters)} dead letters")
    assert repeated(services.jira.keys()) == repeated(services.trello.keys()) == []
    assert repeated(one["metadata"]["event_payload"]["key"] for one in plain) == []
    assert len(services.jira.issues) == len(services.trello.cards) == len(plain) == MESSAGES
    assert sorted(one["text"] for one in plain) == sorted(bodies)

    assert len(letters) == sum(BAD.values())
    assert {tuple(letter["failed"]) for letter in letters} == {("Check",)}
    groups = Counter(
        (letter["tasks"]["Check"]["error"].split(":")[0], int(letter["tasks"]["Check"]["failed_at"] // 60))
        for letter in letters
    )
    assert sorted(count_of(one) for one in alerts) == sorted(groups.values())


def created(services) -> int:
    return len(services.jira.issues) + len(services.slack.messages)


def is_alert(message) -> bool:
    return message["text"].startswith(":rotating_light:")


def count_of(alert) -> int:
    words = alert["text"].splitlines()[0].split()
    return 1 if "a" in words else int(words[words.index("messages*") - 1])


def repeated(keys) -> list[str]:
    return [key for key, count in Counter(keys).items() if count > 1]


BAD_CONFIGURATIONS = {
    "no token at all": (
        {"JIRA_PASSWORD": ""},
        "the environment variable JIRA_PASSWORD is not set: export JIRA_PASSWORD=",
    ),
    "plain http to another machine": ({"JIRA_SERVER_URL": "http://jira.example.com"}, "Write https://jira.example.com"),
    "Jira is not there": ({"JIRA_SERVER_URL": "http://127.0.0.1:9"}, "Is JIRA_SERVER_URL right"),
    "Jira's token is old": ({"JIRA_PASSWORD": "old"}, "tokens expire within a year: make a new one"),
    "no such project": ({"JIRA_PROJECT_KEY": "NOPE"}, "no project 'NOPE'"),
    "no such issue type": ({"JIRA_ISSUE_TYPE": "Epos"}, "JIRA_ISSUE_TYPE must be one of: Bug, Task."),
    "Trello's key is wrong": ({"TRELLO_KEY": "x"}, "TRELLO_KEY is not taken"),
    "Trello's token is wrong": ({"TRELLO_AUTH_TOKEN": "x"}, "TRELLO_AUTH_TOKEN is not taken"),
    "no such board": ({"TRELLO_BOARD_ID": "nope"}, "TRELLO_BOARD_ID is in the board's address"),
    "no such list": ({"TRELLO_LIST_NAME": "Nope"}, "TRELLO_LIST_NAME must be one of: 'Incoming', 'Done'."),
    "Slack's token is wrong": ({"SLACK_API_TOKEN": "x"}, "Copy the bot token (xoxb-...)"),
    "no such channel": ({"SLACK_CHANNEL": "nope"}, "invite the app to it: /invite @app"),
}


@pytest.mark.parametrize("kind", BAD_CONFIGURATIONS)
def test_check_says_what_to_do_when_a_service_is_set_up_wrongly(whole, kind):
    environment, told = BAD_CONFIGURATIONS[kind]
    whole.manifest(*FILES, "task4 Task4 default")
    whole.environment |= environment

    checked = whole.cli("check")

    assert checked.returncode == 2
    assert told in checked.stdout
    assert "Traceback" not in checked.stdout + checked.stderr
    assert "old" not in [word.strip("'") for word in checked.stdout.split()]


def test_check_is_content_when_the_services_are_set_up_rightly(whole, services):
    whole.manifest(*FILES, "task4 Task4 default")

    checked = whole.cli("check")

    assert (checked.returncode, checked.stdout.count("answers as it should")) == (0, 4)
    assert services.jira.issues == services.trello.cards == services.slack.messages == []


def test_application_starts_without_the_extra_while_its_tasks_are_off_and_says_what_to_install_when_one_is_on(samples):
    hidden = samples.folder / "hidden"
    hidden.mkdir()
    (hidden / "sitecustomize.py").write_text(
        "import importlib.util as util, sys\n"
        "found = util.find_spec\n"
        "util.find_spec = lambda name, package=None: None if name == 'httpx' else found(name, package)\n"
        "sys.modules['httpx'] = None\n"
    )
    samples.environment["PYTHONPATH"] = str(hidden)
    samples.publish("s1")

    samples.drain()
    samples.manifest("task1 Task1", FILES[2])
    samples.environment |= {"SLACK_API_TOKEN": "x", "SLACK_CHANNEL": "y"}
    refused = samples.cli("check")

    assert refused.returncode == 2
    assert "pip install 'mulligan[integrations]'" in refused.stdout


def test_task_of_the_program_before_runs_with_nothing_but_its_import_line_changed(app):
    (app.folder / "tasks" / "task1.py").write_text(
        "from mulligan import Task\n\n\nclass Task1(Task):\n\n    @classmethod\n    def run(cls, data):\n"
        '        print("got", data)\n        return data != "wrong"\n'
    )
    app.manifest("task1 Task1")
    app.publish("right")
    app.publish("wrong")

    log = app.drain().log()

    (letter,) = app.dead()
    assert "is done: 1 task" in log
    assert letter["tasks"]["Task1"] | {"failed_at": None} == {
        "state": "exhausted", "attempts": 2, "error": "returned False", "failed_at": None,
    }  # fmt: skip
