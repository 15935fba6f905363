import asyncio

import pytest

from mulligan.core.message import TaskName, Uid
from mulligan.core.progress import DONE_AT_FIRST_TRY, FRESH, Mark, Progress, State
from mulligan.ledger.base import OUTDATED, Claim, Granted, Held, Known, Record

NOW = 1_700_000_000.0
JIRA, TRELLO = TaskName("Jira"), TaskName("Trello")
A, B, C = (Uid(f"018bcfe568{n:02x}-0123456789abcdef0123") for n in (1, 2, 3))
HALF = Progress({JIRA: DONE_AT_FIRST_TRY, TRELLO: Mark(State.PENDING, 1, NOW + 30, "it said 'no' – 🎈", NOW)})
WHOLE = Progress({JIRA: DONE_AT_FIRST_TRY, TRELLO: DONE_AT_FIRST_TRY})


def claim(uid, token, *, hop=0, until=NOW + 60, generation=0):
    return Claim(uid, generation, hop, token, until)


def record(uid, token, progress=HALF, *, hop=None, is_final=False, generation=0):
    return Record(uid, generation, token, progress, hop, is_final)


async def ask(ledger, uid, token, *, hop=0, at=NOW, generation=0):
    """The answer to one claim of 60 s."""
    (answer,) = await ledger.claim([claim(uid, token, hop=hop, until=at + 60, generation=generation)], at)
    return answer


async def test_claim_is_granted_without_progress_when_the_message_is_new(ledger):
    answers = await ledger.claim([claim(A, "a"), claim(B, "b")], NOW)

    assert answers == [Granted(None), Granted(None)]


async def test_claim_is_held_while_another_is_live(ledger):
    await ask(ledger, A, "first")

    assert await ask(ledger, A, "second", at=NOW + 59) == Held(NOW + 60)


async def test_look_tells_what_is_on_record_and_takes_no_claim(ledger):
    await ask(ledger, A, "holder")
    await ledger.save([record(A, "holder", HALF, hop=2)])
    await ask(ledger, B, "new")

    found = await ledger.look([(C, 0), (A, 0), (B, 0), (A, 1), (A, 0)])

    assert found == [None, Known(HALF, 2), None, None, Known(HALF, 2)]
    assert await ledger.look([]) == []
    assert await ledger.save([record(A, "holder", WHOLE)]) == [True]
    assert await ask(ledger, C, "first") == Granted(None)


async def test_claim_of_a_batch_is_answered_one_by_one(ledger):
    await ask(ledger, B, "holder")
    await ask(ledger, C, "past")
    await ledger.save([record(C, "past", hop=2, is_final=True)])

    answers = await ledger.claim([claim(A, "a"), claim(B, "b"), claim(C, "c", hop=1)], NOW + 1)

    assert answers == [Granted(None), Held(NOW + 60), OUTDATED]


async def test_claim_of_twins_in_one_batch_grants_the_first_and_holds_the_second(ledger):
    answers = await ledger.claim([claim(A, "a1"), claim(B, "b"), claim(A, "a2", until=NOW + 99)], NOW)

    assert answers == [Granted(None), Granted(None), Held(NOW + 60)]
    assert await ledger.save([record(A, "a1"), record(A, "a2")]) == [True, False]


async def test_claim_of_twins_in_one_batch_grants_the_one_that_is_not_outdated(ledger):
    await ask(ledger, A, "past")
    await ledger.save([record(A, "past", hop=1, is_final=True)])

    answers = await ledger.claim([claim(A, "old", hop=0), claim(A, "new", hop=1), claim(A, "twin", hop=1)], NOW)

    assert answers == [OUTDATED, Granted(HALF), Held(NOW + 60)]


async def test_claim_is_granted_again_when_it_is_repeated_after_a_lost_answer(ledger):
    await ask(ledger, A, "same")

    assert await ask(ledger, A, "same") == Granted(None)
    assert await ledger.save([record(A, "same")]) == [True]


async def test_claim_that_is_repeated_ends_when_the_repetition_says(ledger):
    """A worker repeats a claim whose answer came late; then another must not find the claim run out."""
    await ledger.claim([claim(A, "same", until=NOW + 60)], NOW)

    await ledger.claim([claim(A, "same", until=NOW + 110)], NOW + 50)

    assert await ledger.claim([claim(A, "twin")], NOW + 70) == [Held(NOW + 110)]


async def test_claim_gives_the_progress_that_was_saved(ledger):
    await ask(ledger, A, "first")
    await ledger.save([record(A, "first", HALF, is_final=True)])

    assert await ask(ledger, A, "second") == Granted(HALF)


async def test_claim_gives_a_burial_and_its_alerts(ledger):
    buried = Progress({JIRA: Mark(State.EXHAUSTED, 2, 0.0, "no", NOW)}, {TRELLO: FRESH}, is_buried=True)
    await ask(ledger, A, "first")
    await ledger.save([record(A, "first", buried, is_final=True)])

    assert await ask(ledger, A, "second") == Granted(buried)


async def test_claim_knows_generations_apart(ledger):
    await ask(ledger, A, "first", generation=0)
    await ledger.save([record(A, "first", WHOLE, is_final=True)])

    assert await ask(ledger, A, "replayed", generation=1) == Granted(None)
    assert await ask(ledger, A, "again", generation=0) == Granted(WHOLE)


async def test_claim_takes_over_one_whose_time_has_passed_and_tells_so_without_a_death(ledger):
    """Whatever was in flight on a host that died was taken over alone, one message after the other."""
    await ask(ledger, A, "dead")
    await ledger.save([record(A, "dead", HALF)])

    answer = await ask(ledger, A, "heir", at=NOW + 60)

    assert answer == Granted(Progress(HALF.marks, deaths=-1))


async def test_claim_tells_of_one_whose_time_has_passed_when_nothing_was_saved_before_it(ledger):
    await ask(ledger, A, "dead")

    assert await ask(ledger, A, "heir", at=NOW + 61) == Granted(Progress({}, deaths=-1))


async def test_claim_that_takes_over_a_second_time_counts_a_death(ledger):
    await ask(ledger, A, "dead")
    await ask(ledger, A, "heir", at=NOW + 60)
    await ledger.save([record(A, "heir", Progress(HALF.marks, deaths=-1))])

    assert await ask(ledger, A, "next", at=NOW + 121) == Granted(Progress(HALF.marks, deaths=1))


async def test_claim_that_takes_over_counts_a_death_when_a_suspects_start_was_under_way(ledger):
    """A message that took its whole host down each time it was run alone did so for ever."""
    await ask(ledger, A, "dead")
    await ledger.save([record(A, "dead", Progress(HALF.marks, deaths=-3))])

    assert await ask(ledger, A, "heir", at=NOW + 60) == Granted(Progress(HALF.marks, deaths=3))


async def test_claim_under_its_own_token_again_counts_nothing_when_its_time_has_passed(ledger):
    await ask(ledger, A, "same")

    assert await ask(ledger, A, "same", at=NOW + 61) == Granted(None)


async def test_claim_that_takes_over_keeps_a_higher_count_of_deaths(ledger):
    await ask(ledger, A, "first")
    await ledger.save([record(A, "first", Progress(HALF.marks, deaths=2))])

    assert await ask(ledger, A, "heir", at=NOW + 61) == Granted(Progress(HALF.marks, deaths=2))


async def test_save_is_refused_after_a_takeover(ledger):
    await ask(ledger, A, "slow")
    await ask(ledger, A, "heir", at=NOW + 61)

    saved = await ledger.save([record(A, "slow", WHOLE)])
    await ledger.give_back([(A, 0, "heir")])

    assert saved == [False]
    assert await ask(ledger, A, "next", at=NOW + 62) == Granted(Progress({}, deaths=-1))


async def test_save_is_kept_when_the_time_has_passed_but_nobody_took_over(ledger):
    await ask(ledger, A, "late")

    assert await ledger.save([record(A, "late", WHOLE, is_final=True)]) == [True]
    assert await ask(ledger, A, "next", at=NOW + 99) == Granted(WHOLE)


async def test_save_without_a_claim_is_refused(ledger):
    assert await ledger.save([record(A, "nobody")]) == [False]
    assert await ask(ledger, A, "first") == Granted(None)


async def test_save_of_a_batch_that_says_different_things_keeps_each(ledger):
    uids = [Uid(f"018bcfe56{n:03x}-0123456789abcdef0123") for n in range(8)]
    said = [WHOLE, HALF, WHOLE, Progress(WHOLE.marks, deaths=1), HALF, WHOLE, WHOLE, Progress({JIRA: FRESH})]
    final = [True, True, False, True, True, True, True, True]
    await ledger.claim([claim(uid, f"t{n}") for n, uid in enumerate(uids)], NOW)

    saved = await ledger.save(
        [record(uid, f"t{n}", said[n], hop=1 if n == 5 else None, is_final=final[n]) for n, uid in enumerate(uids)]
    )

    assert saved == [True] * 8
    answers = await ledger.claim([claim(uid, f"n{n}") for n, uid in enumerate(uids)], NOW + 1)
    assert answers == [
        Granted(WHOLE),
        Granted(HALF),
        Held(NOW + 60),
        Granted(Progress(WHOLE.marks, deaths=1)),
        Granted(HALF),
        OUTDATED,
        Granted(WHOLE),
        Granted(Progress({JIRA: FRESH})),
    ]


async def test_save_of_a_batch_that_says_the_same_is_refused_where_somebody_took_over(ledger):
    await ledger.claim([claim(A, "slow"), claim(B, "b"), claim(C, "c", until=NOW + 900)], NOW)
    await ask(ledger, A, "heir", at=NOW + 61)

    saved = await ledger.save([record(A, "slow", WHOLE), record(B, "b", WHOLE), record(C, "c", WHOLE)])

    assert saved == [False, True, True]
    await ledger.give_back([(A, 0, "heir")])
    assert await ask(ledger, A, "next", at=NOW + 62) == Granted(Progress({}, deaths=-1))


async def test_save_of_a_batch_knows_generations_apart(ledger):
    await ledger.claim([claim(A, "a"), claim(B, "b"), claim(C, "c", generation=1)], NOW)

    saved = await ledger.save([record(A, "a", WHOLE), record(B, "b", WHOLE), record(C, "c", WHOLE, generation=1)])

    assert saved == [True, True, True]


async def test_save_of_two_records_of_one_claim_keeps_the_later_one_whatever_the_others_say(ledger):
    await ledger.claim([claim(A, "a"), claim(B, "b"), claim(C, "c")], NOW)

    saved = await ledger.save(
        [record(B, "b", WHOLE), record(A, "a", HALF), record(C, "c", WHOLE), record(A, "a", WHOLE, is_final=True)]
    )

    assert saved == [True] * 4
    assert await ask(ledger, A, "next") == Granted(WHOLE)


async def test_claim_of_a_batch_with_different_generations_and_ends_grants_each_its_own(ledger):
    claims = [claim(A, "a"), claim(B, "b", until=NOW + 90), claim(A, "a1", generation=1, until=NOW + 70), claim(C, "c")]

    answers = await ledger.claim(claims, NOW)

    assert answers == [Granted(None)] * 4
    twins = [claim(A, "ta"), claim(B, "tb"), claim(A, "ta1", generation=1), claim(C, "tc")]
    assert await ledger.claim(twins, NOW) == [Held(NOW + 60), Held(NOW + 90), Held(NOW + 70), Held(NOW + 60)]


async def test_any_characters_of_uids_and_tokens_are_kept(ledger):
    odd = Uid("018bcfe56801" + "".join(chr(code) for code in range(0x21, 0x7F)))
    same_without_escapes = Uid(odd.replace("\\", ""))
    await ledger.claim([claim(odd, "'\"\\"), claim(same_without_escapes, "ü")], NOW)

    saved = await ledger.save([record(odd, "'\"\\", WHOLE), record(same_without_escapes, "ü", WHOLE)])

    assert saved == [True, True]
    assert await ask(ledger, odd, "other") == Held(NOW + 60)


async def test_save_of_a_batch_keeps_the_good_and_refuses_the_stale(ledger):
    await ledger.claim([claim(A, "a"), claim(B, "b"), claim(C, "c")], NOW)

    saved = await ledger.save(
        [record(A, "a", WHOLE, is_final=True), record(B, "stale", WHOLE), record(C, "c", HALF, is_final=True)]
    )

    assert saved == [True, False, True]
    assert await ask(ledger, A, "next") == Granted(WHOLE)
    assert await ask(ledger, B, "next") == Held(NOW + 60)
    assert await ask(ledger, C, "next") == Granted(HALF)


async def test_save_keeps_the_later_of_two_records_of_one_claim(ledger):
    await ask(ledger, A, "a")

    saved = await ledger.save([record(A, "a", HALF), record(A, "a", WHOLE, is_final=True)])

    assert saved == [True, True]
    assert await ask(ledger, A, "next") == Granted(WHOLE)


async def test_save_that_is_final_ends_the_claim_and_its_token(ledger):
    await ask(ledger, A, "a")
    await ledger.save([record(A, "a", HALF, is_final=True)])

    assert await ledger.save([record(A, "a", WHOLE)]) == [False]
    assert await ask(ledger, A, "next", at=NOW + 1) == Granted(HALF)


async def test_save_that_is_final_is_refused_to_the_records_after_it_in_the_same_batch(ledger):
    await ask(ledger, A, "a")

    assert await ledger.save([record(A, "a", WHOLE, is_final=True), record(A, "a", HALF)]) == [True, False]
    assert await ask(ledger, A, "next") == Granted(WHOLE)


async def test_save_resets_deaths_to_those_of_the_progress(ledger):
    await ask(ledger, A, "dead")
    await ask(ledger, A, "heir", at=NOW + 61)
    await ledger.save([record(A, "heir", HALF, is_final=True)])

    assert await ask(ledger, A, "next", at=NOW + 62) == Granted(HALF)


async def test_hop_that_was_confirmed_outdates_copies_with_a_lower_one(ledger):
    await ask(ledger, A, "first")
    await ledger.save([record(A, "first", HALF, hop=1, is_final=True)])

    assert await ask(ledger, A, "original", hop=0) == OUTDATED
    assert await ask(ledger, A, "copy", hop=1) == Granted(HALF)


async def test_hop_is_looked_at_before_a_live_claim(ledger):
    await ask(ledger, A, "first")
    await ledger.save([record(A, "first", HALF, hop=1, is_final=True)])
    await ask(ledger, A, "copy", hop=1)

    assert await ask(ledger, A, "original", hop=0) == OUTDATED


async def test_hop_of_a_claim_outdates_nothing(ledger):
    await ask(ledger, A, "ahead", hop=3)
    await ledger.give_back([(A, 0, "ahead")])

    assert await ask(ledger, A, "behind", hop=0) == Granted(None)


async def test_hop_is_never_lowered_by_a_later_record(ledger):
    await ask(ledger, A, "a", hop=2)
    await ledger.save([record(A, "a", HALF, hop=2), record(A, "a", HALF, hop=1), record(A, "a", HALF, is_final=True)])

    assert await ask(ledger, A, "behind", hop=1) == OUTDATED


async def test_hop_of_a_refused_record_outdates_nothing(ledger):
    await ask(ledger, A, "holder")
    await ledger.save([record(A, "stale", HALF, hop=5)])
    await ledger.give_back([(A, 0, "holder")])

    assert await ask(ledger, A, "next", hop=0) == Granted(None)


async def test_extend_keeps_others_out_longer(ledger):
    await ask(ledger, A, "a")

    extended = await ledger.extend([(A, 0, "a")], NOW + 120)

    assert extended == [True]
    assert await ask(ledger, A, "b", at=NOW + 119) == Held(NOW + 120)
    assert await ledger.save([record(A, "a")]) == [True]


async def test_extend_tells_which_claims_are_lost(ledger):
    await ledger.claim([claim(A, "a"), claim(B, "b")], NOW)

    assert await ledger.extend([(A, 0, "stale"), (B, 0, "b"), (C, 0, "c")], NOW + 99) == [False, True, False]
    assert await ask(ledger, A, "next", at=NOW + 61) == Granted(Progress({}, deaths=-1))


async def test_give_back_ends_the_claim_without_a_death(ledger):
    await ask(ledger, A, "a")

    await ledger.give_back([(A, 0, "a"), (B, 0, "nothing")])

    assert await ask(ledger, A, "next") == Granted(None)
    assert await ledger.save([record(A, "a")]) == [False]


@pytest.mark.parametrize(("before", "after"), [(2, 2), (1, 1), (-1, -1), (-2, 1), (-3, 2)])
async def test_give_back_takes_a_start_that_was_under_way_for_none(ledger, before, after):
    await ask(ledger, A, "a")
    await ledger.save([record(A, "a", Progress(HALF.marks, deaths=before))])

    await ledger.give_back([(A, 0, "a")])

    assert await ask(ledger, A, "next") == Granted(Progress(HALF.marks, deaths=after))


async def test_give_back_with_a_stale_token_leaves_the_claim_alone(ledger):
    await ask(ledger, A, "holder")

    await ledger.give_back([(A, 0, "stale")])

    assert await ask(ledger, A, "next") == Held(NOW + 60)


async def test_end_ends_the_claim_and_counts_a_death(ledger):
    await ask(ledger, A, "a")
    await ledger.save([record(A, "a", HALF)])

    await ledger.end([(A, 0, "a"), (B, 0, "nothing")])

    assert await ask(ledger, A, "next") == Granted(Progress(HALF.marks, deaths=1))


@pytest.mark.parametrize(("before", "after"), [(2, 2), (1, 1), (-1, 1), (-2, 2), (-3, 3)])
async def test_end_counts_a_start_that_was_under_way(ledger, before, after):
    await ask(ledger, A, "a")
    await ledger.save([record(A, "a", Progress(HALF.marks, deaths=before))])

    await ledger.end([(A, 0, "a")])

    assert await ask(ledger, A, "next") == Granted(Progress(HALF.marks, deaths=after))


async def test_end_with_a_stale_token_leaves_the_claim_alone(ledger):
    await ask(ledger, A, "holder")

    await ledger.end([(A, 0, "stale")])

    assert await ask(ledger, A, "next") == Held(NOW + 60)


async def test_calls_with_no_entries_answer_nothing(ledger):
    assert await ledger.claim([], NOW) == []
    assert await ledger.save([]) == []
    assert await ledger.extend([], NOW) == []
    await ledger.give_back([])
    await ledger.end([])


async def test_calls_side_by_side_grant_a_message_once(connect):
    one, other = await connect(), await connect()

    answers = await asyncio.gather(
        *(ledger.claim([claim(A, f"{n}")], NOW) for n, ledger in enumerate([one, other] * 20))
    )

    assert sorted(type(answer).__name__ for (answer,) in answers) == ["Granted"] + ["Held"] * 39


async def test_forget_removes_what_is_old_and_untouched(ledger, clock):
    old, young = Uid(f"{int((NOW - 900) * 1000):012x}-a"), Uid(f"{int((NOW + 900) * 1000):012x}-a")
    await ledger.claim([claim(old, "o"), claim(young, "y")], NOW)
    await ledger.save([record(old, "o", WHOLE, is_final=True), record(young, "y", WHOLE, is_final=True)])
    clock.at = NOW + 2000

    removed = await ledger.forget(NOW + 100)

    assert removed == 1
    assert await ask(ledger, old, "o2", at=clock.at) == Granted(None)
    assert await ask(ledger, young, "y2", at=clock.at) == Granted(WHOLE)


async def test_forget_keeps_old_messages_that_were_touched_since_or_are_claimed(ledger, clock):
    touched, claimed = Uid(f"{int((NOW - 900) * 1000):012x}-t"), Uid(f"{int((NOW - 900) * 1000):012x}-c")
    await ledger.claim([claim(touched, "t"), claim(claimed, "c", until=NOW + 9000)], NOW)
    clock.at = NOW + 200
    await ledger.save([record(touched, "t", HALF, is_final=True)])

    removed = await ledger.forget(NOW + 100)

    assert removed == 0
    assert await ask(ledger, touched, "t2", at=clock.at) == Granted(HALF)
    assert await ask(ledger, claimed, "c2", at=clock.at) == Held(NOW + 9000)


async def test_forget_removes_many_rows_between_some_that_stay(ledger, clock):
    uids = [Uid(f"{int((NOW - 9000) * 1000) + n:012x}-a") for n in range(2_500)]
    await ledger.claim([claim(uid, uid, until=NOW + (9999 if n % 5 == 0 else 1)) for n, uid in enumerate(uids)], NOW)
    clock.at = NOW + 100

    assert await ledger.forget(NOW + 50) == 2_000
    assert await ledger.forget(NOW + 50) == 0


async def test_ledger_that_is_opened_again_knows_what_was_saved(store, connect):
    first = await connect()
    await ask(first, A, "a")
    await ask(first, B, "b")
    await first.save([record(A, "a", HALF, hop=1, is_final=True)])
    await first.close()
    await first.close()

    again = await connect()

    assert await ask(again, A, "next", hop=0) == OUTDATED
    assert await ask(again, A, "next", hop=1) == Granted(HALF)
    assert await ask(again, B, "next") == Held(NOW + 60)
    assert again.is_durable
