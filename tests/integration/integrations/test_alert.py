"""Alerts: one Slack message a kind of error and minute, mail and webhook; nothing is told twice, nothing is untold."""

import asyncio
import base64
import hashlib
import hmac
import os
from pathlib import Path

import pytest

from mulligan import integrations
from mulligan.integrations import email_alert
from mulligan.integrations.alert_group import SPEAK_S
from tests.fakes.smtp import Smtp
from tests.support.black_hole import black_hole, resolve

CERTIFICATES = Path(__file__).parents[2] / "unit/brokers/sqs/certificates"
MESSAGES = [f"018bcfe56800-{number:020x}" for number in range(1, 300)]


@pytest.fixture
def alert(slack_server, make_life, failure):
    """Makes the life of an alert: alert(uid, failure...)."""

    def make(uid: str = MESSAGES[0], *failures, cls=integrations.SlackAlertTask, **more):
        return make_life(cls, b"the body", uid=uid, failures=failures or (failure(),), succeeded=("Jira",), **more)

    return make


def text(message) -> str:
    return message["blocks"][0]["text"]["text"]


async def test_alert_tells_task_error_attempts_uid_age_and_command_but_no_body(slack_server, alert, failure, clock):
    clock.at += 240
    life = alert(MESSAGES[0], failure("Trello", "Trello: 400 <!channel>", 2))

    await life.go_on()

    (message,) = slack_server.messages
    assert life.ended == "done"
    assert text(message) == (
        ":rotating_light: *Trello could not be done for a message*\n"
        "Trello: 2 attempts, the last at 2023-11-14 22:13:20 UTC: Trello: 400 &lt;!channel&gt;\n"
        "done: Jira\n"
        f"uid: {MESSAGES[0]}, sent 4 min before this alert\n"
        f"`mulligan dead show {MESSAGES[0]}`"
    )


async def test_alert_shows_the_body_when_it_is_asked_for(slack_server, alert):
    class Open(integrations.SlackAlertTask):
        shows_body = True

    await alert(cls=Open).go_on()

    assert "body: the body" in text(slack_server.messages[0])


async def test_storm_becomes_one_message_with_a_count(slack_server, alert, failure, clock):
    lives = [alert(uid, failure(reason=f"Trello: 400 card {n} of 'x{n}'")) for n, uid in enumerate(MESSAGES[:100])]

    for one in lives:
        one.moves_clock = False

    await asyncio.gather(*(one.start() for one in lives))
    clock.at += 8
    for one in lives:
        await one.go_on()

    (message,) = slack_server.messages
    assert {one.ended for one in lives} == {"done"}
    assert "could not be done for 100 messages" in text(message)
    assert "mulligan dead ls" in text(message)
    assert max(one.attempt for one in lives) <= 4
    assert len(slack_server.calls("chat.")) <= 5


async def test_kinds_of_error_and_minutes_have_messages_of_their_own(slack_server, alert, failure, clock):
    now = clock.at
    lives = [
        alert(MESSAGES[0], failure("Trello", "Trello: 400 no")),
        alert(MESSAGES[1], failure("Jira", "Trello: 400 no")),
        alert(MESSAGES[2], failure("Trello", "Trello: 401 no such token")),
        alert(MESSAGES[3], failure("Trello", "Trello: 400 no", at=now + 61)),
        alert(MESSAGES[4], failure("Trello", "Trello: 400 no"), failure("Jira", "x")),
    ]

    for one in lives:
        await one.go_on()

    assert len(slack_server.messages) == 5


async def test_one_alert_of_one_message_is_counted_once_however_often_it_is_tried(slack_server, alert):
    for _ in range(3):
        await alert().go_on()

    assert [text(one).splitlines()[0] for one in slack_server.messages] == [
        ":rotating_light: *Trello could not be done for a message*"
    ]


@pytest.mark.parametrize("fault", ["commit_then_drop", "commit_then_fail"])
async def test_alert_is_one_message_when_the_reply_is_lost(slack_server, alert, fault):
    arguments = {"commit_then_drop": (), "commit_then_fail": (503,)}[fault]
    getattr(slack_server, fault)(*arguments, on="chat.postMessage")
    life = alert()

    await life.go_on()

    assert (life.ended, len(slack_server.messages)) == ("done", 1)


async def test_alert_is_one_message_when_its_worker_dies_between_post_and_record(
    slack_server, alert, clock, monkeypatch
):
    from mulligan.integrations.alert_group import AlertGroup

    def killed(self, *_):
        raise KeyboardInterrupt

    life, follower = alert(MESSAGES[0]), alert(MESSAGES[1])
    with monkeypatch.context() as patch:
        patch.setattr(AlertGroup, "mark_posted", killed)
        patch.setattr(AlertGroup, "give_back", killed)
        with pytest.raises(KeyboardInterrupt):
            await life.start()
    assert len(slack_server.messages) == 1
    clock.at += SPEAK_S

    await follower.go_on()
    await life.go_on()

    (message,) = slack_server.messages
    assert "2 messages" in text(message)
    assert (life.ended, follower.ended) == ("done", "done")


async def test_alert_waits_as_any_task_does_when_slack_is_down(slack_server, alert, clock):
    slack_server.is_down = True
    life = alert()
    for _ in range(5):
        await life.start()
    assert life.ended is None
    slack_server.is_down = False

    await life.go_on()

    assert (life.ended, len(slack_server.messages)) == ("done", 1)


async def test_alert_is_posted_anew_when_somebody_removed_the_groups_message(slack_server, alert, clock):
    await alert(MESSAGES[0]).go_on()
    slack_server.messages.clear()
    clock.at += 10

    await alert(MESSAGES[1]).go_on()

    assert ["2 messages" in text(one) for one in slack_server.messages] == [True]


async def test_alert_is_told_for_itself_when_the_file_can_not_be_used(slack_server, alert, tmp_path):
    (tmp_path / "var").write_text("a file where the folder should be")

    for uid in MESSAGES[:2]:
        assert (await alert(uid).go_on()).ended == "done"

    assert len(slack_server.messages) == 2


async def test_file_of_alerts_is_its_owners_alone_and_forgets(slack_server, alert, tmp_path, clock, failure):
    await alert(MESSAGES[0]).go_on()
    clock.at += 3 * 86_400
    await alert(MESSAGES[1], failure(at=clock.at)).go_on()

    path = tmp_path / "var" / "alerts.db"
    import sqlite3
    from contextlib import closing

    with closing(sqlite3.connect(path)) as store:
        assert store.execute("SELECT uid FROM member").fetchall() == [(MESSAGES[1],)]
    assert path.stat().st_mode & 0o777 == 0o600


async def test_alert_of_an_unrouted_message_says_so(slack_server, make_life):
    life = make_life(integrations.SlackAlertTask, failures=(), succeeded=())

    await life.go_on()

    assert "No task took a message" in text(slack_server.messages[0])


async def test_alert_goes_to_the_log_when_there_is_no_token(make_life, failure, monkeypatch):
    from structlog.testing import capture_logs

    monkeypatch.delenv("SLACK_API_TOKEN", raising=False)
    with capture_logs() as lines:
        life = await make_life(integrations.SlackAlertTask, failures=(failure(),)).go_on()

    assert life.ended == "done"
    assert [(line["event"], line["failed"], line["reason"]) for line in lines] == [
        ("a task could not be done", "Trello", "Trello: 400 no")
    ]


async def test_mail_of_a_storm_is_the_first_at_once_and_one_more_with_the_rest(smtp_server, make_life, failure, clock):
    make = integrations.EmailAlertTask
    lives = [make_life(make, uid=uid, failures=(failure(),), succeeded=()) for uid in MESSAGES[:30]]

    for one in lives:
        one.moves_clock = False

    await asyncio.gather(*(one.start() for one in lives))
    clock.at += 62
    for one in lives:
        await one.go_on()

    first, second = smtp_server.mails
    assert {one.ended for one in lives} == {"done"}
    assert first["Subject"].startswith("Trello could not be done for ")
    assert second["Subject"] == f"Trello could not be done for {30 - told_by(first)} messages"
    assert first["To"] == "ops@example.com, boss@example.com"
    assert first["Message-ID"] != second["Message-ID"]


def told_by(mail) -> int:
    count = mail["Subject"].removeprefix("Trello could not be done for ").split()[0]
    return 1 if count == "a" else int(count)


async def test_mail_takes_the_second_address_when_the_first_swallows_connections(
    smtp_server, make_life, failure, monkeypatch
):
    resolve(monkeypatch, "localhost", "127.0.0.2", "127.0.0.1")
    monkeypatch.setenv("ALERT_SMTP_URL", f"smtp://localhost:{smtp_server.port}")
    life = make_life(integrations.EmailAlertTask, failures=(failure(),))

    with black_hole("127.0.0.2", smtp_server.port):
        async with asyncio.timeout(5):
            await life.start()

    assert life.ended == "done"
    assert len(smtp_server.mails) == 1


async def test_mail_goes_over_tls_from_the_start(smtp_server, make_life, failure, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATES / "authority.pem"))
    with Smtp(CERTIFICATES / "server.pem") as server:
        monkeypatch.setenv("ALERT_SMTP_URL", server.url.replace("127.0.0.1", "localhost"))
        life = make_life(integrations.EmailAlertTask, failures=(failure(),))

        await life.start()

    assert life.ended == "done"
    assert len(server.mails) == 1


async def test_mail_is_told_as_not_sent_when_no_address_takes_the_connection(smtp_server, monkeypatch):
    monkeypatch.setattr(email_alert, "CALL_S", 0.1)

    with black_hole("127.0.0.1") as port:
        monkeypatch.setenv("ALERT_SMTP_URL", f"smtp://127.0.0.1:{port}")
        told = await integrations.EmailAlertTask().probe()

    assert told == [f"e-mail: no connection to 127.0.0.1:{port} within 0.1 s. Is ALERT_SMTP_URL right?"]


async def test_mail_is_tried_again_when_the_server_is_busy_and_given_up_when_it_refuses(
    smtp_server, make_life, failure
):
    smtp_server.refuses = b"450 try later"
    life = make_life(integrations.EmailAlertTask, failures=(failure(),))
    await life.start()
    assert life.ended is None
    smtp_server.refuses = b"550 no such user"

    await life.go_on()

    assert (life.ended, life.attempt) == ("exhausted", 2)
    assert "550" in life.error


async def test_webhook_is_signed_as_standard_webhooks_say_and_has_one_id_on_all_attempts(
    webhook_server, make_life, failure, monkeypatch
):
    key = os.urandom(32)
    monkeypatch.setenv("ALERT_WEBHOOK_URL", f"{webhook_server.url}/hook")
    monkeypatch.setenv("ALERT_WEBHOOK_SECRET", "whsec_" + base64.b64encode(key).decode())
    webhook_server.fail(500)
    life = make_life(integrations.WebhookAlertTask, failures=(failure(),))

    await life.go_on()

    first, second = webhook_server.requests
    signed = f"{second.headers['webhook-id']}.{second.headers['webhook-timestamp']}.".encode() + second.body
    wanted = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    assert life.ended == "done"
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert second.headers["webhook-signature"] == f"v1,{wanted}"
    assert second.data["type"] == "mulligan.dead_letter"
    assert second.data["data"]["failures"][0]["error"] == "Trello: 400 no"
    assert "body" not in second.data["data"]


def test_signature_is_the_one_of_the_specifications_example():
    from mulligan.integrations.webhook_alert import signature

    told = signature(
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}'
    )

    assert told == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
