"""Where a server is and how to log in. Opens nothing."""

from mulligan.core.value import value

__all__ = ["ConnectionParameters"]


@value
class ConnectionParameters:
    """Host, virtual host, login and TLS files of one server.

    heartbeat_s: a server that is silent for 5/8 of it is dead; 0 for no heartbeats.
    cafile, certfile, keyfile: paths of PEM files; None for the defaults.
    has_user: user and password were given. Without them, a client certificate logs in if the server takes it.
    """

    host: str
    port: int
    user: str
    password: str
    vhost: str
    is_tls: bool
    heartbeat_s: int
    cafile: str | None = None
    certfile: str | None = None
    keyfile: str | None = None
    has_user: bool = True

    def __repr__(self) -> str:
        return f"ConnectionParameters({self.where!r}, user={self.user!r}, password=<hidden>)"

    @property
    def where(self) -> str:
        """Host, port and virtual host for messages to people; no user and no password."""
        return f"{self.host}:{self.port}/{'' if self.vhost == '/' else self.vhost}"
