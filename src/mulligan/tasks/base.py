"""The class that tasks inherit from."""

from collections.abc import Callable, Sequence

from mulligan.core.message import Message
from mulligan.core.policy import Backoff

__all__ = ["Note", "Task"]


class Note(str):
    """A sentence of `Task.probe` about something worth knowing that does not prevent the task from working."""

    __slots__ = ()


class Task:
    """One thing to do with each message. Subclass it and implement `run`.

    `run` takes the payload, and optionally a `TaskContext`; it may be sync or async, a method, a classmethod or a
    staticmethod. The annotation of the payload decides what it gets: none or `str`: the body as text; `bytes`: the
    body as it is; `Message`; any other type: what pydantic validates from JSON. It fails by raising or by returning
    False; any other return value is success. A worker creates one instance, without arguments, and calls it for all
    messages, several concurrently: keep the state of a message in local variables.

    max_attempts: the number of attempts, including the first. None: the setting TASK_MAX_ATTEMPTS.
    backoff: seconds before the second attempt (they double from there), or a `Backoff`, or a function that takes the
        number of attempts so far and returns the seconds. None: the setting TASK_BACKOFF_S.
    timeout_s: seconds that one attempt may take. None: the setting TASK_TIMEOUT_S.
    give_up_on: exceptions that exhaust the task at once, as `GiveUp` does, because a retry would be pointless.

    <attempts> and <timeout> in tasks.xml override the class.
    """

    max_attempts: int | None = None
    backoff: float | Backoff | Callable[[int], float] | None = None
    timeout_s: float | None = None
    give_up_on: tuple[type[BaseException], ...] = ()

    def accepts(self, message: Message) -> bool:  # noqa: ARG002 - the signature is what a subclass overrides
        """Whether this task handles the message. Called before the first attempt, and again at each attempt.

        Keep it quick and free of side effects: it runs on the event loop, for each message. Raising is a failed
        attempt.
        """
        return True

    def check(self) -> Sequence[str]:
        """What prevents this task from working, as sentences: a missing environment variable, say.

        Called once at start. The system does not start while any task reports a problem.
        """
        return ()

    async def probe(self) -> Sequence[str]:
        """Problems with the services that this task calls, as sentences: an invalid token, a missing right.

        Called by `mulligan check` only, never at start: a service that is down must not stop the system from working.
        It must not change anything there. A `Note` among the sentences is shown, but is not a problem.
        """
        return ()
