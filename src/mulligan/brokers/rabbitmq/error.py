"""What the server or the network says, as the errors of the seam. The only place where one becomes the other."""

import ssl

from mulligan.core.error import BrokerError, BrokerRefused, BrokerUnavailable

__all__ = ["ChannelClosed", "ConnectionLost", "broker_error", "tls_words"]

# of AMQP and RabbitMQ: what a repeated call could not change
_FOR_GOOD = {403, 404, 405, 406, 501, 502, 503, 504, 505, 530, 540}


class ChannelClosed(Exception):
    """The server closed a channel, or a connection, and said why. code: of AMQP; 0 when we closed it."""

    def __init__(self, code: int, text: str) -> None:
        self.code = code
        self.text = text
        super().__init__(f"{code} {text}" if code else text)


class ConnectionLost(ChannelClosed):
    """The connection is gone, without a word or with one."""


def broker_error(where: str, error: ChannelClosed, *, is_making: bool = False) -> BrokerError:
    """The error of the seam, with what to do about it. is_making: queues were being made."""
    text = f"RabbitMQ, {where}: {error}"
    if error.code == 406 and "timed out" in error.text:
        # a task took longer than the server waits for an acknowledgement; all that the channel held comes back
        return BrokerUnavailable(f"{text}. Raise consumer_timeout in rabbitmq.conf to twice the longest task's time.")
    if error.code in _FOR_GOOD:
        return BrokerRefused(f"{text.rstrip('.')}.{_advice(error, is_making=is_making)}")
    return BrokerUnavailable(text)


# of OpenSSL's verification (X509_V_ERR_...)
_NOT_NOW = {9, 10}
_OTHER_NAME = {62, 64}
_NO_AUTHORITY = {2, 18, 19, 20, 21}


def tls_words(exc: ssl.SSLError) -> str:
    """Why there is no TLS with the server, and what to do about it."""
    if isinstance(exc, ssl.SSLCertVerificationError):
        told = exc.verify_message
        if exc.verify_code in _NOT_NOW:
            return f"its certificate is not valid now ({told}): renew it, or set the clock of this machine"
        if exc.verify_code in _OTHER_NAME:
            return f"its certificate is another host's ({told}): name the host in BROKER_URL as the certificate does"
        if exc.verify_code in _NO_AUTHORITY:
            return f"its certificate is not trusted ({told}): name its CA by ?cafile= in BROKER_URL"
        return (
            f"its certificate, or its CA's, is not as it should be ({told}): have it made anew; Python 3.13 and later"
            " ask more of certificates than the versions before"
        )
    reason = exc.reason or str(exc)
    if "WRONG_VERSION" in reason or "RECORD_LAYER" in reason:
        return f"it speaks no TLS on this port ({reason}): correct the port, 5671 as a rule, or write amqp://"
    if "ALERT" in reason and ("CERTIFICATE" in reason or "UNKNOWN_CA" in reason):
        return f"it wants a certificate that it trusts ({reason}): name one by ?certfile= and ?keyfile= in BROKER_URL"
    return f"there is no TLS with it ({exc})"


def _advice(error: ChannelClosed, *, is_making: bool) -> str:
    match error.code:
        case 404:
            return " `mulligan setup` makes it, with a user that may configure."
        case 403 if is_making and not isinstance(error, ConnectionLost):
            return (
                " Making queues takes the right to configure: run `mulligan setup` as a user that has it, and set "
                "CREATE_QUEUES=false for this one; docs/rabbitmq.md has the rights of each."
            )
        case 403 if not isinstance(error, ConnectionLost):
            right = "write to it" if "exchange" in error.text else "read it (or configure it, to create it)"
            return f" Let the user {right}: rabbitmqctl set_permissions; docs/rabbitmq.md has the line."
        case 403 if "EXTERNAL" in error.text:
            return " The certificate's name is no user there: add one, or write user and password into BROKER_URL."
        case 403:
            return " Correct user or password in BROKER_URL."
        case 530:
            return " Correct the virtual host in BROKER_URL, or the user's rights on it."
        case _:
            return ""
