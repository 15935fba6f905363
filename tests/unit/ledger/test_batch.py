from mulligan.ledger.batch import split_by_key


def test_rounds_hold_no_key_twice_and_keep_the_order_of_each():
    assert list(split_by_key(["a", "b", "a", "c", "a", "b"])) == [[0, 1, 3], [2, 5], [4]]
    assert list(split_by_key([])) == []
