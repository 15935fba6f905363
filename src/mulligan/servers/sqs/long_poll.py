"""Long polls: receives that found nothing wait here until there may be a message, or their wait time is over.

A queue's waiting receives are served in order of arrival, one after the other, until one finds nothing. They look again
when another request has changed the queue, and when the queue's next hidden message becomes visible. Move tasks are
continued here as well, while any is running.
"""

import asyncio
from collections.abc import Awaitable
from dataclasses import replace

from mulligan.brokers.base import Clock
from mulligan.servers.sqs.actions.context import Call
from mulligan.servers.sqs.dispatch import Answer, Backend, Request, Wait

__all__ = ["LongPolls"]

_NOTHING = Answer({})
_MOVE_EVERY_S = 0.1


class LongPolls:
    """Runs requests on a backend, and keeps receives waiting that found nothing."""

    def __init__(self, backend: Backend, clock: Clock, loop: asyncio.AbstractEventLoop) -> None:
        self._backend = backend
        self._clock = clock
        self._loop = loop
        self._waiters: dict[str, dict[_Waiter, None]] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._serving: dict[str, asyncio.Task[None]] = {}
        self._again: set[str] = set()
        self._moving: asyncio.Task[None] | None = None
        self._is_closed = False

    def run(self, request: Request, call: Call) -> Answer | Awaitable[Answer]:
        """The answer, immediately if it needs no waiting. Raises what the backend raises."""
        answer = self._backend.run(request, call)
        if not isinstance(answer, Answer):
            return self._run_later(answer, request, call)
        self._wake_all(answer.woken)
        if request.action == "StartMessageMoveTask":
            self.move()
        return answer if answer.wait is None else self._wait(answer.wait, request, call)

    async def _run_later(self, pending: Awaitable[Answer], request: Request, call: Call) -> Answer:
        answer = await pending
        self._wake_all(answer.woken)
        if request.action == "StartMessageMoveTask":
            self.move()
        if answer.wait is None:
            return answer
        waiting = self._wait(answer.wait, request, call)
        return waiting if isinstance(waiting, Answer) else await waiting

    def _wait(self, wait: Wait, request: Request, call: Call) -> Answer | Awaitable[Answer]:
        """Wait from now on, not from when this is awaited: a message that comes in between would wake nobody."""
        if self._is_closed:
            return _NOTHING
        waiter = _Waiter(request, call, self._loop.create_future())
        waiters = self._waiters.setdefault(wait.queue, {})
        waiters[waiter] = None
        if len(waiters) == 1:
            self._backend.watch(wait.queue, is_waiting=True)
        self._arm(wait.queue, wait.next_due)
        timer = self._loop.call_later(wait.for_s, waiter.resolve, _NOTHING)
        waiter.future.add_done_callback(lambda _: self._leave(wait.queue, waiter, timer))
        return waiter.future

    def _leave(self, queue: str, waiter: "_Waiter", timer: asyncio.TimerHandle) -> None:
        timer.cancel()
        waiters = self._waiters.get(queue)
        if waiters is None:
            return
        waiters.pop(waiter, None)
        if not waiters:
            del self._waiters[queue]
            self._backend.watch(queue, is_waiting=False)
            if at_next := self._timers.pop(queue, None):
                at_next.cancel()

    def wake(self, queue: str) -> None:
        """Make the receives that wait for a queue look again."""
        if queue not in self._waiters:
            return
        if queue in self._serving:
            self._again.add(queue)
            return
        self._serving[queue] = self._loop.create_task(self._serve(queue))

    def look_again(self) -> None:
        """Make all waiting receives look again: for tests whose clock jumps."""
        for queue in list(self._waiters):
            self.wake(queue)

    def _wake_all(self, queues: tuple[str, ...]) -> None:
        if self._waiters:
            for queue in queues:
                self.wake(queue)

    async def _serve(self, queue: str) -> None:
        try:
            while True:
                self._again.discard(queue)
                await self._serve_once(queue)
                if queue not in self._again:
                    return
        finally:
            self._serving.pop(queue, None)
            self._again.discard(queue)

    async def _serve_once(self, queue: str) -> None:
        for waiter in list(self._waiters.get(queue, ())):
            if waiter.future.done():
                continue
            pending = self._backend.run(waiter.request, replace(waiter.call, now=self._clock.now()))
            try:
                answer = pending if isinstance(pending, Answer) else await pending
            except Exception as exc:  # noqa: BLE001 - the waiting request must get it, whatever it is
                waiter.fail(exc)
                continue
            if answer.wait is not None:
                self._arm(queue, answer.wait.next_due)
                return
            if not waiter.resolve(answer) and answer.data:
                continue  # its client left meanwhile: the messages come back when their lease ends, as on the service
            self._wake_all(tuple(name for name in answer.woken if name != queue))

    def _arm(self, queue: str, next_due: float | None) -> None:
        if timer := self._timers.pop(queue, None):
            timer.cancel()
        if next_due is not None:
            # 1 ms later, because two clocks never agree to the microsecond
            delay_s = max(0.0, next_due - self._clock.now()) + 0.001
            self._timers[queue] = self._loop.call_later(delay_s, self.wake, queue)

    def move(self) -> None:
        """Continue move tasks until none is running."""
        if self._moving is None and not self._is_closed:
            self._moving = self._loop.create_task(self._move())

    async def _move(self) -> None:
        try:
            while not self._is_closed:
                advanced = self._backend.advance(Call(self._clock.now(), "", "", "", ""))
                is_running, woken = advanced if isinstance(advanced, tuple) else await advanced
                self._wake_all(woken)
                if not is_running:
                    return
                await asyncio.sleep(_MOVE_EVERY_S)
        finally:
            self._moving = None

    def close(self) -> None:
        """Answer all waiting receives with no message, and stop move tasks."""
        self._is_closed = True
        for line in list(self._waiters.values()):
            for waiter in list(line):
                waiter.resolve(_NOTHING)
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        if self._moving is not None:
            self._moving.cancel()


class _Waiter:
    __slots__ = ("call", "future", "request")

    def __init__(self, request: Request, call: Call, future: "asyncio.Future[Answer]") -> None:
        self.request = request
        self.call = call
        self.future = future

    def resolve(self, answer: Answer) -> bool:
        if self.future.done():
            return False
        self.future.set_result(answer)
        return True

    def fail(self, exc: Exception) -> None:
        if not self.future.done():
            self.future.set_exception(exc)
