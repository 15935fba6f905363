from mulligan.worker.pipeline.fifo import FifoGroups


def test_turns_let_one_message_of_a_group_go_at_a_time_in_order():
    turns: FifoGroups[str] = FifoGroups()

    entered = [turns.enter("a", "a1"), turns.enter("a", "a2"), turns.enter("b", "b1")]

    assert entered == [True, False, True]
    assert turns.leave("a", "a1", goes_on=True) == ("a2", [])


def test_turns_send_away_all_behind_a_head_that_stops_its_group():
    turns: FifoGroups[str] = FifoGroups()
    for item in ("a1", "a2", "a3"):
        turns.enter("a", item)

    assert turns.leave("a", "a1", goes_on=False) == (None, ["a2", "a3"])
    assert turns.enter("a", "a1") is True


def test_turns_send_away_all_behind_one_that_leaves_before_its_turn():
    turns: FifoGroups[str] = FifoGroups()
    for item in ("a1", "a2", "a3", "a4"):
        turns.enter("a", item)

    assert turns.leave("a", "a3", goes_on=False) == (None, ["a4"])
    assert turns.leave("a", "a4", goes_on=False) == (None, [])
    assert turns.leave("a", "a1", goes_on=True) == ("a2", [])
    assert turns.leave("a", "a2", goes_on=True) == (None, [])
    assert turns.leave("a", "unknown", goes_on=True) == (None, [])
