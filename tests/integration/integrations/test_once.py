"""The idempotency rule, the same for all three services: one message ends as one object, however its calls end."""

import pytest

from mulligan.core.fingerprint import idempotency_key
from mulligan.core.message import TaskName


def objects(server):
    return server.keys()


async def test_message_becomes_one_object_with_its_key(creator):
    server, _call, life = creator

    await life.go_on()

    assert life.ended == "done"
    assert objects(server) == [idempotency_key(life.message.uid, TaskName(type(life.task).__name__))]


async def test_first_attempt_makes_no_look(creator):
    server, call, life = creator

    await life.start()

    assert [f"{one.method} {one.path}" for one in server.requests if one.path != "/1/boards/board1/lists"] == [call]


async def test_object_is_found_and_not_created_again_when_the_reply_was_lost_after_the_commit(creator):
    server, call, life = creator
    server.commit_then_drop(call)

    await life.go_on()

    assert (life.ended, len(objects(server))) == ("done", 1)
    assert len(server.calls(call)) == 1


async def test_object_is_found_and_not_created_again_when_a_5xx_came_after_the_commit(creator):
    server, call, life = creator
    server.commit_then_fail(503, "<html>busy</html>", on=call)

    await life.go_on()

    assert (life.ended, len(objects(server))) == ("done", 1)


async def test_object_is_created_later_when_the_connection_was_cut_before_anything_was_done(creator):
    server, call, life = creator
    server.drop(call)

    await life.go_on()

    assert (life.ended, len(objects(server))) == ("done", 1)


@pytest.mark.parametrize("crashes", [1, 3])
async def test_object_is_not_created_again_when_the_worker_died_after_the_create(creator, crashes):
    server, _call, life = creator
    for _ in range(crashes):
        await life.die()

    await life.go_on()

    assert (life.ended, len(objects(server))) == ("done", 1)


async def test_object_is_not_created_again_when_a_finished_message_is_replayed(creator):
    server, _call, life = creator
    await life.start()
    life.context = {"generation": 1}
    life.ended, life.attempt = None, 1

    await life.go_on()

    assert (life.ended, len(objects(server))) == ("done", 1)


async def test_object_is_created_once_when_look_and_create_fail_in_turns(creator):
    server, call, life = creator
    server.commit_then_drop(call)
    for _ in range(3):
        server.drop()
        server.fail(502, "bad gateway")

    await life.go_on()

    assert (life.ended, len(objects(server))) == ("done", 1)


async def test_attempt_that_timed_out_is_taken_for_one_that_may_have_created(creator):
    server, _call, life = creator
    await life.start()
    life.ended, life.attempt, life.error = None, 2, "timed out after 60 s"

    await life.go_on()

    assert (life.ended, len(objects(server))) == ("done", 1)


async def test_service_that_is_down_for_an_hour_exhausts_nothing(creator, clock):
    server, _call, life = creator
    server.is_down = True
    down_until = clock.at + 3600
    while clock.at < down_until:
        await life.start()
        assert life.ended is None
    server.is_down = False

    await life.go_on()

    assert (life.ended, len(objects(server))) == ("done", 1)
    assert life.attempt < life.task.max_attempts // 2


async def test_wait_of_a_429_is_kept_and_nothing_else_is_asked_meanwhile(creator, clock):
    server, call, life = creator
    server.fail(429, {"error": "too many"}, on=call, retry_after="7")
    at = clock.at
    await life.start()
    waited_s = clock.at - at
    clock.at = at + 1
    before = len(server.requests)
    other = type(life)(life.task, clock, uid="018bcfe56800-00000000000000000001")

    await other.start()

    assert 7 <= waited_s <= 8
    assert len(server.requests) == before
    assert other.ended is None
    assert 6 <= other.waits_s[0] <= 7


async def test_reason_names_service_status_and_text_when_a_request_is_refused(creator):
    server, call, life = creator
    server.fail(400, "invalid value for color", on=call)

    await life.go_on()

    assert (life.ended, life.attempt, objects(server)) == ("exhausted", 1, [])
    assert "400" in life.error
    assert "invalid value for color" in life.error


async def test_nothing_is_taken_for_done_when_a_proxy_answers_200_with_html(creator):
    server, call, life = creator
    server.fail(200, "<html>log in to the network</html>", on=call)

    await life.start()
    assert life.ended is None
    await life.go_on()

    assert (life.ended, len(objects(server))) == ("done", 1)


async def test_body_that_is_hostile_or_no_text_becomes_one_object(creator, clock):
    server, _call, life = creator
    bodies = [b"", b"\xff\xfe\x00", b"{", b'{"a": "\\ud800"}', b"\x1b[31m\xe2\x80\xae", b"[" * 5000, b"x" * 100_000,
              b'{"summary": " \\n ", "title": "line\\nbreak"}', b"<!channel> & <http://x|y>"]  # fmt: skip

    for number, body in enumerate(bodies):
        await type(life)(life.task, clock, body, f"018bcfe56800-{number:020x}").go_on()

    assert len(objects(server)) == len(bodies)
