from pathlib import Path

import pytest
from asyncpg.connect_utils import _parse_connect_dsn_and_args

from mulligan.core.error import ConfigurationError
from mulligan.ledger.postgres.address import address_of


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:pw@127.0.0.1:5433/db",
        "postgresql://me@localhost/db",
        "postgres://me@[::1]:5432/db",
        "postgresql://me@/db?host=/run/postgresql",
    ],
)
def test_address_on_this_machine_is_taken_as_it_is(url):
    address = address_of(url)

    assert (address.url, address.hosts, address.ssl) == (url, None, None)


@pytest.mark.parametrize(
    "url",
    ["postgresql://me@db.example.com/db", "postgresql://me@127.0.0.1,10.0.0.7/db", "postgresql:///db?host=10.1.1.1"],
)
def test_address_beyond_this_machine_asks_for_verified_tls_unless_the_url_says_otherwise(url):
    assert address_of(url).ssl is True


def test_address_with_an_authority_of_its_own_asks_for_verified_tls_by_it():
    address = address_of("postgresql://me@db.example.com/db?sslrootcert=/etc/ca.pem")

    assert address.url == "postgresql://me@db.example.com/db?sslrootcert=%2Fetc%2Fca.pem&sslmode=verify-full"
    assert address.ssl is None


def test_address_leaves_the_mode_alone_that_the_url_names():
    address = address_of("postgresql://me@db.example.com/db?sslmode=disable")

    assert (address.url, address.ssl) == ("postgresql://me@db.example.com/db?sslmode=disable", None)


def test_address_verifies_by_the_systems_authorities_when_full_verification_is_asked_for_without_another():
    address = address_of("postgresql://me@127.0.0.1/db?sslmode=verify-full&search_path=x")

    assert (address.url, address.ssl) == ("postgresql://me@127.0.0.1/db?search_path=x", True)


def test_address_without_a_host_looks_for_a_socket_of_this_machine_only():
    address = address_of("postgresql:///db")

    assert address.hosts is not None
    assert all(host.startswith("/") for host in address.hosts)


def test_address_is_shown_without_its_password():
    assert address_of("postgresql://me:s3c@ret@h/db?password=hidden").shown == "postgresql://me:***@h/db?password=***"


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("postgresql://me:s3cret@h", "names no database"),
        ("postgresql://me:s3cret@h/db?sslmode=sure", "sslmode is 'sure'"),
        (
            "postgresql://me:s3cret@a,b/db?target_session_attrs=primry",
            "is 'primry', expected one of read-write",
        ),
        ("postgresql://me:s3cret@a,b/db?target_session_attrs=prefer-standby", "a ledger is written to"),
        ("postgresql://me:s3cret@h/db?sslmode", "can't be read"),
        ("postgresql://me:s3cret@[::1/db", "can't be read"),
    ],
)
def test_address_that_can_not_be_used_is_refused_without_showing_the_password(url, what):
    with pytest.raises(ConfigurationError, match=r"docs/ledger\.md") as caught:
        address_of(url)

    assert what in str(caught.value)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("postgresql://me:Super%Secret/9@h/db", "a # / ? in the password is written %23 / %2F / %3F"),
        ("postgresql://me:Super%Secret#9@h/db", "a # / ? in the password is written %23 / %2F / %3F"),
        ("postgresql://me:Secret@h/db#x", "a # ends it early"),
        ("postgresql://me:Secret@h:five/db", "not a number from 1 to 65535"),
        ("postgresql://h/db?user=me&password=Secret&Secret", "an & in a value is %26"),
    ],
)
def test_address_that_is_malformed_is_refused_without_the_words_of_a_parser(url, told):
    with pytest.raises(ConfigurationError) as caught:
        address_of(url)

    assert told in str(caught.value)
    assert "Secret" not in str(caught.value)


def test_address_hands_a_password_with_an_at_sign_to_the_client_so_that_it_finds_the_host():
    address = address_of("postgresql://me:p@ss w%25rd@127.0.0.1:5433/db")

    assert address.url == "postgresql://me:p%40ss%20w%25rd@127.0.0.1:5433/db"
    assert "w%25rd" not in repr(address)


def test_files_are_those_of_the_applications_folder_whatever_the_current_one_is_when_they_are_read():
    address = address_of("postgresql://me@127.0.0.1/db?sslrootcert=ca.pem&sslkey=/own/key.pem", Path("/srv/shop"))

    assert address.url == "postgresql://me@127.0.0.1/db?sslrootcert=%2Fsrv%2Fshop%2Fca.pem&sslkey=%2Fown%2Fkey.pem"


def test_several_hosts_with_an_ipv6_address_among_them_are_read_as_they_were_written():
    found = address_of("postgresql://me@one:1,[::1]:2/db?sslmode=disable")

    places, given = _parse_connect_dsn_and_args(
        dsn=found.url, host=None, port=None, user=None, password=None, passfile=None, database=None, ssl=None,
        service=None, servicefile=None, direct_tls=None, server_settings=None, target_session_attrs=None,
        krbsrvname=None, gsslib=None,
    )  # fmt: skip
    assert places == [("one", 1), ("::1", 2)]
    assert (given.user, given.database) == ("me", "db")
