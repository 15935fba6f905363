from dataclasses import replace
from itertools import count

import pytest

from mulligan.core import retry_state
from mulligan.core.delivery import Delivery
from mulligan.core.message import QueueName, TaskName, Uid
from mulligan.core.progress import FRESH, Mark, Progress, State
from mulligan.core.retry_state import Packing, RetryState
from mulligan.storage.body import BodyFolder
from mulligan.worker.pipeline.packer import Packer
from mulligan.worker.pipeline.state_reader import StateReader

UID = Uid("018bcfe56800-00000000000000000009")
TOLD = RetryState(UID, 0, 1, 1_600_000_000.0, Progress({TaskName("One"): FRESH}))
LETTER = replace(TOLD, progress=Progress({TaskName("One"): Mark(State.EXHAUSTED, 2)}), is_dead=True)


@pytest.fixture
async def make_reader(runtime, role, patient, tmp_path):
    def make_reader(**more):
        """A reader that gives tokens t1, t2, ..."""
        tokens = count(1)
        return StateReader(
            runtime, replace(role, **more), Packer(BodyFolder(tmp_path)), patient, lambda: f"t{next(tokens)}"
        )

    return make_reader


@pytest.fixture
async def requests(make_reader):
    return make_reader()


@pytest.fixture
async def rejects(make_reader):
    return make_reader(index=1, is_trusted=True)


def delivery(state=None, number=1):
    attributes = {"color": "red"}
    if state is not None:
        attributes[retry_state.ATTRIBUTE] = retry_state.encode(state) if isinstance(state, RetryState) else state
    return Delivery(QueueName("q"), f"1.{number}", f"id{number}", b"hello", attributes, 1_700_000_000.0)


async def test_new_messages_are_read_each_with_its_token_and_need_nothing_else(requests):
    flights, has_others = requests.read([delivery(number=1), delivery(number=2)])

    assert [(flight.token, flight.is_fresh, flight.state) for flight in flights] == [
        ("t1", True, None),
        ("t2", True, None),
    ]
    assert flights[0].message.uid != flights[1].message.uid
    assert not has_others


async def test_copy_is_read_with_its_state_which_its_message_does_not_show(rejects):
    (flight,), has_others = rejects.read([delivery(TOLD)])

    assert (flight.state, flight.message.uid, flight.hop) == (TOLD, UID, 1)
    assert dict(flight.message.attributes) == {"color": "red"}
    assert not has_others


async def test_dead_letter_that_somebody_moved_is_read_as_its_replay(rejects):
    (flight,), _ = rejects.read([delivery(LETTER)])

    assert (flight.is_replay, flight.generation, flight.hop) == (True, 1, 0)


async def test_copy_that_can_not_be_read_has_no_token_to_be_claimed_with(rejects):
    (flight,), has_others = rejects.read([delivery("half of a state")])

    assert flight.unread is not None
    assert flight.token == ""
    assert has_others


@pytest.mark.parametrize("buries", [True, False])
async def test_stray_is_read_as_new_only_where_it_is_to_run(make_reader, buries):
    reader = make_reader(index=1, is_trusted=True, buries_strays=buries)

    (flight,), has_others = reader.read([delivery()])

    assert (flight.is_stray, flight.is_fresh, has_others) == (True, not buries, True)
    assert reader.is_doubtful(flight)


async def test_state_on_requests_is_not_believed_and_makes_the_copy_doubtful(requests):
    """A producer may have written it."""
    (flight, plain), has_others = requests.read([delivery(TOLD), delivery(number=2)])

    assert (flight.state, has_others) == (None, True)
    assert flight.message.uid != UID
    assert requests.is_doubtful(flight)
    assert not requests.is_doubtful(plain)


async def test_read_forgets_the_others_of_the_receive_before(requests):
    requests.read([delivery(TOLD)])

    assert not requests.read([delivery()])[1]


async def test_copy_whose_stored_body_is_gone_says_why_and_keeps_the_bodys_name(rejects, make_flight):
    name = f"{UID}-rejects-{'0' * 32}"
    told = replace(TOLD, wrap=Packing("file", 5_000, False, name))
    flight = make_flight()

    await rejects.unpack(flight, told)

    assert flight.problem is not None
    assert flight.stored == name


async def test_copy_that_is_not_packed_is_left_as_it_is(rejects, make_flight):
    flight = make_flight()
    message = flight.message

    await rejects.unpack(flight, TOLD)

    assert flight.message is message
    assert (flight.problem, flight.stored) == (None, None)
