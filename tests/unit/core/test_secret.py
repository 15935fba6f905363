import pytest

from mulligan.core.secret import Redactor, redacted, redacted_url


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("amqp://user:secret@host:5672/vhost", "amqp://user:***@host:5672/vhost"),
        ("postgres://u:p@ss:w/rd@host/db", "postgres://u:***@host/db"),
        ("amqps://:secret@host", "amqps://:***@host"),
        ("at amqp://u:p@h/ and sqs://x:y@z", "at amqp://u:***@h/ and sqs://x:***@z"),
        ("up on amqp://guest:my pass word@host:5672/v", "up on amqp://guest:***@host:5672/v"),
        ("up on amqp://guest:guest\n@host:5672/v", "up on amqp://guest:***@host:5672/v"),
        ("http://host:9324: three queues", "http://host:9324: three queues"),
        ("up on amqp://guest:12345: x@host/v", "up on amqp://guest:***@host/v"),
        ("no host in amqp://guest:secret, is there", "no host in amqp://guest:*** is there"),
        ("https://token@host/path", "https://***@host/path"),
        ("https://me:token@host/path", "https://***@host/path"),
        ("https://host/path?token=abc&x=1", "https://host/path?token=***&x=1"),
        ("https://host/path?token=ab;c#d e", "https://host/path?token=*** e"),
        ("https://host/?a=1&AWS_SECRET_KEY=abc", "https://host/?a=1&AWS_SECRET_KEY=***"),
        ("https://x/?X-Amz-Credential=s3cret", "https://x/?X-Amz-Credential=***"),
        ("POST https://hooks.slack.com/services/T0/B0/abc 200", "POST https://hooks.slack.com/services/*** 200"),
        ("sqlite:///var/mulligan.db", "sqlite:///var/mulligan.db"),
        ("https://host:8080/path?page=2", "https://host:8080/path?page=2"),
        ("at http://host:80/path and me@example.org", "at http://host:80/path and me@example.org"),
        ("expected sqlite://, sqs://, amqp://.", "expected sqlite://, sqs://, amqp://."),
        ("sqs://R?endpoint=http://me:1&insecure=true: up", "sqs://R?endpoint=http://me:1&insecure=true: up"),
        ("sqs://R?endpoint=http://HOST:PORT&insecure=true)", "sqs://R?endpoint=http://HOST:PORT&insecure=true)"),
        ("sqs://R?endpoint=http://me:1&profile=a&token=b", "sqs://R?endpoint=http://me:1&profile=a&token=***"),
        ("sqs://R?endpoint=http://me:1&ssword", "sqs://R?endpoint=http://me:***"),
        ("amqp://me:1&profile=a@host/v", "amqp://me:***@host/v"),
        ("expected http://HOST:PORT. Correct it.", "expected http://HOST:PORT. Correct it."),
        ("expected amqp://USER:PASSWORD@HOST:PORT/VHOST.", "expected amqp://USER:PASSWORD@HOST:PORT/VHOST."),
        ("'amqp://u:***@h/': an @ is written %40", "'amqp://u:***@h/': an @ is written %40"),
        ("it has no scheme with :// after it", "it has no scheme with :// after it"),
        ("no URL: password=abc", "no URL: password=abc"),
        ("key=value without a URL", "key=value without a URL"),
    ],
)
def test_redacted_hides_the_secret_parts_of_urls_in_a_text(text: str, shown: str):
    assert redacted(text) == shown


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("amqp://user:pa:ss@host/x", "amqp://user:***@host/x"),
        ("amqp://:secret@host", "amqp://:***@host"),
        ("amqp://guest:a b\n@host:5672/v\n", "amqp://guest:***@host:5672/v"),
        ("amqp://guest:a#b/c?d=e@host:5672/v", "amqp://guest:***@host:5672/v"),
        ("amqp://guest:a@b@host", "amqp://guest:***@host"),
        ("amqp://guest:secret", "amqp://guest:***"),
        ("amqp://guest%3Asecret@host", "amqp://***@host"),
        ("amqp:/guest:secret@host", "***@host"),
        ("guest:secret@host", "***@host"),
        ("guest:secret", "guest:***"),
        ("postgresql://u:p@a:1,[::1]:2/db?sslmode=require", "postgresql://u:***@a:1,[::1]:2/db?sslmode=require"),
        ("postgresql://u:p@a,u:p@b/db", "postgresql://u:***@b/db"),
        ("postgresql://h:5432/db?user=me&password=a@b", "postgresql://***"),
        ("postgresql:///db?user=me@x&password=a@b&sslmode=x", "postgresql:///db?user=me@x&password=***&sslmode=x"),
        ("postgresql:///db?pass%77ord=a&b=c&d", "postgresql:///db?pass%77ord=***&***&***"),
        ("sqs://host?secret_key=abc&region=eu", "sqs://host?secret_key=***&region=eu"),
        ("sqs://eu-west-1?endpoint=http://127.0.0.1:9324", "sqs://eu-west-1?endpoint=http://127.0.0.1:9324"),
        ("amqp://u:p@h/v#abc", "amqp://u:***@h/v#***"),
        ("sqlite:///var/x.db", "sqlite:///var/x.db"),
        ("none", "none"),
    ],
)
def test_redacted_url_shows_where_it_leads_and_no_secret(url: str, shown: str):
    assert redacted_url(url) == shown


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("amqp://me@host/", "amqp://me@host/"),
        ("postgresql://first.last%40corp@host/db", "postgresql://first.last%40corp@host/db"),
        ("https://token@host/", "https://***@host/"),
        ("smtp://token@host", "smtp://***@host"),
        ("sqs://AKIDEXAMPLE@eu-west-1", "sqs://***@eu-west-1"),
    ],
)
def test_redacted_url_shows_a_user_alone_only_where_it_can_not_be_a_token(url: str, shown: str):
    assert redacted_url(url) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("invalid literal for int(): 'Super%Secret'", "invalid literal for int(): '***'"),
        ("quoted 'Super%Secret/9 x'", "quoted '***'"),
        ("decoded Sup/er-2", "decoded ***"),
        ("me at host, of db", "me at host, of db"),
    ],
)
def test_redactor_hides_the_password_of_its_urls_in_a_text_without_the_url(text: str, shown: str):
    redactor = Redactor(["postgresql://me:Super%Secret/9 x@host/db", "amqp://me:Sup%2Fer-2@host/"])

    assert redactor(text) == shown


def test_redactor_leaves_words_alone_that_the_url_shows_or_that_are_short():
    redactor = Redactor(["amqp://mulligan:mulligan@host/", "postgresql://me:guest@host/db"])

    assert redactor("mulligan of guest amqp://mulligan:mulligan@host/") == "mulligan of guest amqp://mulligan:***@host/"


def test_redactor_hides_a_piece_of_a_password_that_is_quoted_with_escapes():
    redactor = Redactor(["amqp://me:0\tsecret-word\x00@host/"])

    assert redactor(f"not a port: {'secret-word' + chr(0)!r}") == "not a port: '***\\x00'"
