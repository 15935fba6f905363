import pytest

from mulligan.core.secret import redacted


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("amqp://me:s3cret@host:5672/v", "amqp://me:***@host:5672/v"),
        ("amqp://me:s3/cr@t@host/", "amqp://me:***@host/"),
        ("redis://:s3cret@host", "redis://:***@host"),
        ("https://x/?a=1&api_token=s3cret&b=2", "https://x/?a=1&api_token=***&b=2"),
        ("https://x/?X-Amz-Credential=s3cret", "https://x/?X-Amz-Credential=***"),
        ("at http://host:80/path and me@example.org", "at http://host:80/path and me@example.org"),
        ("key=value without a URL", "key=value without a URL"),
        ("sqlite:///var/mulligan.db", "sqlite:///var/mulligan.db"),
    ],
)
def test_redacted_hides_the_secret_parts_of_urls_and_nothing_else(text, expected):
    assert redacted(text) == expected
