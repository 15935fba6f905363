import pytest

from mulligan.brokers.rabbitmq.topology import DELAY_MAX_S, LEVELS, Place, Topology, rounded_up
from mulligan.core.delivery import Queues
from mulligan.core.message import QueueName

QUEUES = Queues("p", QueueName("p-requests-q"), QueueName("p-rejects-q"), QueueName("p-dead-q"))
TOPOLOGY = Topology(QUEUES)


def test_names_are_those_of_the_original_program():
    assert TOPOLOGY.place(QUEUES.requests) == Place("p-requests-xchange", "p-requests")
    assert TOPOLOGY.place(QUEUES.rejects) == Place("p-rejects-xchange", "p-rejects")


def test_no_queue_can_lose_a_message():
    for queue in (*TOPOLOGY.main, *TOPOLOGY.delay_queues):
        arguments = queue.arguments
        assert arguments["x-queue-type"] == "quorum", queue
        assert arguments["x-dead-letter-strategy"] == "at-least-once", queue
        assert arguments["x-overflow"] == "reject-publish", queue
        assert arguments["x-dead-letter-exchange"], queue
        assert arguments["x-delivery-limit"] >= 1000, queue


@pytest.mark.parametrize(
    ("delay_s", "rounded"),
    [(0, 0), (0.1, 1), (1, 1), (2.5, 3), (31, 31), (33, 34), (1000, 1024), (3600, 3712), (DELAY_MAX_S, DELAY_MAX_S)],
)
def test_delay_is_rounded_up_to_few_bits(delay_s, rounded):
    assert rounded_up(delay_s) == rounded


def matches(pattern, key):
    """Whether a topic pattern takes a key; # at the end only, or at the start only."""
    words, given = pattern.split("."), key.split(".")
    if words[0] == "#":
        return given[-len(words) + 1 :] == words[1:]
    words = words[:-1]
    return len(given) >= len(words) and all(word in ("*", other) for word, other in zip(words, given, strict=False))


def walked(place):
    """Queues that a message passes, with the seconds that it waits, and where it ends."""
    sources = {}
    for one in TOPOLOGY.bindings:
        sources.setdefault(one.source, []).append(one)
    queues = {one.name: one.arguments for one in TOPOLOGY.delay_queues}
    exchange, waited, passed = place.exchange, 0, 0
    while True:
        (binding,) = [one for one in sources[exchange] if matches(one.key, place.key)]
        if binding.to_exchange:
            exchange = binding.target
        elif binding.target in queues:
            waited += queues[binding.target]["x-message-ttl"] // 1000
            passed += 1
            exchange = queues[binding.target]["x-dead-letter-exchange"]
        else:
            return binding.target, waited, passed


@pytest.mark.parametrize("delay_s", [1, 2, 3, 5, 60, 61, 3600, 86_400, 122_880, DELAY_MAX_S])
def test_delay_leads_through_the_delay_levels_to_its_own_queue(delay_s):
    for queue in QUEUES.all:
        target, waited, passed = walked(TOPOLOGY.place(queue, delay_s))

        assert target == queue
        assert delay_s <= waited <= delay_s * 17 / 16 + 1
        assert passed <= (LEVELS if delay_s == DELAY_MAX_S else 5)


def test_routing_key_on_a_delay_queue_names_the_queue_that_it_is_for():
    key = TOPOLOGY.place(QUEUES.rejects, 5).key

    assert TOPOLOGY.is_for(key, QUEUES.rejects)
    assert not TOPOLOGY.is_for(key, QUEUES.requests)
