from mulligan.core.flow import record
from mulligan.core.message import TaskName
from mulligan.core.outcome import SUCCEEDED
from mulligan.core.policy import Policy
from mulligan.core.progress import FRESH, Progress
from mulligan.core.route import Route, begin
from mulligan.worker.pipeline.success_cache import SuccessCache

ONE, TWO = TaskName("One"), TaskName("Two")


def test_usual_ways_say_what_record_says():
    ways, begun = SuccessCache(), begin(Route((ONE, TWO)))
    ways.share(begun)

    after, is_finished = ways.after(begun, ONE)
    last, is_last_finished = ways.after(after, TWO)

    assert after == record(begun, ONE, SUCCEEDED, Policy(), 1.0, 0.5)
    assert last == record(after, TWO, SUCCEEDED, Policy(), 1.0, 0.5)
    assert (is_finished, is_last_finished) == (False, True)


def test_usual_ways_share_what_they_said_so_that_the_next_message_gets_the_same():
    ways, begun = SuccessCache(), begin(Route((ONE, TWO)))
    ways.share(begun)

    assert ways.after(begun, ONE)[0] is ways.after(begun, ONE)[0]
    assert ways.after(begun, ONE)[0] is not ways.after(begun, TWO)[0]


def test_usual_ways_know_no_progress_that_was_not_shared():
    ways = SuccessCache()
    ways.share(Progress({ONE: FRESH}))

    assert ways.after(Progress({ONE: FRESH}), ONE) is None


def test_usual_ways_of_a_task_that_is_done_lead_nowhere():
    ways, begun = SuccessCache(), begin(Route((ONE,)))
    ways.share(begun)
    done, _ = ways.after(begun, ONE)

    again, is_finished = ways.after(done, ONE)

    assert again is done
    assert is_finished


def test_usual_ways_stop_remembering_when_they_are_many():
    ways, names = SuccessCache(), [TaskName(f"T{number}") for number in range(20)]
    progress = begun = begin(Route(tuple(names)))
    ways.share(begun)
    kept = 0
    for first in names:  # 20 first steps, each with 19 second ones, each with 18 third ones: more than are kept
        for second in names:
            one = ways.after(begun, first)
            assert one is not None
            two = ways.after(one[0], second)
            if two is None:
                continue
            for third in names:
                kept += ways.after(two[0], third) is not None
        progress = one[0]

    assert progress is not begun
    assert kept < 20 * 19 * 18
