import contextlib
import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mulligan.core.delivery import Delivery
from mulligan.core.error import RetryStateError
from mulligan.core.message import AttributeValue, QueueName, TaskName, Typed, Uid
from mulligan.core.progress import DONE_AT_FIRST_TRY, FRESH, Mark, Progress, State
from mulligan.core.retry_state import (
    Packing,
    RetryState,
    Unread,
    decode,
    decode_progress,
    encode,
    encode_progress,
    id_of,
    identify,
    read,
)

JIRA, TRELLO, MAIL = TaskName("Jira"), TaskName("Trello"), TaskName("Mail")
UID = Uid("018bcfe56800-0b090fd81c3e1612c0f0")
STORY = RetryState(
    uid=UID,
    generation=1,
    hop=2,
    first_seen_at=1_700_000_000.25,
    progress=Progress(
        {JIRA: DONE_AT_FIRST_TRY, TRELLO: Mark(State.EXHAUSTED, 2, 0.0, "no route", 1_700_000_010.5)},
        {MAIL: Mark(State.PENDING, 1, 1_700_000_030.0, "slack says 500", 1_700_000_020.0)},
        is_buried=True,
    ),
)
WRITTEN = (
    '{"v":1,"uid":"018bcfe56800-0b090fd81c3e1612c0f0","gen":1,"hop":2,"seen":1700000000.25,'
    '"tasks":{"Jira":["d",1],"Trello":["x",2,0.0,"no route",1700000010.5]},'
    '"buried":true,"alerts":{"Mail":["p",1,1700000030.0,"slack says 500",1700000020.0]}}'
)

# times as they are written: whole milliseconds
times = st.integers(0, 4_000_000_000_000).map(lambda ms: ms / 1000)
texts = st.text(st.characters(exclude_categories=()), min_size=1, max_size=20)
ended = st.builds(Mark, st.sampled_from(State), st.integers(0, 99), times, texts, times)
waiting = st.builds(Mark, st.just(State.PENDING), st.integers(0, 99), times)
names = (
    st.text(st.characters(categories=["L", "Nd", "Pc"]), min_size=1, max_size=8).filter(str.isidentifier).map(TaskName)
)
mark_maps = st.dictionaries(names, ended | waiting | st.just(FRESH) | st.just(DONE_AT_FIRST_TRY), max_size=4)
progresses = st.builds(Progress, mark_maps) | st.builds(Progress, mark_maps, mark_maps, st.just(True))
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=10,
)


def delivery(
    attributes: dict[str, AttributeValue], *, message_id: str = "broker-id", body: bytes = b"hello"
) -> Delivery:
    return Delivery(QueueName("q"), "r1", message_id, body, attributes, sent_at=1_700_000_000.0)


def test_encode_writes_one_line_of_json():
    assert encode(STORY) == WRITTEN


def test_decode_reads_what_version_1_wrote():
    assert decode(WRITTEN) == STORY


def test_encode_writes_ascii_only_when_an_error_holds_what_a_broker_refuses():
    progress = Progress({JIRA: Mark(State.PENDING, 1, 5.0, "\x1b[31mred\x00 \ud800 \U0001f4a9", 4.0)})

    written = encode(RetryState(UID, 0, 1, 1.0, progress))

    assert written.isascii()
    assert written.isprintable()
    assert decode(written).progress == progress


def test_story_of_a_dead_letter_keeps_the_group_of_its_message():
    story = RetryState(UID, 0, 1, 1.0, Progress({JIRA: FRESH}), group="customer 7")

    assert '"group":"customer 7"' in encode(story)
    assert decode(encode(story)) == story


def test_story_of_a_dead_copy_says_so_and_names_the_id_of_its_message():
    story = RetryState(UID, 0, 1, 1.0, Progress({JIRA: FRESH}), id="order-4711", is_dead=True)

    assert encode(story).endswith('"id":"order-4711","dead":true}')
    assert decode(encode(story)) == story


def test_decode_refuses_an_id_that_is_no_text():
    written = encode(RetryState(UID, 0, 1, 1.0, Progress({JIRA: FRESH}), id="order-4711"))

    with pytest.raises(RetryStateError, match="id is not text"):
        decode(written.replace('"order-4711"', "4711"))


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [({}, "broker-id"), ({"mulligan-uid": "order-4711"}, "order-4711"), ({"mulligan-uid": "x" * 201}, None)],
    ids=["broker's", "producer's", "too long for a story"],
)
def test_id_of_is_what_the_uid_is_made_of(attributes, expected):
    assert id_of(delivery(attributes)) == expected


def test_encode_leaves_the_deaths_out():
    progress = Progress({JIRA: FRESH}, deaths=2)

    assert decode(encode(RetryState(UID, 0, 1, 1.0, progress))).progress == Progress({JIRA: FRESH}, deaths=0)


@given(progresses, st.integers(0, 9), st.integers(0, 9), times)
def test_decode_gives_back_every_story(progress: Progress, generation: int, hop: int, seen_at: float):
    story = RetryState(UID, generation, hop, seen_at, progress)

    assert decode(encode(story)) == story


@given(progresses, st.integers(0, 3))
def test_decode_progress_gives_back_every_progress_with_its_deaths(progress: Progress, deaths: int):
    read_back = decode_progress(encode_progress(progress), deaths)

    assert read_back == Progress(progress.marks, progress.alerts, progress.is_buried, deaths)


def test_encode_progress_writes_the_common_case_as_it_writes_any_other():
    by_hand = Progress({JIRA: DONE_AT_FIRST_TRY, TRELLO: DONE_AT_FIRST_TRY})
    by_json = Progress({JIRA: Mark(State.DONE, 1), TRELLO: Mark(State.DONE, 1)})

    assert encode_progress(by_hand) == encode_progress(by_json) == '{"tasks":{"Jira":["d",1],"Trello":["d",1]}}'


def test_encode_progress_keeps_a_burial_without_any_task():
    assert encode_progress(Progress({}, is_buried=True)) == '{"tasks":{},"buried":true,"alerts":{}}'


def test_decode_shares_the_two_commonest_marks():
    progress = decode_progress('{"tasks":{"Jira":["d",1],"Trello":["p",0]}}')

    assert progress.marks[JIRA] is DONE_AT_FIRST_TRY
    assert progress.marks[TRELLO] is FRESH


@pytest.mark.parametrize(
    ("raw", "problem"),
    [
        (b"{}", "its attribute 'mulligan' is a bytes, expected text"),
        (Typed("Number", "1"), "its attribute 'mulligan' is a Typed, expected text"),
        ("", "its progress is not JSON"),
        ("[]", "its progress is not a JSON object: '[]'"),
        ("[" * 100_000, "its progress is not JSON"),
        ('{"v":1,"seen":NaN}', "NaN is not a number that we write"),
        ("{}", "has version None, expected 1"),
        ('{"v":2}', "has version 2, expected 1"),
        ('{"v":1}', "is damaged: KeyError('uid')"),
        (WRITTEN.replace('"018bcfe56800-0b090fd81c3e1612c0f0"', "7"), "uid is not text"),
        (WRITTEN.replace("018bcfe56800", "x18bcfe56800"), "is damaged: ValueError"),
        (WRITTEN.replace('"gen":1', '"gen":null'), "is damaged: TypeError"),
        (WRITTEN.replace('"gen":1', '"gen":1,"group":7'), "group is not text"),
        (WRITTEN.replace('["d",1]', '["d",-1]'), "attempts are -1"),
        (WRITTEN.replace('["d",1]', '["d",1.5]'), "attempts are 1.5"),
        (WRITTEN.replace('["d",1]', '["z",1]'), "'z' is not a valid State"),
        (WRITTEN.replace('["d",1]', '["d"]'), "is damaged: ValueError"),
        (WRITTEN.replace('["d",1]', "null"), "is damaged: TypeError"),
        (WRITTEN.replace('"no route"', "7"), "reason is 7"),
        (WRITTEN.replace('"tasks":{', '"tasks":7,"_":{'), "is damaged: AttributeError"),
    ],
)
def test_decode_says_what_is_wrong_with_a_story(raw: AttributeValue, problem: str):
    with pytest.raises(RetryStateError) as caught:
        decode(raw)

    assert problem in str(caught.value)


@given(st.dictionaries(st.sampled_from(["v", "uid", "gen", "hop", "seen", "tasks", "buried", "alerts"]), json_values))
def test_decode_raises_nothing_but_a_story_error_for_any_json(data: dict[str, object]):
    full = {"uid": UID, "gen": 0, "hop": 0, "seen": 0.0, "tasks": {}, **data, "v": 1}

    with contextlib.suppress(RetryStateError):
        assert decode(json.dumps(full)).uid is not None


def test_decode_progress_says_what_is_wrong_with_a_ledger_row():
    with pytest.raises(RetryStateError, match="a progress in the ledger is damaged: KeyError"):
        decode_progress("{}")


def test_identify_takes_the_producers_id_before_the_brokers():
    own = {"mulligan-uid": "order-17"}

    assert identify(delivery(dict(own), message_id="a"), "p") == identify(delivery(dict(own), message_id="b"), "p")
    assert identify(delivery({}, message_id="a"), "p") != identify(delivery({}, message_id="b"), "p")


@pytest.mark.parametrize("given_id", ["", b"bytes", Typed("Number", "7")])
def test_identify_takes_the_brokers_id_when_the_producers_is_no_text(given_id: AttributeValue):
    assert identify(delivery({"mulligan-uid": given_id}), "p") == identify(delivery({}), "p")


def test_identify_tells_two_bodies_under_one_id_apart():
    same = {"mulligan-uid": "order-17"}

    assert identify(delivery(dict(same), body=b"1"), "p") != identify(delivery(dict(same), body=b"2"), "p")


def test_read_does_not_believe_a_story_on_the_requests_queue():
    message, story, problem = read(delivery({"mulligan": WRITTEN, "kind": "order"}), "p", is_trusted=False)

    assert story is None
    assert problem is None
    assert message.uid == identify(delivery({}), "p")
    assert message.attributes == {"kind": "order"}


def test_read_believes_a_story_on_a_trusted_queue_and_takes_uid_and_sent_time_from_it():
    message, story, problem = read(delivery({"mulligan": WRITTEN, "kind": "order"}), "p", is_trusted=True)

    assert story == STORY
    assert problem is None
    assert message.uid == UID
    assert message.sent_at == 1_700_000_000.0
    assert message.attributes == {"kind": "order"}


def test_read_treats_a_reject_without_our_attribute_as_new_and_says_so():
    message, story, problem = read(delivery({"past_results": "[{'Task1': True}]"}), "p", is_trusted=True)

    assert story is None
    assert problem == Unread("it has no attribute 'mulligan': it was not put there by mulligan", is_held=False)
    assert message.uid == identify(delivery({}), "p")
    assert message.attributes == {"past_results": "[{'Task1': True}]"}


def test_read_holds_a_reject_with_a_damaged_story_and_says_why():
    message, story, unread = read(delivery({"mulligan": "{"}), "p", is_trusted=True)

    assert story is None
    assert unread is not None
    assert (unread.is_held, unread.version) == (True, None)
    assert unread.problem.startswith("its progress is not JSON")
    assert message.attributes == {}


def test_read_holds_a_reject_of_a_newer_version_under_the_uid_that_its_state_tells():
    newer = WRITTEN.replace('"v":1', '"v":2').replace('"tasks"', '"jobs"')

    message, story, unread = read(delivery({"mulligan": newer}), "p", is_trusted=True)

    assert story is None
    assert unread == Unread(
        "its attribute 'mulligan' has version 2, expected 1: a newer version of this program wrote it",
        is_held=True,
        version=2,
    )
    assert message.uid == UID


@pytest.mark.parametrize("uid", ["7", '"x18bcfe56800-0"', '"018bcfe56800-\\u001b[2J"', "null", '"' + "0" * 5000 + '"'])
def test_read_makes_a_uid_up_for_a_reject_of_a_newer_version_whose_own_is_none_of_ours(uid: str):
    message, _, unread = read(delivery({"mulligan": f'{{"v":2,"uid":{uid}}}'}), "p", is_trusted=True)

    assert message.uid == identify(delivery({}), "p")
    assert unread is not None
    assert unread.version == 2


@pytest.mark.parametrize("version", ["true", "1.0", "1.5", "0", "-1", '"2"', "null", "[]", str(2**31), "9" * 4000])
def test_read_holds_a_reject_whose_version_nobody_ever_wrote_as_damaged(version: str):
    raw = WRITTEN.replace('"v":1', f'"v":{version}')

    _, story, unread = read(delivery({"mulligan": raw}), "p", is_trusted=True)

    assert story is None
    assert unread is not None
    assert (unread.is_held, unread.version) == (True, None)
    assert len(unread.problem) < 400


def test_decode_passes_over_fields_that_a_newer_program_has_added_to_a_version_that_is_known():
    assert decode(WRITTEN.replace('"hop":2', '"hop":2,"led":"1a2b3c4d","more":{"a":[1]}')) == STORY


# -- how the body is packed


@pytest.mark.parametrize(
    ("wrap", "written"),
    [
        (Packing("zlib", 7), '"body":{"form":"zlib","size":7}'),
        (Packing("plain", 7, True), '"body":{"form":"plain","size":7,"attributes":true}'),
        (Packing("file", 7, False, "name"), '"body":{"form":"file","size":7,"file":"name"}'),
    ],
)
def test_story_says_how_its_body_is_packed(wrap, written):
    told = replace(STORY, wrap=wrap)

    assert written in encode(told)
    assert decode(encode(told)) == told


@pytest.mark.parametrize("data", ['"zlib"', "[]", "{}", '{"form":1,"size":1}', '{"form":"zlib","size":-1}'])
def test_packing_that_is_damaged_is_never_taken_for_none(data):
    raw = WRITTEN[:-1] + f',"body":{data}}}'

    assert decode(raw).wrap == Packing("damaged", 0)


def test_identify_gives_one_uid_to_all_receipts_of_a_message_that_nobody_dates():
    first = replace(delivery({"mulligan-uid": "order-7"}), sent_at=100.0, is_dated=False)
    second = replace(first, id="r2", sent_at=200.0)

    assert identify(first, "p") == identify(second, "p")


def test_identify_tells_messages_apart_that_nobody_dates_and_that_have_no_id():
    first = replace(delivery({}), sent_at=100.0, is_dated=False)
    second = replace(first, id="r2", sent_at=200.0)

    assert identify(first, "p") != identify(second, "p")
