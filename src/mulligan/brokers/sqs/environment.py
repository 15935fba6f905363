"""Where the service is: region, endpoint, TLS and proxy, resolved as every AWS tool resolves them.

Uses botocore, which reads the environment and the profiles. Everything here blocks: run it in a thread. The keys are
found in `credentials`.
"""

import logging
import os
import re
import ssl
from difflib import get_close_matches
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl
from urllib.request import getproxies_environment, proxy_bypass

from mulligan.brokers.sqs.http import Endpoint, Proxy
from mulligan.core.error import ConfigurationError
from mulligan.core.secret import redacted, redacted_url
from mulligan.core.url import UrlFault, split_url
from mulligan.core.value import value

__all__ = ["Address", "EndpointConfig", "is_loopback", "new_session", "parse_url", "resolve"]

_ACCOUNT = re.compile(r"[0-9]{12}")


@value
class Address:
    """What a BROKER_URL says. region, endpoint, profile: None where it leaves that to the environment.

    account: of the queues, 12 digits; None for that of the keys. is_insecure: plain http is allowed to any host.
    """

    region: str | None
    endpoint: str | None = None
    profile: str | None = None
    account: str | None = None
    is_insecure: bool = False


@value
class EndpointConfig:
    """Where requests go. url: of the endpoint. partition: "aws", or that of China, GovCloud..."""

    region: str
    url: str
    endpoint: Endpoint
    tls: ssl.SSLContext | None = None
    proxy: Proxy | None = None
    partition: str = "aws"

    @property
    def is_readable(self) -> bool:
        """Plain http to another host: what is sent can be read on the way."""
        return not self.endpoint.is_tls and not is_loopback(self.endpoint.host)


def parse_url(url: str) -> Address:
    """`sqs://REGION`, `sqs://REGION?endpoint=http://127.0.0.1:9324&profile=NAME`, `sqs://` for the region that is set.

    Also `account=123456789012` and `insecure=true`, see `Address`. Raises ConfigurationError with every mistake.
    """
    shown = redacted_url(url)
    form = (
        "sqs://REGION or sqs://REGION?endpoint=URL. Queue names come from COMMON_PREFIX, credentials from the "
        "environment or a profile: leave both out."
    )
    try:
        parts = split_url(url)
    except UrlFault as exc:
        raise ConfigurationError([f"BROKER_URL: {shown!r} can't be read: {exc}. Expected {form}"]) from None
    known = ("endpoint", "profile", "account", "insecure")
    problems: list[str] = []
    given: dict[str, str] = {}
    for name, text in parse_qsl(parts.query, keep_blank_values=True):
        if name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            # a name that the redacted URL doesn't show may be part of a secret
            parameter = f" {name!r}" if f"{name}=" in shown else " that is not known"
            problems.append(f"BROKER_URL: {shown!r} has a parameter{parameter}; known are {', '.join(known)}.{hint}")
        given[name] = text
    if parts.scheme.lower() != "sqs" or parts.path.strip("/") or "@" in parts.netloc or ":" in parts.netloc:
        problems.append(f"BROKER_URL: {shown!r} is not {form}")
    account, insecure = given.get("account"), given.get("insecure", "false")
    if account is not None and not _ACCOUNT.fullmatch(account):
        problems.append(
            f"BROKER_URL: {shown!r}: account is {account[:40]!r}, expected the 12 digits of an AWS account."
        )
    if insecure not in ("true", "false"):
        problems.append(f"BROKER_URL: {shown!r}: insecure is {insecure[:40]!r}, expected true or false.")
    if "endpoint" in given:
        problems += _endpoint_problems(given["endpoint"], is_insecure=insecure == "true")
    if problems:
        raise ConfigurationError(problems)
    return Address(
        parts.netloc or None, given.get("endpoint"), given.get("profile") or None, account, insecure == "true"
    )


def resolve(address: Address) -> EndpointConfig:
    """The endpoint, with what the URL leaves open as botocore resolves it. Takes 0.3 s. Raises ConfigurationError."""
    session = new_session(address)
    try:
        region = address.region or session.get_config_variable("region")
        if not region:
            raise ConfigurationError(
                [
                    "BROKER_URL is 'sqs://', and no region is set. Write sqs://REGION, or set AWS_REGION, or a "
                    "profile's region."
                ]
            )
        # dummy keys: without any, botocore would search for some now, and perhaps wait for a metadata service
        keys = dict.fromkeys(("aws_access_key_id", "aws_secret_access_key"), "unused")
        client = session.create_client("sqs", region_name=region, endpoint_url=address.endpoint, **keys)
        url, partition = client.meta.endpoint_url, client.meta.partition
        bundle = session.get_config_variable("ca_bundle")
        client.close()
    except ConfigurationError:
        raise
    except Exception as exc:  # noqa: BLE001  botocore raises its own, OSError and ValueError for what the user wrote
        raise ConfigurationError([f"The AWS configuration can't be used: {redacted(str(exc))}"]) from None
    if problems := _endpoint_problems(url, is_insecure=address.is_insecure):
        raise ConfigurationError(problems)
    parts = split_url(url)
    is_tls = parts.scheme == "https"
    endpoint = Endpoint(parts.hostname or "", parts.port or (443 if is_tls else 80), is_tls)
    return EndpointConfig(region, url, endpoint, _tls(bundle) if is_tls else None, _proxy(endpoint), partition)


# -- inside -----------------------------------------------------------------------------------------------------------


def new_session(address: Address) -> Any:
    """A session of botocore, imported here because that takes 0.2 s."""
    from botocore.session import Session

    # at INFO each process would log the source of its keys
    logging.getLogger("botocore").setLevel(logging.WARNING)
    session = Session(profile=address.profile)
    if address.region is not None:  # so that keys come from the STS of this region
        session.set_config_variable("region", address.region)
    return session


def _endpoint_problems(url: str, *, is_insecure: bool) -> list[str]:
    try:
        parts = split_url(url)
    except UrlFault as exc:
        return [f"The SQS endpoint {redacted_url(url)!r} is not http(s)://HOST:PORT: {exc}."]
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/") or parts.username:
        return [f"The SQS endpoint {redacted_url(url)!r} is not http(s)://HOST:PORT. Correct it."]
    if parts.scheme == "http" and not is_loopback(parts.hostname) and not is_insecure:
        return [
            f"The SQS endpoint {redacted_url(url)!r} is plain http, and not on this machine: messages could be read "
            f"on the way. Use https, or a tunnel to 127.0.0.1. If you control the whole network between, say so: "
            f"insecure=true in BROKER_URL (sqs://REGION?endpoint=http://HOST:PORT&insecure=true)."
        ]
    return []


def is_loopback(host: str) -> bool:
    """Whether the host is this machine, judged by its name alone."""
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _tls(bundle: str | None) -> ssl.SSLContext:
    """Trusts the system's CAs, or those of AWS_CA_BUNDLE only. On a machine without any, botocore's."""
    if bundle:
        try:
            path = Path(os.path.expanduser(bundle))  # noqa: PTH111 - Path's raises for a user without a home
            return ssl.create_default_context(capath=str(path)) if path.is_dir() else _trusting(path)
        except OSError as exc:
            raise ConfigurationError(
                [f"AWS_CA_BUNDLE is {bundle!r}, which can't be read as certificates ({exc}). Name a file in PEM form."]
            ) from None
    context = ssl.create_default_context()
    paths = ssl.get_default_verify_paths()
    if not context.get_ca_certs() and not (paths.capath and any(Path(paths.capath).iterdir())):
        import botocore

        return _trusting(Path(botocore.__file__).with_name("cacert.pem"))
    return context


def _trusting(path: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(path))


def _proxy(endpoint: Endpoint) -> Proxy | None:
    """By HTTPS_PROXY, HTTP_PROXY and NO_PROXY. Never for this machine: a proxy's localhost is another one."""
    if is_loopback(endpoint.host):
        return None
    proxies = getproxies_environment()
    url = proxies.get("https" if endpoint.is_tls else "http") or proxies.get("all")
    if not url or proxy_bypass(f"{endpoint.host}:{endpoint.port}"):
        return None
    try:
        return Proxy.parse(url)
    except ValueError as exc:
        raise ConfigurationError(
            [f"HTTPS_PROXY names {exc}. Correct it, or add {endpoint.host} to NO_PROXY."]
        ) from None
