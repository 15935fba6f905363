"""User code, as a type checker must understand it. Checked by mypy --strict; it is not run."""

from typing import assert_type

from pydantic import BaseModel

from mulligan import Backoff, Failure, GiveUp, Message, Retry, Skip, Task, TaskContext


class Order(BaseModel):
    id: int


class Plain(Task):
    async def run(self, data: str) -> None:
        assert_type(data, str)


class OldStyle(Task):
    @classmethod
    def run(cls, data: str) -> bool:
        return bool(data)


class Static(Task):
    @staticmethod
    def run(data: bytes) -> None: ...


class Typed(Task):
    max_attempts = 5
    backoff = 2.5
    timeout_s = 30
    give_up_on = (KeyError, ValueError)

    async def run(self, order: Order, context: TaskContext) -> None:
        assert_type(order.id, int)
        assert_type(context.attempt, int)
        assert_type(context.idempotency_key, str)
        assert_type(context.message, Message)
        context.log.info("done", order=order.id)


class WithBackoff(Task):
    backoff = Backoff(first_s=1.0, factor=3.0, max_s=60.0)

    def accepts(self, message: Message) -> bool:
        return message.text.startswith("{")

    def check(self) -> list[str]:
        return []

    def run(self, message: Message) -> None:
        raise Skip("not mine")


class WithBackoffFunction(Task):
    def backoff(self, attempts: int) -> float:
        return attempts * 2.0

    def run(self, data: str) -> None:
        if not data:
            raise GiveUp("nothing in it")
        raise Retry(after_s=30, reason="busy")


class WithBackoffLambda(Task):
    backoff = staticmethod(lambda attempts: attempts * 2.0)

    @classmethod
    def check(cls) -> list[str]:
        return []

    def run(self, data: str) -> None: ...


class ChecksAsClassmethod(Task):
    def __init__(self) -> None:
        self.max_attempts = 3

    def run(self, data: str) -> None: ...


class Alert(Task):
    async def run(self, data: str, context: TaskContext) -> None:
        assert_type(context.failures, tuple[Failure, ...])
        for failure in context.failures:
            assert_type(failure.reason, str)
            assert_type(failure.failed_at, float | None)
