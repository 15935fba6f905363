"""How a call to a service can fail, as the rule in `once` needs it: did the service do anything, or may it have?

Each service makes these of its replies; the client makes them of its exceptions. None of them leaves the package:
`once` turns them into Retry and GiveUp.
"""

__all__ = ["Ambiguous", "Fault", "NotSent", "RateLimited", "Refused"]


class Fault(Exception):
    """A call failed. reason: for the log and the dead letter; no secrets. after_s: what the service asks to wait."""

    def __init__(self, reason: str, after_s: float | None = None) -> None:
        self.reason = reason
        self.after_s = after_s
        super().__init__(reason)


class NotSent(Fault):
    """The request did not reach the service: nothing was done. It may be repeated freely."""


class RateLimited(Fault):
    """The service did nothing because too much was asked of it: the same again, after a wait."""


class Refused(Fault):
    """The service did nothing, and won't: the request, the settings or the rights are wrong."""


class Ambiguous(Fault):
    """The request was sent and no clear answer came: it may have been done."""
