from pathlib import Path

import pytest

from mulligan.brokers.rabbitmq.broker_url import parse, tls
from mulligan.core.error import ConfigurationError


def test_parse_gives_every_part_decoded():
    given = parse("amqps://us%40er:pass%2Fword@host:1234/v%2Fhost?heartbeat=10&cafile=/ca.pem")

    assert (given.host, given.port, given.user, given.password) == ("host", 1234, "us@er", "pass/word")
    assert (given.vhost, given.is_tls, given.heartbeat_s, given.cafile) == ("v/host", True, 10, "/ca.pem")
    assert "pass" not in repr(given).replace("password=<hidden>", "")


def test_parse_takes_the_defaults_of_rabbitmq():
    given = parse("amqp://host")

    assert (given.port, given.user, given.password, given.vhost) == (5672, "guest", "guest", "/")


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("amqp://u:s3cret@h/a/b", "%2F"),
        ("amqp://u:s3cret@h/?heartbeat=1", "heartbeat"),
        ("amqp://u:s3cret@h/?cafile=x", "amqps"),
        ("amqps://u:s3cret@h/?certfile=x", "keyfile"),
        ("amqp://u:s3cret@h/?verify=no", "verify"),
        ("amqp://u:s3cret@h:port/", "port"),
        ("amqp://u:s3cret@h/#x", "%23"),
        ("amqp://u:s3cret#9@h/", "a # / \\? in the password is written %23 / %2F / %3F"),
        ("amqp://u:s3cret/9@h/", "a # / \\? in the password is written %23 / %2F / %3F"),
        ("amqp://u:s3cret", "where a user and a password are meant"),
        ("amqp://u:s3cret@h/?password=x&s3cret=1", "a parameter is unknown"),
        ("amqp://u:s3cret\udcff@h/", "the password holds bytes that are not UTF-8"),
        ("amqp://u:s3cret@a:5672,b:5672/", "several hosts.* load balancer"),
        ("amqp://u:s3cret@a/;amqp://u:s3cret@b/", "several hosts.* load balancer"),
        ("amqp://u:s3cret@a,amqp://u:s3cret@b", "several hosts.* load balancer"),
    ],
)
def test_parse_says_what_is_wrong_without_the_password(url, told):
    with pytest.raises(ConfigurationError, match=told) as caught:
        parse(url)

    assert "s3cret" not in str(caught.value)


def test_tls_names_a_file_that_can_not_be_read():
    with pytest.raises(ConfigurationError, match="nowhere"):
        tls(parse("amqps://h/?cafile=/nowhere.pem"))


def test_files_are_those_of_the_applications_folder_whatever_the_current_one_is_when_they_are_read():
    given = parse("amqps://h/?cafile=ca.pem&certfile=/own/cert.pem&keyfile=own/key.pem", Path("/srv/shop"))

    assert (given.cafile, given.certfile, given.keyfile) == (
        "/srv/shop/ca.pem", "/own/cert.pem", "/srv/shop/own/key.pem",
    )  # fmt: skip
