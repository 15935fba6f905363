"""How channels and connections end. What to do about it is said by the caller, who knows its settings."""

import ssl

__all__ = ["ChannelClosed", "ConnectionLost", "TlsFailed"]


class ChannelClosed(Exception):
    """A channel or a connection was closed. code: AMQP's reply code; 0 when this side closed it."""

    def __init__(self, code: int, text: str) -> None:
        self.code = code
        self.text = text
        super().__init__(f"{code} {text}" if code else text)


class ConnectionLost(ChannelClosed):
    """The connection is gone. code: as of `ChannelClosed`; 0 when the server gave no reason."""


class TlsFailed(ConnectionLost):
    """No TLS with the server. error: as the ssl module raised it."""

    def __init__(self, error: ssl.SSLError) -> None:
        self.error = error
        super().__init__(0, f"TLS with it failed ({error})")
