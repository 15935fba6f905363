"""The whole request at once, on stand-ins of Jira, Trello and Slack that fail as the real ones can, under kill -9.

A message's body tells its fate: `bad-a...` and `bad-b...` have a task that fails permanently, each for its own reason.
"""

import os
import random
import signal
import threading
from collections import Counter
from collections.abc import Mapping

from tests.fakes.service import Fault

__all__ = ["FILES", "carry_through"]

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


def dropping(rand: random.Random):
    """One create in eight is done and its reply lost, one in sixteen is cut before that."""

    def fault(request):
        if request.method != "POST" or not request.path.endswith("/issue"):
            return None
        chance = rand.random()
        return Fault(True, None) if chance < 1 / 8 else Fault(False, None) if chance < 3 / 16 else None

    return fault


def carry_through(
    app, services, until, *, messages: int, bad: Mapping[str, int], kills: int, trello_down_s: float
) -> None:
    """Each message is one issue, one card and one message, whatever the services and the workers do.

    messages: how many; of them `bad` by their kind. trello_down_s: so long Trello answers nothing at the start.
    """
    seed = int(os.environ.get("MULLIGAN_TEST_SEED") or random.SystemRandom().randrange(2**32))
    print(f"seed: MULLIGAN_TEST_SEED={seed}")
    rand = random.Random(seed)
    app.task("check", CHECK)
    app.task("jira_issue_creator_task", JIRA)
    app.manifest("check Check", *FILES, "task4 Task4 default")
    app.settings |= {"POOL_SIZE": 3, "LOG_LEVEL": "INFO", "LEASE_S": 10}
    bodies = [f"{kind}-{number}" for kind, count in bad.items() for number in range(count)]
    bodies += [f"good-{number}" for number in range(messages - len(bodies))]
    rand.shuffle(bodies)
    services.jira.chaos, services.jira.lag_s = dropping(rand), 1.0
    services.slack.limit = 15
    services.trello.is_down = True
    for one in services[:3]:
        one.delay_s = 0.05
    app.send(bodies)

    system = app.start("--drain")
    up_again = threading.Timer(trello_down_s, lambda: setattr(services.trello, "is_down", False))
    up_again.start()
    try:
        for kill in range(kills):
            wanted = (kill + 1) * 2 * messages // (kills + 2)
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
    assert len(services.jira.issues) == len(services.trello.cards) == len(plain) == messages
    assert sorted(one["text"] for one in plain) == sorted(bodies)

    assert len(letters) == sum(bad.values())
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
