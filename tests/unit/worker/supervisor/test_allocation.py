import pytest

from mulligan.worker.supervisor.allocation import WorkerShare, allocate, isolated_for


def test_deal_gives_each_consumer_a_process_when_there_are_as_many():
    assert allocate(3, 2, 5) == [
        WorkerShare(1, 0),
        WorkerShare(1, 0),
        WorkerShare(1, 0),
        WorkerShare(0, 1),
        WorkerShare(0, 1),
    ]


def test_deal_gives_one_process_everything_when_the_pool_is_one():
    assert allocate(3, 2, 1) == [WorkerShare(3, 2)]


def test_deal_serves_both_queues_when_the_pool_is_smaller_than_the_consumers():
    assert allocate(3, 2, 2) == [WorkerShare(2, 1), WorkerShare(1, 1)]


def test_deal_makes_no_process_without_a_consumer_when_the_pool_is_larger():
    assert allocate(1, 1, 8) == [WorkerShare(1, 0), WorkerShare(0, 1)]


def test_deal_can_leave_a_queue_without_consumers():
    assert allocate(4, 0, 2) == [WorkerShare(2, 0), WorkerShare(2, 0)]


@pytest.mark.parametrize("pool_size", range(1, 12))
def test_deal_loses_no_consumer_whatever_the_pool(pool_size):
    hands = allocate(5, 4, pool_size)

    assert (sum(hand.requests for hand in hands), sum(hand.rejects for hand in hands)) == (5, 4)
    sizes = [hand.requests + hand.rejects for hand in hands]
    assert min(sizes) >= 1
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize(("workers", "cores", "each"), [(1, 8, 8), (2, 8, 4), (3, 8, 3), (8, 2, 1), (5, 1, 1)])
def test_isolated_for_gives_each_worker_its_share_of_the_cores_and_one_at_least(workers, cores, each):
    assert isolated_for(workers, cores) == each
