"""Where the service is: URL, environment, profile. Everything is found in a folder of the test's own."""

import logging

import pytest

from mulligan.brokers.sqs import environment
from mulligan.brokers.sqs.environment import Address, parse_url, resolve
from mulligan.brokers.sqs.http import Endpoint, Proxy
from mulligan.core.error import ConfigurationError


@pytest.fixture(autouse=True)
def bare(monkeypatch, tmp_path):
    """No AWS settings and no proxies but those that a test makes."""
    import os

    for name in list(os.environ):
        if name.upper().startswith("AWS_") or name.upper().endswith("_PROXY"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    return tmp_path


# -- the URL ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("sqs://eu-west-1", Address("eu-west-1")),
        ("sqs://eu-west-1/", Address("eu-west-1")),
        ("sqs://", Address(None)),
        ("SQS://eu-west-1?profile=ops", Address("eu-west-1", None, "ops")),
        ("sqs://r?endpoint=http://127.0.0.1:9324", Address("r", "http://127.0.0.1:9324")),
        ("sqs://r?endpoint=http://[::1]:9324", Address("r", "http://[::1]:9324")),
        (
            "sqs://r?endpoint=https://vpce-1.sqs.r.vpce.amazonaws.com",
            Address("r", "https://vpce-1.sqs.r.vpce.amazonaws.com"),
        ),
        (
            "sqs://r?endpoint=http://localstack:4566&insecure=true",
            Address("r", "http://localstack:4566", is_insecure=True),
        ),
        ("sqs://r?insecure=false", Address("r")),
        ("sqs://r?account=123456789012", Address("r", account="123456789012")),
    ],
)
def test_parse_url_finds(url, address):
    assert parse_url(url) == address


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("sqs://r?endpont=x", "Did you mean 'endpoint'"),
        ("sqs://r/queue", "Queue names come from"),
        ("sqs://key:hidden@r", "leave both out"),
        ("sqs://r?endpoint=http://10.0.0.1:9324", "plain http, and not on this machine"),
        ("sqs://r?endpoint=http://sqs.example", "plain http, and not on this machine"),
        ("sqs://r?endpoint=http://sqs.example&insecure=false", "say so: insecure=true in BROKER_URL"),
        ("sqs://r?insecure=yes", "insecure is 'yes', expected true or false"),
        ("sqs://r?account=12345", "account is '12345', expected the 12 digits"),
        ("sqs://r?endpoint=127.0.0.1:9324", r"is not http\(s\)://HOST:PORT"),
        ("sqs://r?endpoint=http://127.0.0.1:99999", "not a number from 1 to 65535"),
        ("sqs://r?endpoint=http://127.0.0.1:9324/queue", "is not http"),
    ],
)
def test_parse_url_refuses_and_says_what_to_do(url, words):
    with pytest.raises(ConfigurationError, match=words) as caught:
        parse_url(url)

    assert "hidden" not in str(caught.value)


def test_parse_url_tells_every_mistake_at_once():
    with pytest.raises(ConfigurationError) as caught:
        parse_url("sqs://r/path?colour=blue&endpoint=ftp://x")

    assert len(caught.value.problems) == 3


# -- the endpoint ----------------------------------------------------------------------------------------------------


def test_resolve_gives_the_endpoint_of_the_region():
    config = resolve(Address("eu-west-1"))

    assert config.region == "eu-west-1"
    assert config.endpoint == Endpoint("sqs.eu-west-1.amazonaws.com", 443, True)
    assert config.url == "https://sqs.eu-west-1.amazonaws.com"
    assert config.tls is not None
    assert config.tls.check_hostname
    assert config.proxy is None
    assert config.partition == "aws"


def test_resolve_knows_other_partitions():
    config = resolve(Address("cn-north-1"))

    assert config.endpoint.host == "sqs.cn-north-1.amazonaws.com.cn"
    assert config.partition == "aws-cn"


@pytest.mark.parametrize("name", ["AWS_ENDPOINT_URL_SQS", "AWS_ENDPOINT_URL"])
def test_resolve_takes_the_endpoint_of_the_environment(monkeypatch, name):
    monkeypatch.setenv(name, "http://127.0.0.1:9324")

    config = resolve(Address("eu-west-1"))

    assert config.endpoint == Endpoint("127.0.0.1", 9324, False)
    assert config.tls is None


def test_resolve_takes_the_endpoint_of_the_url_before_that_of_the_environment(monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", "http://127.0.0.1:1")

    assert resolve(Address("r", "http://127.0.0.1:2")).endpoint.port == 2


def test_resolve_refuses_plain_http_from_the_environment_too(monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://sqs.example")

    with pytest.raises(ConfigurationError, match="plain http"):
        resolve(Address("eu-west-1"))


def test_resolve_takes_plain_http_from_the_environment_when_the_url_says_insecure(monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://sqs.example:9324")

    config = resolve(Address("eu-west-1", is_insecure=True))

    assert config.endpoint == Endpoint("sqs.example", 9324, False)
    assert config.is_readable


@pytest.mark.parametrize("url", ["http://127.0.0.1:9324", "https://sqs.example"])
def test_site_on_this_machine_or_behind_tls_can_not_be_read_although_the_url_says_insecure(url):
    assert not resolve(Address("r", url, is_insecure=True)).is_readable


def test_resolve_takes_the_region_of_the_environment_when_the_url_has_none(monkeypatch):
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-2")

    assert resolve(Address(None)).region == "us-east-2"


def test_resolve_takes_region_and_endpoint_of_a_profile(bare):
    (bare / "config").write_text("[profile ops]\nregion = us-west-2\nendpoint_url = https://sqs.example:8443\n")

    config = resolve(Address(None, None, "ops"))

    assert config.region == "us-west-2"
    assert config.endpoint == Endpoint("sqs.example", 8443, True)


def test_resolve_says_that_a_region_is_missing():
    with pytest.raises(ConfigurationError, match="AWS_REGION"):
        resolve(Address(None))


def test_resolve_says_that_a_profile_is_missing():
    with pytest.raises(ConfigurationError, match="nobody"):
        resolve(Address("eu-west-1", None, "nobody"))


def test_resolve_says_that_a_region_can_not_be():
    with pytest.raises(ConfigurationError, match="configuration can't be used"):
        resolve(Address("no region"))


# -- TLS and proxies --------------------------------------------------------------------------------------------------


def test_resolve_trusts_the_bundle_of_the_environment_alone(monkeypatch, authority):
    monkeypatch.setenv("AWS_CA_BUNDLE", str(authority))

    config = resolve(Address("eu-west-1"))

    assert config.tls is not None
    (only,) = config.tls.get_ca_certs()
    assert (("commonName", "mulligan test authority"),) in only["subject"]


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_resolve_says_that_the_bundle_can_not_be_read(monkeypatch, tmp_path, content):
    path = tmp_path / "bundle.pem"
    if content is not None:
        path.write_text(content)
    monkeypatch.setenv("AWS_CA_BUNDLE", str(path))

    with pytest.raises(ConfigurationError, match="AWS_CA_BUNDLE"):
        resolve(Address("eu-west-1"))


def test_resolve_goes_through_the_proxy_of_the_environment(monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")

    assert resolve(Address("eu-west-1")).proxy == Proxy("proxy.example", 3128)


@pytest.mark.parametrize("exception", ["sqs.eu-west-1.amazonaws.com", ".amazonaws.com", "*"])
def test_resolve_goes_past_the_proxy_when_the_environment_says_so(monkeypatch, exception):
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    monkeypatch.setenv("NO_PROXY", exception)

    assert resolve(Address("eu-west-1")).proxy is None


def test_resolve_asks_no_proxy_for_this_machine(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.example:3128")

    assert resolve(Address("r", "http://127.0.0.1:9324")).proxy is None


def test_resolve_refuses_a_proxy_that_it_can_not_speak_to(monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "socks5://user:hidden@proxy.example:1080")

    with pytest.raises(ConfigurationError, match=r"socks5://proxy\.example") as caught:
        resolve(Address("eu-west-1"))

    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize(
    ("host", "is_local"),
    [
        ("localhost", True),
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("localhost.example", False),
        ("10.0.0.1", False),
        ("0.0.0.0", False),
        ("", False),
    ],
)
def test_is_loopback_believes_only_names_that_can_be_nothing_else(host, is_local):
    assert environment.is_loopback(host) is is_local


def test_botocore_tells_no_more_than_its_warnings():
    environment.new_session(parse_url("sqs://eu-west-1"))

    assert not logging.getLogger("botocore.credentials").isEnabledFor(logging.INFO)
