import time

import pytest


class ShiftedClock:
    """Real time that a test can push forward, so that both a short wait and a long lease can be tested."""

    def __init__(self) -> None:
        self.shift_s = 0.0

    def now(self) -> float:
        return time.time() + self.shift_s

    def monotonic(self) -> float:
        return time.monotonic() + self.shift_s


@pytest.fixture
def clock():
    return ShiftedClock()
