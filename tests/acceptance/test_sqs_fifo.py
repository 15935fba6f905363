"""FIFO queues under failures: some groups, and the order of each."""

import pytest

from tests.acceptance.harness.fifo import keep_order_when_heads_are_held, keep_order_when_heads_step_aside, lay_out

SIZE = {"groups": 10, "each": 20}


@pytest.fixture
def fifo(app, sqs):
    return lay_out(app, sqs)


def test_fifo_groups_keep_their_order_when_failing_heads_are_held_and_a_worker_is_killed(fifo, sqs, until):
    keep_order_when_heads_are_held(fifo, sqs, until, kills=1, **SIZE)


def test_fifo_groups_keep_the_order_of_what_does_not_fail_when_failing_heads_step_aside(fifo, sqs, until):
    keep_order_when_heads_step_aside(fifo, sqs, until, **SIZE)


def test_system_refuses_to_hold_groups_when_there_is_no_ledger(fifo):
    system = fifo.start(LEDGER_URL="none")

    assert system.wait() == 2
    assert "FIFO_ON_FAILURE is 'block_group' and LEDGER_URL is 'none'" in system.log()
