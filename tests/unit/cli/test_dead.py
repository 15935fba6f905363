from dataclasses import replace

import pytest

from mulligan.cli.browse import walk
from mulligan.cli.dead import _table as dead_table
from mulligan.cli.dead_letter import as_data, dead_letter_of, joined, slim
from mulligan.cli.peek import _pictures as pictures
from mulligan.cli.render import body_text, picture
from mulligan.cli.replay import Replay
from mulligan.core import retry_state
from mulligan.core.delivery import EntryFault, Fault, Outgoing
from mulligan.core.message import TaskName, Uid
from mulligan.core.policy import Policy
from mulligan.core.progress import DONE_AT_FIRST_TRY, FRESH, Mark, Progress, State
from mulligan.tasks.registry import LoadedTask, TaskRegistry

UID = Uid("018bcfe56800-00112233445566778899")
OTHER = Uid("018bcfe56801-00112233445566778899")
REFUSED = EntryFault(Fault.REFUSED, "too big")


def task(name: str, *, is_default: bool = False) -> LoadedTask:
    return LoadedTask(TaskName(name), Policy(), is_default, is_async=True, wants_context=False, call=lambda *_: None)


@pytest.fixture
def registry():
    tasks = [task("One"), task("Two"), task("New"), task("Alert", is_default=True)]
    return TaskRegistry({one.name: one for one in tasks})


@pytest.fixture
async def dead(session):
    """Puts letters on the dead queue."""

    async def put(*letters: Outgoing) -> None:
        for at in range(0, len(letters), 100):
            answers = await session.broker.send(session.queues.dead, letters[at : at + 100])
            assert answers == [None] * len(answers)

    return put


async def totals(session):
    return [(await session.broker.depth(name)).total for name in session.queues.all]


async def test_walk_sees_every_message_once_and_leaves_them_all(session, dead, letter, clock):
    await dead(*[letter(f"018bcfe56800-{number:020x}") for number in range(250)])

    async with walk(session.broker, session.queues.dead) as walked:
        seen = [delivery.id async for batch in walked.batches() for delivery in batch]

    depth = await session.broker.depth(session.queues.dead)
    assert len(seen) == len(set(seen)) == 250
    assert (depth.ready, depth.in_flight) == (250, 0)


async def test_walk_gives_back_what_it_saw_when_it_is_broken_off(session, dead, letter):
    await dead(letter(UID), letter(OTHER))

    async def broken_off() -> None:
        async with walk(session.broker, session.queues.dead) as walked:
            async for _ in walked.batches():
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await broken_off()
    assert (await session.broker.depth(session.queues.dead)).ready == 2


async def test_walk_ends_when_leases_run_out_on_the_way(session, dead, letter, clock):
    await dead(*[letter(f"018bcfe56800-{number:020x}") for number in range(150)])

    async with walk(session.broker, session.queues.dead) as walked:
        count = 0
        async for batch in walked.batches():
            count += len(batch)
            clock.advance(1000)

    assert count == 150
    assert (await session.broker.depth(session.queues.dead)).ready == 150


async def test_walk_counts_what_it_can_not_see(session, dead, letter):
    await dead(letter(UID), letter(OTHER))
    await session.broker.receive(session.queues.dead, 1, wait_s=0.0, lease_s=60.0)

    async with walk(session.broker, session.queues.dead) as walked:
        _ = [batch async for batch in walked.batches()]

    assert walked.hidden == 1


async def test_replay_leaves_done_tasks_done_and_makes_the_others_of_todays_manifest_pending(
    session, dead, letter, received, registry
):
    await dead(letter(UID))

    job = Replay(session, registry)
    await job.these([UID])

    (copy,) = await received(session.queues.rejects)
    message, told, problem = retry_state.read(copy, session.queues.prefix, is_trusted=True)
    assert problem is None
    assert told is not None
    assert (told.uid, told.generation, told.hop) == (UID, 1, 0)
    assert told.progress.marks == {"One": DONE_AT_FIRST_TRY, "Two": FRESH, "New": FRESH}
    assert (message.body, message.attributes) == (b"fo1", {"source": "shop"})
    assert job.replayed == {(UID, 0)}
    assert await totals(session) == [0, 1, 0]


async def test_replay_leaves_other_letters_alone_and_visible(session, dead, letter, registry):
    await dead(letter(UID), letter(OTHER))

    await Replay(session, registry).these([OTHER])

    assert await totals(session) == [0, 1, 1]
    assert (await session.broker.depth(session.queues.dead)).ready == 1


async def test_replay_of_all_folds_twins_into_one_with_the_newest_progress(session, dead, letter, received, registry):
    exhausted, done = Mark(State.EXHAUSTED, 2, 0.0, "no", 1.0), Mark(State.DONE, 1)
    await dead(letter(UID, One=exhausted, Two=done), letter(OTHER), letter(UID, One=done, Two=exhausted))

    job = Replay(session, registry)
    await job.these([])

    stories = [retry_state.read(copy, "", is_trusted=True)[1] for copy in await received(session.queues.rejects)]
    assert [told.uid for told in stories if told] == [UID, OTHER]
    assert stories[0] is not None
    assert stories[0].progress.marks == {"New": FRESH, "One": DONE_AT_FIRST_TRY, "Two": DONE_AT_FIRST_TRY}
    assert await totals(session) == [0, 2, 0]


async def test_replay_keeps_the_letter_when_its_copy_is_refused(session, dead, letter, registry):
    await dead(letter(UID), letter(OTHER))
    session.broker.plan = [[REFUSED, None]]

    job = Replay(session, registry)
    await job.these([])

    assert job.replayed == {(OTHER, 0)}
    assert job.problems == [f"{UID} could not be put on the rejects queue: too big"]
    assert await totals(session) == [0, 1, 1]


async def test_replay_that_dies_before_the_removal_leaves_a_letter_whose_second_replay_is_a_twin(
    session, dead, letter, received, registry
):
    await dead(letter(UID))
    session.broker.plan = [KeyboardInterrupt()]
    session.broker.is_late = True

    with pytest.raises(KeyboardInterrupt):
        await Replay(session, registry).these([UID])
    assert await totals(session) == [0, 1, 1]
    await Replay(session, registry).these([UID])

    copies = await received(session.queues.rejects)
    keys = {(told.uid, told.generation) for copy in copies if (told := retry_state.read(copy, "", is_trusted=True)[1])}
    assert len(copies) == 2
    assert keys == {(UID, 1)}


async def test_replay_runs_all_tasks_of_a_letter_without_a_story(session, dead, received, registry):
    await dead(Outgoing(b"moved by the broker", {"a": "b"}))

    await Replay(session, registry).these([])

    (copy,) = await received(session.queues.rejects)
    told = retry_state.read(copy, session.queues.prefix, is_trusted=True)[1]
    assert told is not None
    assert told.progress.marks == {"One": FRESH, "Two": FRESH, "New": FRESH}


GONE = Mark(State.EXHAUSTED, 2, 0.0, "no", 1.0)


async def test_replay_refuses_a_letter_whose_failed_task_was_removed_and_replays_the_others(session, dead, letter):
    few = TaskRegistry({TaskName("One"): task("One")})
    await dead(letter(UID, One=Mark(State.DONE, 1), Two=GONE), letter(OTHER, One=GONE))

    job = Replay(session, few)
    await job.these([])

    assert job.replayed == {(OTHER, 0)}
    (problem,) = job.problems
    assert problem.startswith(f"{UID} can't be replayed: nothing of it would run: Two is not in tasks.xml here")
    assert "put Two back into tasks.xml" in problem
    assert await totals(session) == [0, 1, 1]


async def test_replay_of_all_names_each_missing_task_once_when_nothing_of_many_letters_would_run(session, dead, letter):
    few = TaskRegistry({TaskName("One"): task("One")})
    done = Mark(State.DONE, 1)
    await dead(*[letter(f"018bcfe56800-{number:020x}", One=done, Two=GONE) for number in range(3)])
    await dead(letter(OTHER, One=done, Three=GONE))

    job = Replay(session, few)
    await job.these([])

    assert len(job.problems) == 2
    assert job.problems[0].startswith("3 letters can't be replayed, such as 018bcfe56800-")
    assert "Two is not in tasks.xml" in job.problems[0]
    assert "Three is not in tasks.xml" in job.problems[1]
    assert await totals(session) == [0, 0, 4]


async def test_replay_keeps_a_failed_task_that_is_missing_beside_one_that_runs(session, dead, letter, received):
    few = TaskRegistry({TaskName("One"): task("One")})
    await dead(letter(UID, One=GONE, Two=GONE))

    await Replay(session, few).these([UID])

    (copy,) = await received(session.queues.rejects)
    told = retry_state.read(copy, session.queues.prefix, is_trusted=True)[1]
    assert told is not None
    assert told.progress.marks == {"One": FRESH, "Two": FRESH}  # else One's success would be taken for the end


@pytest.mark.parametrize("marks", [{}, {"One": Mark(State.DONE, 1), "Two": GONE}], ids=["none took it", "Two did"])
async def test_replay_refuses_a_letter_that_no_task_takes(session, dead, letter, marks):
    picky = TaskRegistry(
        {one.name: replace(one, accepts=lambda _: False) for one in (task("One"), task("Two"))}, drops_unrouted=True
    )
    told = Progress({TaskName(name): mark for name, mark in marks.items()})
    outgoing = Outgoing(
        b"fo1", {retry_state.ATTRIBUTE: retry_state.encode(retry_state.RetryState(UID, 0, 1, 1.0, told))}
    )
    await dead(outgoing)

    job = Replay(session, picky)
    await job.these([UID])

    (problem,) = job.problems
    assert "no task of tasks.xml takes it" in problem
    assert await totals(session) == [0, 0, 1]


async def test_replay_takes_a_letter_away_whose_tasks_are_all_done(session, dead, letter):
    few = TaskRegistry({TaskName("One"): task("One")})
    await dead(letter(UID, One=Mark(State.DONE, 1)))

    job = Replay(session, few)
    await job.these([UID])

    assert job.problems == []
    assert await totals(session) == [0, 1, 0]


async def test_replay_tells_an_unknown_uid_with_the_nearest(session, dead, letter, registry):
    await dead(letter(UID))

    job = Replay(session, registry)
    await job.these([UID[:-1] + "0"])

    assert job.problems == [f"no dead letter has the uid {UID[:-1] + '0'!r}. Did you mean {UID}?"]
    assert await totals(session) == [0, 0, 1]


async def test_picture_tells_the_whole_story(session, dead, letter, received):
    await dead(letter(UID, body=b"first\nsecond \x1b[31m"), letter(UID))
    one, two = [
        dead_letter_of(delivery, "msgparser", session.bodies.load) for delivery in await received(session.queues.dead)
    ]

    text = picture(joined(one, two), whole_body=False)

    assert text == "\n".join(
        [
            f"uid:            {UID}",
            "generation:     0 (as it was sent)",
            "sent:           2023-11-14 22:13:20 UTC",
            "first received: 2023-11-14 22:13:15 UTC",
            "dead since:     2023-11-14 22:13:20 UTC",
            "copies:         2 (twins, replayed as one)",
            "because:        Two failed permanently",
            "",
            "tasks",
            "  One: done (1 attempt)",
            "  Two: failed permanently (2 attempts, last failure 2023-11-14 22:13:20 UTC)",
            "    | ValueError: no",
            "    |   at x",
            "",
            "attributes",
            "  name    value",
            "  source  shop",
            "",
            "body (18 bytes)",
            "first",
            "second \\x1b[31m",
        ]
    )


async def test_letter_that_is_a_copy_for_rejects_says_that_it_was_moved_and_what_had_not_ended(
    session, dead, letter, received
):
    await dead(letter(One=Mark(State.DONE, 1), Two=Mark(State.PENDING, 1, 5.0, "not yet", 1.0)))
    (delivery,) = await received(session.queues.dead)

    moved = dead_letter_of(delivery, session.queues.prefix, session.bodies.load)

    assert moved.unfinished == ("Two",)
    assert "moved, with Two unfinished" in dead_table([moved], 2e9)
    assert "because:        somebody, or the broker, moved it here: Two had not ended" in picture(
        moved, whole_body=False
    )
    assert as_data(moved)["unfinished"] == ["Two"]


async def test_replay_keeps_the_id_of_the_message_so_that_its_next_letter_proves_itself(
    session, dead, received, registry
):
    told = retry_state.RetryState(
        UID, 0, 1, 1.0, Progress({TaskName("One"): Mark(State.EXHAUSTED, 1)}), id="order-4711", is_dead=True
    )
    await dead(Outgoing(b"fo1", {retry_state.ATTRIBUTE: retry_state.encode(told)}))

    await Replay(session, registry).these([UID])

    (copy,) = await received(session.queues.rejects)
    replayed = retry_state.decode(copy.attributes[retry_state.ATTRIBUTE])
    assert (replayed.id, replayed.is_dead, replayed.generation) == ("order-4711", False, 1)


def test_body_text_is_cut_unless_the_whole_is_wanted():
    body = b"x" * 2001

    assert body_text(body, whole=False).endswith("\n... 1 bytes more: --body shows all")
    assert body_text(body, whole=True) == "x" * 2001


async def test_letters_in_a_list_hold_no_bodies_but_their_sizes(session, dead, letter, received):
    await dead(letter(UID))
    (delivery,) = await received(session.queues.dead)

    listed = slim(dead_letter_of(delivery, "msgparser", session.bodies.load))

    assert listed.message.body == b""
    assert as_data(listed)["body_bytes"] == 3
    assert as_data(listed)["failed"] == ["Two"]


async def test_replay_in_rounds_replays_a_twin_of_an_earlier_round_no_second_time(
    session, dead, letter, registry, monkeypatch
):
    monkeypatch.setattr("mulligan.cli.replay._ROUND_COUNT", 1)
    uids = [f"018bcfe56800-{number:020x}" for number in range(100)]
    await dead(*[letter(uid) for uid in uids], letter(uids[0]))

    job = Replay(session, registry)
    await job.these([])

    assert len(job.replayed) == 100
    assert await totals(session) == [0, 100, 0]


async def test_replay_tells_of_a_letter_that_somebody_took_meanwhile(session, dead, letter, registry, clock):
    await dead(letter(UID))
    ack = session.broker.ack

    async def late(queue, receipts):
        clock.advance(1000)
        await session.broker.receive(queue, 1, wait_s=0.0, lease_s=60.0)
        return await ack(queue, receipts)

    session.broker.ack = late
    job = Replay(session, registry)
    await job.these([UID])

    assert job.replayed == {(UID, 0)}
    assert len(job.problems) == 1
    assert job.problems[0].startswith("a replayed letter is still on the dead queue, too: ")


async def test_replay_sends_a_letter_back_to_the_group_of_its_message(session, dead, letter, received, registry):
    outgoing = letter(UID)
    told = replace(retry_state.decode(outgoing.attributes[retry_state.ATTRIBUTE]), group="customer 7")
    attributes = {**outgoing.attributes, retry_state.ATTRIBUTE: retry_state.encode(told)}
    await dead(replace(outgoing, attributes=attributes, group=UID))
    (delivery,) = await received(session.queues.dead)

    found = dead_letter_of(replace(delivery, group=UID), "app", session.bodies.load)

    assert found.group == "customer 7"
    outgoing = Replay(session, registry)._outgoing(found)
    assert outgoing is not None
    assert outgoing.group == "customer 7"


# -- letters of a newer version


def newer(uid: str = UID, version: int = 2) -> Outgoing:
    state = f'{{"v":{version},"uid":"{uid}","gen":0,"jobs":{{"One":"done"}}}}'
    return Outgoing(b"fo1", {"source": "shop", retry_state.ATTRIBUTE: state})


DAMAGED = Outgoing(b"fo1", {retry_state.ATTRIBUTE: "{"})


@pytest.mark.parametrize("uids", [[], [UID]])
async def test_replay_refuses_a_letter_of_a_newer_version_and_leaves_it(session, dead, letter, registry, uids):
    await dead(newer(), letter(OTHER))

    job = Replay(session, registry)
    await job.these(uids)

    assert job.problems == [
        f"{UID} can't be replayed: its attribute 'mulligan' has version 2, expected 1: a newer version of this program"
        " wrote it. Replay with the version that wrote it, or upgrade this program."
    ]
    assert job.replayed == (set() if uids else {(OTHER, 0)})
    assert await totals(session) == ([0, 0, 2] if uids else [0, 1, 1])
    left = await session.broker.receive(session.queues.dead, 10, wait_s=0.0, lease_s=1.0)
    assert newer().attributes in [one.attributes for one in left]


async def test_replay_takes_no_letter_of_a_newer_version_for_a_twin_of_one_that_can_be_read(
    session, dead, letter, registry
):
    """They have one uid: the newer one would have been removed with its twin."""
    await dead(newer(UID), letter(UID))

    job = Replay(session, registry)
    await job.these([UID])

    assert job.replayed == {(UID, 0)}
    assert len(job.problems) == 1
    assert await totals(session) == [0, 1, 1]
    (left,) = await session.broker.receive(session.queues.dead, 10, wait_s=0.0, lease_s=1.0)
    assert left.attributes == newer(UID).attributes


async def test_replay_of_all_tells_of_many_letters_of_a_newer_version_in_one_sentence(session, dead, registry):
    await dead(*[newer(f"018bcfe56800-{number:020x}") for number in range(50)])

    job = Replay(session, registry)
    await job.these([])

    (problem,) = job.problems
    assert problem.startswith("50 letters can't be replayed, such as 018bcfe56800-")
    assert await totals(session) == [0, 0, 50]


async def test_replay_of_all_leaves_a_letter_with_a_damaged_state_which_its_uid_replays(
    session, dead, received, registry
):
    """Tasks that were done ran again without a word."""
    await dead(DAMAGED)

    job = Replay(session, registry)
    await job.these([])

    (problem,) = job.problems
    assert problem.endswith("Give its uid to replay it all the same: all its tasks run then, those that are done, too.")
    assert await totals(session) == [0, 0, 1]
    await Replay(session, registry).these([problem.partition(" ")[0]])
    assert await totals(session) == [0, 1, 0]


@pytest.mark.parametrize(("others", "is_left"), [([], False), ([newer()], True)], ids=["alone", "beside a newer one"])
async def test_replay_drops_no_stored_body_while_a_letter_of_a_newer_version_may_need_it(
    session, dead, letter, registry, tmp_path, monkeypatch, others, is_left
):
    monkeypatch.chdir(tmp_path)
    name = f"{OTHER}-dead-{'0' * 32}"
    session.bodies.keep(name, b"body")
    await dead(letter(OTHER), *others)
    job = Replay(session, registry)
    job._emptied.add(name)

    await job.these([OTHER])

    assert job.replayed == {(OTHER, 0)}
    assert (tmp_path / session.settings.bodies_url / name).exists() is is_left


async def test_list_and_picture_say_that_a_letter_is_of_a_newer_version(session, dead, received):
    await dead(newer())
    (delivery,) = await received(session.queues.dead)

    found = dead_letter_of(delivery, "msgparser", session.bodies.load)

    assert (as_data(found)["uid"], as_data(found)["generation"], as_data(found)["state_version"]) == (UID, None, 2)
    assert dead_table([found], 0.0).splitlines()[1].split("  ")[-2].strip() == "of a newer version"
    text = picture(found, whole_body=False)
    assert "generation:     not known to this version" in text
    assert "so it neither replays nor removes it" in text
    assert "upgrade this one" in text


async def test_peek_says_that_a_copy_of_a_newer_version_is_left_alone(session):
    await session.broker.send(session.queues.rejects, [newer()])

    (text,) = await pictures(session, "rejects", None, 10)

    assert text.startswith(UID)
    assert "left alone: its attribute 'mulligan' has version 2, expected 1" in text
    assert "upgrade this one" in text
