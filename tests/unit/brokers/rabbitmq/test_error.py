"""What an error text says about a certificate that is refused, and about TLS that fails."""

import ssl

import pytest

from mulligan.brokers.rabbitmq.amqp.error import TlsFailed
from mulligan.brokers.rabbitmq.error import broker_error, tls_text


def refusal(code, message):
    """As OpenSSL's verification gives it (X509_V_ERR_...)."""
    exc = ssl.SSLCertVerificationError(1, "certificate verify failed")
    exc.verify_code, exc.verify_message = code, message
    return exc


@pytest.mark.parametrize(
    ("code", "message", "expected"),
    [
        (10, "certificate has expired", "is not currently valid (certificate has expired): renew it"),
        (20, "unable to get local issuer certificate", "is not trusted (unable to get local issuer certificate): name"),
        (62, "hostname mismatch", "is another host's (hostname mismatch): name the host"),
        (
            92,
            "CA cert does not include key usage extension",
            "is malformed (CA cert does not include key usage extension): issue it again; Python 3.13",
        ),
    ],
)
def test_tls_text_says_what_to_do_about_a_refused_certificate(code, message, expected):
    assert expected in tls_text(refusal(code, message))


def test_broker_error_says_what_to_do_about_tls_that_failed():
    error = broker_error("host:5671/", TlsFailed(refusal(10, "certificate has expired")))

    assert str(error) == (
        "RabbitMQ, host:5671/: its certificate is not currently valid (certificate has expired): "
        "renew it, or set the clock of this machine"
    )
