"""What Slack alone does: 200 for errors, history by pages and rights, channels by name."""

import pytest

from mulligan import integrations
from tests.fakes.slack import CHANNEL_ID


@pytest.fixture
def life(slack_server, make_life):
    return make_life(integrations.SlackMessageSenderTask)


@pytest.mark.parametrize(
    "error",
    [
        "channel_not_found", "not_in_channel", "is_archived", "invalid_auth", "token_revoked", "token_expired",
        "missing_scope", "msg_too_long", "invalid_blocks",
    ],
)  # fmt: skip
async def test_error_that_will_not_pass_is_final_and_told(slack_server, life, error):
    slack_server.fail(200, {"ok": False, "error": error}, on="chat.postMessage")

    await life.go_on()

    assert (life.ended, life.attempt) == ("exhausted", 1)
    assert error in life.error


@pytest.mark.parametrize("error", ["ratelimited", "service_unavailable", "request_timeout"])
async def test_error_that_passes_is_tried_again(slack_server, life, error):
    slack_server.fail(200, {"ok": False, "error": error}, on="chat.postMessage")

    await life.go_on()

    assert (life.ended, life.attempt, len(slack_server.messages)) == ("done", 2, 1)


@pytest.mark.parametrize("error", ["fatal_error", "internal_error"])
async def test_error_after_which_the_message_may_be_there_is_looked_up(slack_server, life, error):
    slack_server.commit_then_fail(200, {"ok": False, "error": error}, on="chat.postMessage")

    await life.go_on()

    assert (life.ended, len(slack_server.messages)) == ("done", 1)
    assert slack_server.calls("conversations.history")


async def test_message_is_found_many_pages_back(slack_server, life):
    slack_server.page = 2
    await life.die()
    slack_server.messages += [{"ts": f"{slack_server.now() + n:.6f}", "text": "chat"} for n in range(1, 9)]

    await life.go_on()

    assert life.ended == "done"
    assert sum("metadata" in one for one in slack_server.messages) == 1


async def test_message_says_that_it_may_be_a_repetition_when_the_history_can_not_be_read(slack_server, life):
    slack_server.scopes = {"chat:write"}
    slack_server.commit_then_drop("chat.postMessage")

    await life.go_on()

    first, second = slack_server.messages
    assert life.ended == "done"
    assert first["text"] == "hello"
    assert second["text"].startswith("hello\n_(This may be a repetition")


async def test_channel_is_taken_by_its_id_as_well(slack_server, make_life, monkeypatch):
    monkeypatch.setenv("SLACK_CHANNEL", CHANNEL_ID)
    life = make_life(integrations.SlackMessageSenderTask)
    await life.die()

    await life.go_on()

    assert (life.ended, len(slack_server.messages)) == ("done", 1)
    assert not slack_server.calls("conversations.list")


async def test_text_of_a_message_mentions_nobody(slack_server, make_life):
    await make_life(integrations.SlackMessageSenderTask, b"<!channel> a & b").go_on()

    assert slack_server.messages[0]["text"] == "&lt;!channel&gt; a &amp; b"
    assert slack_server.messages[0]["unfurl_links"] is False


async def test_two_hundred_messages_pass_a_limit_of_one_a_second_within_their_attempts(slack_server, life, clock):
    slack_server.limit = 1
    lives = [type(life)(life.task, clock, uid=f"018bcfe56800-{number:020x}") for number in range(200)]
    for one in lives:
        one.moves_clock = False
    due = {id(one): clock.at for one in lives}

    while waiting := [one for one in lives if one.ended is None]:
        one = min(waiting, key=lambda each: due[id(each)])
        clock.at = max(clock.at, due[id(one)])
        await one.start()
        if one.ended is None:
            due[id(one)] = clock.at + one.waits_s[-1]

    assert {one.ended for one in lives} == {"done"}
    assert len(slack_server.messages) == 200
    assert max(one.attempt for one in lives) <= 15
