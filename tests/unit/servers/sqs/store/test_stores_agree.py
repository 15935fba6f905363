"""Both stores are driven through the same random history; the answers must be the same, word for word."""

import json
from itertools import takewhile

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.servers.sqs.world import opened

SECONDS = st.sampled_from([0, 1, 2, 5])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("send"), SECONDS, st.sampled_from("gh")),
        st.tuples(st.just("receive"), st.integers(1, 10), SECONDS),
        st.tuples(st.just("delete"), st.integers(0, 20), st.none()),
        st.tuples(st.just("change"), st.integers(0, 20), SECONDS),
        st.tuples(st.just("pass"), SECONDS, st.none()),
        st.tuples(st.just("purge"), st.none(), st.none()),
        st.tuples(st.just("count"), st.none(), st.none()),
    ),
    max_size=40,
)


class History:
    def __init__(self, world, name, *, receives=3, retention_s=60):
        self.world = world
        world.queue(f"dead{name}")
        redrive = world.redrive(f"dead{name}", receives)
        self.url = world.queue(name, RedrivePolicy=redrive, MessageRetentionPeriod=str(retention_s))
        self.dead = self.url.rpartition("/")[0] + f"/dead{name}"
        self.is_fifo = name.endswith(".fifo")
        self.handles = []
        self.sent = 0

    def step(self, kind, first, second):
        """The answer, without the ids that each store makes in its own way."""
        self.world.pass_time(0.001)  # of messages that come back at the very same moment either may come first
        match kind:
            case "send":
                self.sent += 1
                fields = {"DelaySeconds": first}
                if self.is_fifo:
                    fields = {"MessageGroupId": second, "MessageDeduplicationId": str(self.sent)}
                return self.answer("SendMessage", MessageBody=f"{second}{self.sent}", **fields)
            case "receive":
                told = self.answer(
                    "ReceiveMessage", MaxNumberOfMessages=first, VisibilityTimeout=second, AttributeNames=["All"]
                )
                self.handles += [message["ReceiptHandle"] for message in told[1].get("Messages", [])]
                return told
            case "delete" if self.handles:
                return self.answer("DeleteMessage", ReceiptHandle=self.handles[first % len(self.handles)])
            case "change" if self.handles:
                handle = self.handles[first % len(self.handles)]
                return self.answer("ChangeMessageVisibility", ReceiptHandle=handle, VisibilityTimeout=second)
            case "pass":
                self.world.pass_time(first)
            case "purge":
                return self.answer("PurgeQueue")
            case "count":
                return self.answer("GetQueueAttributes", AttributeNames=["All"])
        return None

    def answer(self, action, **fields):
        answer = self.world.answer(action, QueueUrl=self.url, **fields)
        data = json.loads(json.dumps(answer.data))
        data.pop("MessageId", None)
        for message in data.get("Messages", []):
            del message["MessageId"]
        return answer.error and (answer.error.shape, answer.error.message), data, answer.wait


@settings(max_examples=200, deadline=None)
@given(STEPS)
def test_stores_answer_alike_over_any_history_of_a_standard_queue(steps):
    with opened("memory") as memory, opened("sqlite") as sqlite:
        one, two = History(memory, "q"), History(sqlite, "q")

        for step in steps:
            assert one.step(*step) == two.step(*step)
        one.url, two.url = one.dead, two.dead
        assert one.step("receive", 10, 0) == two.step("receive", 10, 0)


@settings(max_examples=200, deadline=None)
@given(STEPS, st.sampled_from(["memory", "sqlite"]))
def test_fifo_groups_stay_in_order_and_apart_over_any_history(steps, kind):
    with opened(kind) as world:
        check_groups(world, steps)


def before_first_of(busy, numbers):
    return list(takewhile(lambda number: number not in busy, numbers))


def check_groups(world, steps):
    """Each receive gives of each group what is first in it, up to what is in flight."""
    history = History(world, "q.fifo", receives=1000, retention_s=1_209_600)
    alive = {"g": [], "h": []}
    in_flight = {}

    for kind, first, second in steps:
        known = list(history.handles)
        told = history.step(kind, first, second)
        if told is None or told[0] is not None:
            continue
        in_flight = {handle: held for handle, held in in_flight.items() if held[2] > world.now}
        match kind:
            case "send":
                alive[second].append(history.sent)
            case "receive":
                busy = {number for _, number, _ in in_flight.values()}
                messages = told[1].get("Messages", [])
                for group in "gh":
                    numbers = [int(message["Body"][1:]) for message in messages if message["Body"][0] == group]
                    free = before_first_of(busy, alive[group])
                    assert numbers == free[: len(numbers)]
                    assert len(messages) == first or numbers == free
                for message in messages:
                    held = message["Body"][0], int(message["Body"][1:]), world.now + second
                    in_flight[message["ReceiptHandle"]] = held
            case "delete":
                group, number, _ = in_flight.pop(known[first % len(known)], ("g", None, 0))
                if number in alive[group]:
                    alive[group].remove(number)
            case "change":
                handle = known[first % len(known)]
                if handle in in_flight:
                    in_flight[handle] = (*in_flight[handle][:2], world.now + second)
            case "purge":
                alive = {"g": [], "h": []}
                in_flight.clear()
