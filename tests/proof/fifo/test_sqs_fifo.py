"""FIFO queues under failures: a hundred groups of fifty messages, and the order of each."""

import pytest

from tests.acceptance.harness.fifo import keep_order_when_heads_are_held, keep_order_when_heads_step_aside, lay_out

SIZE = {"groups": 100, "each": 50}


@pytest.fixture
def fifo(app, sqs):
    return lay_out(app, sqs)


@pytest.mark.parametrize("kills", [0, 2])
def test_fifo_groups_keep_their_order_when_failing_heads_are_held(fifo, sqs, until, kills):
    keep_order_when_heads_are_held(fifo, sqs, until, kills=kills, **SIZE)


def test_fifo_groups_keep_the_order_of_what_does_not_fail_when_failing_heads_step_aside(fifo, sqs, until):
    keep_order_when_heads_step_aside(fifo, sqs, until, **SIZE)
