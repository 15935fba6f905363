"""TLS to the server: verified, by an authority that the URL names."""

import os
import shutil
from pathlib import Path

import pytest

from mulligan.core.error import ConfigurationError
from tests.support.postgres import running

CERTIFICATES = Path(__file__).resolve().parents[2] / "unit" / "brokers" / "sqs" / "certificates"
AUTHORITY = CERTIFICATES / "authority.pem"


@pytest.fixture(scope="module")
def encrypted():
    """A server that offers TLS, with a certificate for localhost."""
    with running() as server:
        server.stop()
        pem = server.folder / "server.pem"
        shutil.copy(CERTIFICATES / "server.pem", pem)
        pem.chmod(0o600)
        if os.geteuid() == 0:
            shutil.chown(pem, "postgres", "postgres")
        server.start("ssl=on", f"ssl_cert_file={pem}", f"ssl_key_file={pem}")
        yield server


async def test_certificate_is_verified_by_the_authority_that_the_url_names(encrypted, connect):
    url = encrypted.url_of(encrypted.new_schema(), "sslmode=verify-full", f"sslrootcert={AUTHORITY}")

    ledger = await connect(url)

    state = await ledger._changing.run(
        lambda connection: connection.fetchval("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
    )
    assert state is True


async def test_certificate_of_an_unknown_authority_is_refused(encrypted, connect):
    with pytest.raises(ConfigurationError, match="certificate can't be verified"):
        await connect(encrypted.url_of(encrypted.new_schema(), "sslmode=verify-full"))
