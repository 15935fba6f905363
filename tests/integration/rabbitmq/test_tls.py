"""amqps:// with certificates of our own, on a server that wants to see one from its clients, too."""

import asyncio
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import uvloop

from mulligan.brokers.rabbitmq.broker import RabbitBroker
from mulligan.clock import SystemClock
from mulligan.core.delivery import Outgoing
from mulligan.core.error import BrokerRefused, BrokerUnavailable
from tests.support import rabbitmq as rabbit

AUTHORITY = """
[ca]
default_ca = ours
[ours]
database = {folder}/index
new_certs_dir = {folder}
rand_serial = yes
unique_subject = no
default_md = sha256
policy = any
[any]
commonName = supplied
[extensions]
subjectAltName = {alternative}
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
"""


class Certificates:
    """A CA, and keys with certificates by it, as PEM files in a folder."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder
        self.name = name
        self._openssl(
            "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
            "-addext", "keyUsage=critical,keyCertSign,cRLSign",
            "-subj", f"/CN={name}", "-keyout", self.path("ca.key"), "-out", self.ca,
        )  # fmt: skip
        (folder / "index").touch()

    @property
    def ca(self) -> str:
        return self.path("ca.pem")

    def issue(self, name: str, alternative: str, days: int = 2) -> tuple[str, str]:
        """Certificate and key for a host (`IP:127.0.0.1`) or a client. days: less than 0 for one that has expired."""
        key, request, certificate = (self.path(f"{name}.{ending}") for ending in ("key", "csr", "pem"))
        authority = self.folder / f"{name}.cnf"
        authority.write_text(AUTHORITY.format(folder=self.folder, alternative=alternative))
        end = datetime.now(UTC) + timedelta(days=days)
        self._openssl(
            "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
            "-subj", f"/CN={name}", "-keyout", key, "-out", request,
        )  # fmt: skip
        self._openssl(
            "ca", "-batch", "-notext", "-config", str(authority), "-extensions", "extensions", "-in", request,
            "-cert", self.ca, "-keyfile", self.path("ca.key"), "-out", certificate,
            "-startdate", f"{end - timedelta(days=5):%Y%m%d%H%M%SZ}", "-enddate", f"{end:%Y%m%d%H%M%SZ}",
        )  # fmt: skip
        return certificate, key

    def path(self, name: str) -> str:
        """Of one of the files."""
        return str(self.folder / f"{self.name}-{name}")

    def _openssl(self, *arguments: str) -> None:
        subprocess.run(["openssl", *arguments], check=True, capture_output=True, timeout=60)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory) -> Certificates:
    if shutil.which("openssl") is None:
        pytest.skip("there is no openssl. Install it: apt-get install openssl")
    return Certificates(tmp_path_factory.mktemp("tls"), "ours")


@pytest.fixture(scope="module")
def client(certificates) -> tuple[str, str]:
    return certificates.issue("client", "DNS:client")


@pytest.fixture(scope="module")
def server(certificates) -> Iterator[rabbit.RabbitServer]:
    """A server that knows its clients by their certificates."""
    rabbit.need_rabbitmq()
    folder = Path(tempfile.mkdtemp(prefix="mulligan-rmq-"))
    made = rabbit.RabbitServer(folder)
    certificate, key = certificates.issue("server", "IP:127.0.0.1")
    try:
        made.configure(
            f"listeners.ssl.default = 127.0.0.1:{made.tls_port}",
            f"ssl_options.cacertfile = {certificates.ca}",
            f"ssl_options.certfile = {certificate}",
            f"ssl_options.keyfile = {key}",
            "ssl_options.verify = verify_peer",
            "ssl_options.fail_if_no_peer_cert = true",
            "ssl_cert_login_from = common_name",
            "auth_mechanisms.1 = EXTERNAL",
            "auth_mechanisms.2 = PLAIN",
        )
        made.enable("rabbitmq_auth_mechanism_ssl")
        made.start()
        yield made
    finally:
        made.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def url_of(server, certificates, client):
    """The URL with our CA and our client certificate, and what a test wants otherwise; None leaves a part out."""

    def build(*, user="guest:guest@", host="127.0.0.1", **files):
        given = {"cafile": certificates.ca, "certfile": client[0], "keyfile": client[1]} | files
        query = "&".join(f"{name}={path}" for name, path in given.items() if path is not None)
        return f"amqps://{user}{host}:{server.tls_port}/%2F?{query}"

    return build


@pytest.fixture
def presented(server, certificates):
    """Has the server show another certificate to those who connect from now on."""
    place, key_place = Path(certificates.path("server.pem")), Path(certificates.path("server.key"))
    before = place.read_bytes(), key_place.read_bytes()

    def present(certificate: bytes, key: bytes) -> None:
        place.write_bytes(certificate)
        key_place.write_bytes(key)
        server.ctl("eval", "ssl:clear_pem_cache().")

    yield present
    present(*before)


async def test_messages_go_over_tls_with_a_ca_and_a_client_certificate_of_our_own(make, url_of, queues):
    broker = make(url_of())

    await broker.declare(queues, create=True)

    assert await broker.send(queues.requests, [Outgoing(b"1", {})]) == [None]
    (one,) = await broker.receive(queues.requests, 1, wait_s=5.0, lease_s=30.0)
    assert one.body == b"1"


def test_messages_go_over_tls_in_the_event_loop_of_the_workers(url_of, queues):
    async def carry() -> list[bytes]:
        broker = RabbitBroker(url_of(), clock=SystemClock(), emit=lambda _: None)
        await broker.declare(queues, create=True)
        await broker.purge(queues.requests)
        await broker.send(queues.requests, [Outgoing(b"x" * 300_000, {})])
        found = await broker.receive(queues.requests, 1, wait_s=5.0, lease_s=30.0)
        await broker.ack(queues.requests, [one.receipt for one in found])
        await broker.close()
        return [one.body for one in found]

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        found = runner.run(carry())

    assert found == [b"x" * 300_000]


async def test_client_certificate_says_who_we_are_where_the_url_has_no_user(make, server, url_of, queues):
    broker = make(url_of(user=""))
    with pytest.raises(BrokerRefused, match="No user there has the certificate's name"):
        await broker.declare(queues, create=True)
    server.ctl("add_user", "client", "a password that nobody is told")
    with pytest.raises(BrokerRefused, match="access to vhost"):  # so it is the user of the certificate's name
        await broker.declare(queues, create=True)
    server.ctl("set_permissions", "client", ".*", ".*", ".*")

    await broker.declare(queues, create=True)

    assert "client" in server.ctl("list_connections", "user")


async def test_server_of_another_ca_is_refused(make, url_of, queues, tmp_path):
    broker = make(url_of(cafile=Certificates(tmp_path, "other").ca))

    with pytest.raises(BrokerUnavailable, match=r"its certificate is not trusted .*cafile"):
        await broker.declare(queues, create=True)


async def test_server_under_a_name_that_its_certificate_has_not_is_refused(make, url_of, queues):
    broker = make(url_of(host="localhost"))

    with pytest.raises(BrokerUnavailable, match=r"localhost.* its certificate is another host's"):
        await broker.declare(queues, create=True)


async def test_server_whose_certificate_has_expired_is_refused(make, url_of, queues, certificates, presented):
    certificate, key = certificates.issue("expired", "IP:127.0.0.1", days=-1)
    presented(Path(certificate).read_bytes(), Path(key).read_bytes())
    broker = make(url_of())

    with pytest.raises(BrokerUnavailable, match=r"not currently valid \(certificate has expired\): renew it"):
        await broker.declare(queues, create=True)


async def test_missing_client_certificate_is_told_with_how_to_name_one(make, server, url_of, queues):
    broker = make(url_of(certfile=None, keyfile=None))

    with pytest.raises(BrokerUnavailable, match="certfile") as caught:
        await broker.declare(queues, create=True)

    assert f"127.0.0.1:{server.tls_port}" in str(caught.value)
    assert "guest:guest" not in str(caught.value)


async def test_client_certificate_of_another_ca_is_told(make, url_of, queues, tmp_path):
    certificate, key = Certificates(tmp_path, "other").issue("client", "DNS:client")
    broker = make(url_of(certfile=certificate, keyfile=key))

    with pytest.raises(BrokerUnavailable, match="it requires a client certificate that it trusts"):
        await broker.declare(queues, create=True)


async def test_scheme_that_does_not_fit_the_port_is_told(make, server, certificates, queues):
    with pytest.raises(BrokerUnavailable, match="not speak TLS on this port"):
        await make(f"amqps://127.0.0.1:{server.port}/?cafile={certificates.ca}").declare(queues, create=True)
    with pytest.raises(BrokerUnavailable, match="needs amqps://"):
        await make(f"amqp://127.0.0.1:{server.tls_port}/").declare(queues, create=True)
