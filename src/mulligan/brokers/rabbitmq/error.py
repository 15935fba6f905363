"""Errors of the AMQP client as errors of the seam, with what to do. The only place that translates them."""

import ssl

from mulligan.brokers.rabbitmq.amqp.error import ChannelClosed, ConnectionLost, TlsFailed
from mulligan.core.error import BrokerError, BrokerRefused, BrokerUnavailable

__all__ = ["broker_error", "tls_text"]

# reply codes of AMQP and RabbitMQ that a repeated call gets again
_PERMANENT = {403, 404, 405, 406, 501, 502, 503, 504, 505, 530, 540}


def broker_error(where: str, error: ChannelClosed, *, is_making: bool = False) -> BrokerError:
    """The error of the seam, with what to do about it. is_making: queues were being made."""
    text = f"RabbitMQ, {where}: {tls_text(error.error) if isinstance(error, TlsFailed) else error}"
    if error.code == 406 and "timed out" in error.text:
        # a task took longer than the server waits for an acknowledgement; all messages of the channel are redelivered
        return BrokerUnavailable(f"{text}. Raise consumer_timeout in rabbitmq.conf to twice the longest task's time.")
    if error.code in _PERMANENT:
        return BrokerRefused(f"{text.rstrip('.')}.{_advice(error, is_making=is_making)}")
    return BrokerUnavailable(text)


# OpenSSL's codes of a failed verification (X509_V_ERR_...)
_NOT_VALID_NOW = {9, 10}
_OTHER_HOST = {62, 64}
_UNTRUSTED = {2, 18, 19, 20, 21}


def tls_text(exc: ssl.SSLError) -> str:
    """Why there is no TLS with the server, and what to do about it."""
    if isinstance(exc, ssl.SSLCertVerificationError):
        reason = exc.verify_message
        if exc.verify_code in _NOT_VALID_NOW:
            return f"its certificate is not currently valid ({reason}): renew it, or set the clock of this machine"
        if exc.verify_code in _OTHER_HOST:
            return f"its certificate is another host's ({reason}): name the host in BROKER_URL as the certificate does"
        if exc.verify_code in _UNTRUSTED:
            return f"its certificate is not trusted ({reason}): name its CA by ?cafile= in BROKER_URL"
        return (
            f"its certificate, or its CA's, is malformed ({reason}): issue it again; Python 3.13 and later are stricter"
            " about certificates"
        )
    reason = exc.reason or str(exc)
    if "WRONG_VERSION" in reason or "RECORD_LAYER" in reason:
        return f"it does not speak TLS on this port ({reason}): correct the port, usually 5671, or write amqp://"
    if "ALERT" in reason and ("CERTIFICATE" in reason or "UNKNOWN_CA" in reason):
        return (
            f"it requires a client certificate that it trusts ({reason}): name one by ?certfile= and ?keyfile= in "
            "BROKER_URL"
        )
    return f"TLS with it failed ({exc})"


def _advice(error: ChannelClosed, *, is_making: bool) -> str:
    match error.code:
        case 404:
            return " `mulligan setup` makes it, with a user that may configure."
        case 403 if is_making and not isinstance(error, ConnectionLost):
            return (
                " Creating queues needs the right to configure: run `mulligan setup` as a user that has it, and set "
                "CREATE_QUEUES=false for this one; docs/rabbitmq.md has the rights of each."
            )
        case 403 if not isinstance(error, ConnectionLost):
            right = "write to it" if "exchange" in error.text else "read it (or configure it, to create it)"
            return f" Let the user {right}: rabbitmqctl set_permissions; docs/rabbitmq.md has the line."
        case 403 if "EXTERNAL" in error.text:
            return " No user there has the certificate's name: add one, or write user and password into BROKER_URL."
        case 403:
            return " Correct user or password in BROKER_URL."
        case 530:
            return " Correct the virtual host in BROKER_URL, or the user's rights on it."
        case _:
            return ""
