"""The run of kills on RabbitMQ, while its server is killed too, closes connections, and runs out of memory."""

import threading
import time

import pytest

from tests.acceptance.harness import fate, killing
from tests.proof.size import IS_FULL
from tests.support import rabbitmq as rabbit

MESSAGES = 10_000 if IS_FULL else 5_000
WORKER_KILLS = 30
SERVER_KILLS = 2 if IS_FULL else 1
CLOSES = 10 if IS_FULL else 4
ALARM_S = 3.0


class Breaker(threading.Thread):
    """Breaks the server at shares of the work. Lives until `over`: the server dies with the thread that started it."""

    def __init__(self, app, server: rabbit.RabbitServer) -> None:
        super().__init__(daemon=True)
        self.log = app.folder / "effects.log"
        self.server = server
        self.over = threading.Event()
        self.done: list[str] = []
        self.error: BaseException | None = None

    def run(self) -> None:
        what = ["close"] * CLOSES
        for number in range(SERVER_KILLS):
            what.insert((number + 1) * len(what) // (SERVER_KILLS + 1), "kill")
        what.insert(len(what) // 2 + 1, "alarm")
        try:
            for number, kind in enumerate(what):
                if not self._is_reached(0.85 * (number + 1) / len(what)):
                    return
                getattr(self, f"_{kind}")()
                self.done.append(kind)
        except BaseException as exc:
            self.error = exc
        self.over.wait()

    def _is_reached(self, share: float) -> bool:
        """False when the test is over before."""
        wanted = share * MESSAGES * len(fate.TASKS) * 2 * 65
        while not self.log.exists() or self.log.stat().st_size < wanted:
            if self.over.wait(0.05):
                return False
        return True

    def _close(self) -> None:
        self.server.ctl("close_all_connections", "a fault of the test")

    def _kill(self) -> None:
        self.server.kill()
        time.sleep(1.0)
        self.server.start()

    def _alarm(self) -> None:
        self.server.ctl("set_vm_memory_high_watermark", "absolute", "1MB")
        time.sleep(ALARM_S)
        self.server.ctl("set_vm_memory_high_watermark", "0.4")


@pytest.mark.figure
def test_nothing_is_lost_or_run_again_after_its_record_under_kills_of_workers_and_of_the_server(app, until):
    with rabbit.running() as server:
        killing.lay_out(app, BROKER_URL=server.url("%2F"), LEASE_S=10)
        breaker = Breaker(app, server)
        try:
            run = killing.carry_out(
                app, until, messages=MESSAGES, worker_kills=WORKER_KILLS, supervisor_kills=1,
                sent=breaker.start,
            )  # fmt: skip
            print(f"the server: {breaker.done}")
            killing.check(run, "rabbitmq")
            left = app.left()
        finally:
            breaker.over.set()

    assert breaker.error is None
    assert sorted(breaker.done) == sorted(["alarm"] + ["close"] * CLOSES + ["kill"] * SERVER_KILLS)
    assert left == {"requests": 0, "rejects": 0}
