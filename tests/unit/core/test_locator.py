import re

import pytest

from mulligan.core.locator import FORM, Locator, locator_of
from mulligan.core.message import QueueName

NAME = QueueName("orders-q.fifo")


@pytest.mark.parametrize(
    ("text", "locator"),
    [
        ("orders-q.fifo", Locator(NAME)),
        ("arn:aws:sqs:eu-west-1:123456789012:orders-q.fifo", Locator(NAME, "eu-west-1", "123456789012")),
        ("arn:aws-cn:sqs:cn-north-1:123456789012:orders-q.fifo", Locator(NAME, "cn-north-1", "123456789012")),
        ("arn:aws-us-gov:sqs:us-gov-west-1:123456789012:orders-q.fifo", Locator(NAME, "us-gov-west-1", "123456789012")),
        *(
            (f"https://{host}/123456789012/orders-q.fifo", Locator(NAME, region, "123456789012"))
            for host, region in [
                ("sqs.eu-west-1.amazonaws.com", "eu-west-1"),
                ("sqs.cn-north-1.amazonaws.com.cn", "cn-north-1"),
                ("sqs-fips.us-gov-west-1.amazonaws.com", "us-gov-west-1"),
                ("sqs.us-east-2.api.aws", "us-east-2"),
                ("eu-west-1.queue.amazonaws.com", "eu-west-1"),
                ("queue.amazonaws.com", "us-east-1"),
                ("vpce-0a1b-2c3d.sqs.eu-west-1.vpce.amazonaws.com", "eu-west-1"),
            ]
        ),
        (
            "http://localhost:4566/000000000000/orders-q.fifo",
            Locator(NAME, None, "000000000000", "localhost:4566"),
        ),
        ("http://LocalHost:80/000000000000/orders-q.fifo", Locator(NAME, None, "000000000000", "localhost")),
        ("https://sqs.shop.test:443/000000000000/orders-q.fifo", Locator(NAME, None, "000000000000", "sqs.shop.test")),
        ("http://[::1]:9324/000000000000/orders-q.fifo", Locator(NAME, None, "000000000000", "[::1]:9324")),
    ],
)
def test_place_of_a_queue_is_found_in_its_name_url_or_arn(text, locator):
    assert re.fullmatch(FORM, text)
    assert locator_of(text) == locator


@pytest.mark.parametrize(
    "text",
    [
        "",
        "orders q",
        "a" * 81,
        "arn:aws:sns:eu-west-1:123456789012:topic",
        "arn:aws:sqs:eu-west-1:123456789012:",
        "arn:aws:sqs::123456789012:orders",
        "https://sqs.eu-west-1.amazonaws.com/orders",
        "https://sqs.eu-west-1.amazonaws.com/1234/orders",
        "https://sqs.eu-west-1.amazonaws.com/123456789012/orders/",
        "https://user:secret@sqs.eu-west-1.amazonaws.com/123456789012/orders",
        "ftp://sqs.eu-west-1.amazonaws.com/123456789012/orders",
    ],
)
def test_form_refuses_what_is_no_queue(text):
    assert not re.fullmatch(FORM, text)
