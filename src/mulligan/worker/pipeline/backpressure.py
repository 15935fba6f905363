"""Keeps new attempts back while too many ends wait for their record: what a crash would have done again."""

from collections.abc import Callable

__all__ = ["Backpressure"]


def _nobody() -> None:
    """Nobody waits yet."""


class Backpressure:
    """Counts ends that are not recorded yet. most: how many may wait before attempts do; 0: any number."""

    def __init__(self, most: int = 0) -> None:
        self._most = most
        self._unrecorded = 0
        self._eased: Callable[[], None] = _nobody

    def on_ease(self, eased: Callable[[], None]) -> None:
        """eased: called each time when attempts may begin again."""
        self._eased = eased

    @property
    def is_on(self) -> bool:
        """No attempt may begin. It ends without help: what is not recorded is on its way."""
        return 0 < self._most <= self._unrecorded

    def ended(self, count: int) -> None:
        """So many ends are to be recorded."""
        self._unrecorded += count

    def recorded(self, count: int) -> None:
        """So many of them are, or their claim was lost, and nobody records them any more."""
        was_on = self.is_on
        self._unrecorded -= count
        if was_on and not self.is_on:
            self._eased()
