import pytest

from mulligan.core.url import UrlFault, hosts_of, split_url


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("guest:Zq7@host", "it is not a URL: it has no scheme"),
        ("amqp:/guest:Zq7@host", "it is not a URL: it has no scheme"),
        ("amqp://guest:Zq7/9@host", "a # / ? in the password is written %23 / %2F / %3F"),
        ("amqp://guest:Zq7#9@host", "a # / ? in the password is written %23 / %2F / %3F"),
        ("amqp://guest:Zq7?9@host", "a # / ? in the password is written %23 / %2F / %3F"),
        ("amqp://guest/Zq7@host", "a # / ? in the password is written %23 / %2F / %3F"),
        ("amqp://guest:Zq7", "not a number from 1 to 65535; where a user and a password are meant, a # / ?"),
        ("amqp://guest:Zq7@host:a", "not a number from 1 to 65535"),
        ("amqp://guest:Zq7@host:99999", "not a number from 1 to 65535"),
        ("amqp://guest:Zq7\n@host", "U+000A (a line break); cut it off"),
        ("amqp://guest:Zq7\t9@host", "U+0009 (a tab)"),
        ("amqp://guest:Zq7\ud83d@host", "the half character U+D83D"),
        ("amqp://guest:Zq7@[::1", "its host can't be read"),
        ("amqp://guest:Zq7@\u2100", "its host can't be read"),
    ],
)
def test_split_url_says_what_is_wrong_and_nothing_of_the_url(url: str, words: str):
    with pytest.raises(UrlFault) as caught:
        split_url(url)

    assert words in str(caught.value)
    assert "Zq7" not in str(caught.value)


def test_split_url_takes_what_a_password_may_hold_unescaped():
    parts = split_url(" amqp://guest:a b@c:%d&e=f@host:5672/v\r\n")

    assert (parts.username, parts.password, parts.hostname, parts.port) == ("guest", "a b@c:%d&e=f", "host", 5672)


def test_split_url_takes_an_at_sign_in_a_query_before_which_no_password_can_have_begun():
    assert split_url("postgresql:///db?user=me@corp").query == "user=me@corp"


def test_hosts_of_gives_all_of_them_without_ports():
    parts = split_url("postgresql://me:a,b@one:1,[::1]:2,%2Fvar%2Frun/db", takes_several=True)

    assert hosts_of(parts) == ["one", "::1", "/var/run"]
