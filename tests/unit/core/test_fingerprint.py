import re

from mulligan.core.fingerprint import has_time, idempotency_key, is_of, new_id, uid
from mulligan.core.message import TaskName, Uid

SENT_AT = 1_700_000_000.123


def test_uid_begins_with_the_sent_time_in_milliseconds():
    assert uid("p", "id", b"body", SENT_AT).startswith("018bcfe5687b-")
    assert uid("p", "id", b"body", 0.001).startswith("000000000001-")


def test_uid_is_the_same_in_every_process_and_release():
    assert uid("msgparser", "id-1", b"body", SENT_AT) == "018bcfe5687b-0b090fd81c3e1612c0f0"


def test_uid_differs_when_the_prefix_the_id_or_the_body_does():
    uids = {
        uid("p", "id", b"body", SENT_AT),
        uid("q", "id", b"body", SENT_AT),
        uid("p", "ie", b"body", SENT_AT),
        uid("p", "id", b"bodz", SENT_AT),
    }

    assert len(uids) == 4


def test_uid_does_not_mix_up_where_prefix_id_and_body_end():
    assert uid("ab", "c", b"", SENT_AT) != uid("a", "bc", b"", SENT_AT)
    assert uid("a", "bc", b"d", SENT_AT) != uid("a", "b", b"cd", SENT_AT)


def test_uid_is_of_its_id_and_body_whenever_the_message_was_sent():
    known = uid("p", "id", b"body", SENT_AT)

    assert is_of(known, "p", "id", b"body")
    assert not is_of(known, "p", "id", b"bodz")
    assert not is_of(known, "p", "ie", b"body")
    assert not is_of(known, "q", "id", b"body")


def test_uids_sort_by_sent_time():
    assert uid("p", "zzz", b"", 1_700_000_000.0) < uid("p", "aaa", b"", 1_700_000_000.001)


def test_uid_takes_its_time_from_an_id_made_at_the_send_so_that_a_repeated_send_is_one_message():
    message_id = new_id(SENT_AT, "0123456789abcdef")

    first = uid("p", message_id, b"body", SENT_AT + 1)
    again = uid("p", message_id, b"body", SENT_AT + 99)

    assert first == again
    assert first.startswith("018bcfe5687b-")


def test_uid_does_not_take_a_uuid_for_a_time():
    assert uid("p", "018bcfe5-6800-7000-8000-0123456789ab", b"", 0.0).startswith("000000000000-")


def test_uid_bears_a_sent_time_before_1970_and_an_id_with_a_lone_surrogate():
    assert re.fullmatch(r"0{12}-[0-9a-f]{20}", uid("p", "\ud800", b"", -5.0))


def test_new_id_carries_its_time():
    assert new_id(SENT_AT, "deadbeef") == "018bcfe5687b-deadbeef"


def test_has_time_tells_ids_made_at_the_send_from_a_producers_own():
    assert has_time(new_id(SENT_AT, "deadbeef"))
    assert not has_time("order-17")
    assert not has_time("018bcfe5-6800-7000-8000-0123456789ab")
    assert not has_time("018bcfe5687b-short")


def test_idempotency_key_is_the_same_on_every_attempt_and_safe_in_a_url():
    key = idempotency_key(Uid("018bcfe5687b-00"), TaskName("Task1"))

    assert key == "mlg-w4y2tngxhc4yn5z3x23okxkmxx"
    assert re.fullmatch(r"mlg-[a-z2-7]{26}", key)


def test_idempotency_key_differs_by_task_and_by_message():
    keys = {
        idempotency_key(Uid("u1"), TaskName("Task1")),
        idempotency_key(Uid("u1"), TaskName("Task2")),
        idempotency_key(Uid("u2"), TaskName("Task1")),
    }

    assert len(keys) == 3
