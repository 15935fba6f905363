from mulligan.core.outcome import INTERRUPTED, SUCCEEDED, Failed, Interrupted, Succeeded


def test_failed_may_be_tried_again_by_the_policy_unless_told():
    failed = Failed("no route to host")

    assert (failed.is_final, failed.retry_after_s) == (False, None)


def test_outcomes_without_fields_are_made_once():
    assert Succeeded() == SUCCEEDED
    assert Interrupted() == INTERRUPTED
    assert SUCCEEDED != INTERRUPTED
