import pytest

from mulligan.core.secret import redacted


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("amqp://user:secret@host:5672/vhost", "amqp://user:***@host:5672/vhost"),
        ("postgres://u:p@ss:w/rd@host/db", "postgres://u:***@host/db"),
        ("amqps://:secret@host", "amqps://:***@host"),
        ("at amqp://u:p@h/ and sqs://x:y@z", "at amqp://u:***@h/ and sqs://x:***@z"),
        ("https://host/path?token=abc&x=1", "https://host/path?token=***&x=1"),
        ("https://host/?a=1&AWS_SECRET_KEY=abc", "https://host/?a=1&AWS_SECRET_KEY=***"),
        ("sqlite:///var/mulligan.db", "sqlite:///var/mulligan.db"),
        ("https://host:8080/path?page=2", "https://host:8080/path?page=2"),
        ("no URL: password=abc", "no URL: password=abc"),
    ],
)
def test_redacted_hides_passwords_and_secret_parameters_of_urls(text: str, shown: str):
    assert redacted(text) == shown
