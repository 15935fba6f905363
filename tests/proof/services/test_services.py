"""The whole request at once: two hundred messages, five kills, and a service that is down."""

import pytest

from tests.acceptance.harness.whole import carry_through
from tests.proof.size import IS_FULL

TRELLO_DOWN_S = 60.0 if IS_FULL else 12.0
"""A minute takes a minute; the tests of the rule have a service down for an hour of another clock."""


@pytest.fixture(params=["sqlite", "sqs"])
def queue(request, whole):
    """The application on a broker: a name more here, and what points the application at it, is one more run."""
    if request.param == "sqs":
        request.getfixturevalue("sqs").point(whole)
    return whole


def test_each_message_is_one_issue_one_card_and_one_message_whatever_the_services_and_workers_do_to_many(
    queue, services, until
):
    carry_through(
        queue, services, until, messages=200, bad={"bad-a": 6, "bad-b": 4}, kills=5, trello_down_s=TRELLO_DOWN_S
    )
