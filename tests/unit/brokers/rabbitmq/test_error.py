"""What a person is told of a certificate that is refused."""

import ssl

import pytest

from mulligan.brokers.rabbitmq.error import tls_words


def refusal(code, message):
    """As OpenSSL's verification gives it (X509_V_ERR_...)."""
    exc = ssl.SSLCertVerificationError(1, "certificate verify failed")
    exc.verify_code, exc.verify_message = code, message
    return exc


@pytest.mark.parametrize(
    ("code", "message", "told"),
    [
        (10, "certificate has expired", "is not valid now (certificate has expired): renew it"),
        (20, "unable to get local issuer certificate", "is not trusted (unable to get local issuer certificate): name"),
        (62, "hostname mismatch", "is another host's (hostname mismatch): name the host"),
        (
            92,
            "CA cert does not include key usage extension",
            "is not as it should be (CA cert does not include key usage extension): have it made anew; Python 3.13",
        ),
    ],
)
def test_refused_certificate_is_told_with_what_mends_it(code, message, told):
    assert told in tls_words(refusal(code, message))
