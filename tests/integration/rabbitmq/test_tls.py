"""amqps:// with certificates of our own, on a server that wants to see one from its clients, too."""

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from mulligan.core.delivery import Outgoing
from mulligan.core.error import BrokerRefused, BrokerUnavailable
from tests import rabbitmq as rabbit

ERRORS = (BrokerRefused, BrokerUnavailable)


class Certificates:
    """A CA, and keys with certificates by it, as PEM files in a folder."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder
        self.name = name
        self._openssl(
            "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
            "-subj", f"/CN={name}", "-keyout", self._path("ca.key"), "-out", self.ca,
        )  # fmt: skip

    @property
    def ca(self) -> str:
        return self._path("ca.pem")

    def issue(self, name: str, alternative: str) -> tuple[str, str]:
        """Certificate and key for a host (`IP:127.0.0.1`) or a client."""
        key, request, certificate = (self._path(f"{name}.{ending}") for ending in ("key", "csr", "pem"))
        extension = self.folder / f"{name}.cnf"
        extension.write_text(f"subjectAltName={alternative}\n")
        self._openssl(
            "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
            "-subj", f"/CN={name}", "-keyout", key, "-out", request,
        )  # fmt: skip
        self._openssl(
            "x509", "-req", "-in", request, "-CA", self.ca, "-CAkey", self._path("ca.key"), "-CAcreateserial",
            "-days", "2", "-extfile", str(extension), "-out", certificate,
        )  # fmt: skip
        return certificate, key

    def _path(self, name: str) -> str:
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
        )
        made.start()
        yield made
    finally:
        made.stop()
        shutil.rmtree(folder, ignore_errors=True)


def url_of(server, *parameters: str, host: str = "127.0.0.1") -> str:
    return f"amqps://guest:guest@{host}:{server.tls_port}/%2F?{'&'.join(parameters)}"


async def test_messages_go_over_tls_with_a_ca_and_a_client_certificate_of_our_own(
    make, server, certificates, client, queues
):
    broker = make(url_of(server, f"cafile={certificates.ca}", f"certfile={client[0]}", f"keyfile={client[1]}"))

    await broker.declare(queues, create=True)

    assert await broker.send(queues.requests, [Outgoing(b"1", {})]) == [None]
    (one,) = await broker.receive(queues.requests, 1, wait_s=5.0, lease_s=30.0)
    assert one.body == b"1"


async def test_server_of_another_ca_is_refused(make, server, client, queues, tmp_path):
    other = Certificates(tmp_path, "other")
    broker = make(url_of(server, f"cafile={other.ca}", f"certfile={client[0]}", f"keyfile={client[1]}"))

    with pytest.raises(ERRORS, match="its certificate is not trusted"):
        await broker.declare(queues, create=True)


async def test_server_under_a_name_that_its_certificate_has_not_is_refused(make, server, certificates, client, queues):
    broker = make(
        url_of(server, f"cafile={certificates.ca}", f"certfile={client[0]}", f"keyfile={client[1]}", host="localhost")
    )

    with pytest.raises(ERRORS, match=r"localhost"):
        await broker.declare(queues, create=True)


async def test_missing_client_certificate_is_told(make, server, certificates, queues):
    broker = make(url_of(server, f"cafile={certificates.ca}"))

    with pytest.raises(ERRORS) as caught:
        await broker.declare(queues, create=True)

    assert f"127.0.0.1:{server.tls_port}" in str(caught.value)
    assert "guest:guest" not in str(caught.value)
