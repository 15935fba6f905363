from structlog.testing import capture_logs

from mulligan.core.message import Message, TaskName, Uid
from mulligan.tasks.context import AttemptFacts, TaskContext

UID = Uid("018bcfe56800-00000000000000000000")
MESSAGE = Message(UID, b"hello", {}, 1_700_000_000.0)


def test_context_has_the_same_idempotency_key_on_every_attempt_and_another_for_another_task():
    first = TaskContext(MESSAGE, TaskName("One"), AttemptFacts(1, 2))
    second = TaskContext(MESSAGE, TaskName("One"), AttemptFacts(2, 2), generation=1)
    other = TaskContext(MESSAGE, TaskName("Two"), AttemptFacts(1, 2))

    assert first.idempotency_key == second.idempotency_key
    assert first.idempotency_key != other.idempotency_key


def test_context_log_names_message_task_and_attempt():
    context = TaskContext(MESSAGE, TaskName("One"), AttemptFacts(2, 2))

    with capture_logs() as lines:
        context.log.info("sent", to="somebody")

    assert lines == [{"event": "sent", "log_level": "info", "uid": UID, "task": "One", "attempt": 2, "to": "somebody"}]
    assert context.log is context.log


def test_context_knows_the_last_attempt():
    assert TaskContext(MESSAGE, TaskName("One"), AttemptFacts(2, 2)).is_last_attempt
    assert not TaskContext(MESSAGE, TaskName("One"), AttemptFacts(1, 2)).is_last_attempt


def test_context_shows_no_body():
    assert (
        repr(TaskContext(MESSAGE, TaskName("One"), AttemptFacts(1, 2)))
        == f"TaskContext(uid='{UID}', task='One', attempt=1 of 2)"
    )
