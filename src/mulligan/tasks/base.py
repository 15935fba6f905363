"""The class that tasks inherit from."""

from collections.abc import Callable, Sequence

from mulligan.core.message import Message
from mulligan.core.policy import Backoff

__all__ = ["Note", "Task"]


class Note(str):
    """A sentence of `Task.probe` about something that is worth knowing and keeps nothing from working."""

    __slots__ = ()


class Task:
    """One thing to do with every message. Subclass it, and write `run`.

    `run` takes the payload, and optionally a `TaskContext`; it may be sync or async, a method, a classmethod or a
    staticmethod. What it gets follows the annotation of the payload: none or `str`: the body as text; `bytes`;
    `Message`; anything else that pydantic can validate from JSON. It fails by raising or by returning False; every
    other return is success. One object of the class serves all messages of a worker, several at once: keep what
    belongs to one message in local variables. It is made without arguments.

    max_attempts: all attempts, the first included. None: the setting TASK_MAX_ATTEMPTS.
    backoff: seconds before the second attempt (they double from there), or a `Backoff`, or a function that gets the
        number of attempts so far and gives the seconds. None: the setting TASK_BACKOFF_S.
    timeout_s: seconds that one attempt may take. None: the setting TASK_TIMEOUT_S.
    give_up_on: exceptions after which another attempt would be of no use.

    <attempts> and <timeout> in tasks.xml win over the class.
    """

    max_attempts: int | None = None
    backoff: float | Backoff | Callable[[int], float] | None = None
    timeout_s: float | None = None
    give_up_on: tuple[type[BaseException], ...] = ()

    def accepts(self, message: Message) -> bool:  # noqa: ARG002 - the signature is what a subclass overrides
        """Whether the message is any business of this task. Asked before the first attempt, and again by each attempt.

        Quick and without effects: it runs on the event loop, for every message. Raising is a failed attempt.
        """
        return True

    def check(self) -> Sequence[str]:
        """What keeps this task from working, as sentences: a missing environment variable, say. Asked once at start.

        The system does not start while any task names a problem.
        """
        return ()

    async def probe(self) -> Sequence[str]:
        """What a look at the services that this task calls shows to be wrong, as sentences: a token, a missing right.

        Asked by `mulligan check` only, never at start: a service that is down must not keep the system from working.
        It changes nothing there. A `Note` among the sentences is shown, and is not a problem.
        """
        return ()
