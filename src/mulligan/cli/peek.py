"""`mulligan peek`: look at messages of a queue without taking them."""

from mulligan.cli.browse import RECEIVES_ENOUGH, walk
from mulligan.cli.output import age, harmless, say, write
from mulligan.cli.render import TOO_NEW, attributes_text, body_text
from mulligan.cli.session import Session, run
from mulligan.core import packing, retry_state
from mulligan.core.delivery import Delivery
from mulligan.core.error import MulliganError, PackingError
from mulligan.tasks.text import shown

__all__ = ["peek"]

_BODY_SHOWN = 300


def peek(kind: str, *, uid: str | None, count: int) -> None:
    """Print up to `count` messages of a queue, or the copies of the one with that uid."""
    pictures = run(lambda session: _pictures(session, kind, uid, count))
    if pictures:
        write("\n\n".join(pictures))
    elif uid is not None:
        raise MulliganError(
            f"no message that can be seen on {kind} has the uid {shown(uid)}. "
            "Delayed messages, and those that a worker holds, can't be seen."
        )
    say(f"{len(pictures)} message{'' if len(pictures) == 1 else 's'} shown")


async def _pictures(session: Session, kind: str, uid: str | None, count: int) -> list[str]:
    pictures: list[str] = []
    receives = session.receives.get(session.queue(kind), RECEIVES_ENOUGH)
    if receives < RECEIVES_ENOUGH:
        say(
            f"note: each look counts as a receive, and {session.queue(kind)} moves a message away after {receives} of"
            " them, without its retry state"
        )
    async with walk(session.broker, session.queue(kind)) as walked:
        async for batch in walked.batches(count if uid is None else None):
            for delivery in batch:
                text = _picture(session, delivery, kind, uid)
                if text is not None and len(pictures) < count:
                    pictures.append(text)
            if len(pictures) >= count:
                break
    return pictures


def _picture(session: Session, delivery: Delivery, kind: str, uid: str | None) -> str | None:
    is_trusted = kind != "requests"
    message, state, unread = retry_state.read(delivery, session.queues.prefix, is_trusted=is_trusted)
    if uid is not None and message.uid != uid:
        return None
    body_problem = None
    if state is not None:
        try:
            message = packing.unpack(message, state, session.bodies.load)
        except PackingError as exc:
            body_problem = str(exc)
    facts = [
        harmless(message.uid),
        f"here for {age(session.now() - delivery.sent_at)}" if delivery.is_dated else "without a time",
        f"received {delivery.receive_count}x",
        f"{len(message.body):,} bytes" if body_problem is None else "body is not available",
    ]
    if state is not None:
        facts.append(f"copy {state.hop} of generation {state.generation}")
    lines = ["  ".join(facts)]
    if unread is not None and unread.is_held:
        lines.append(f"left alone: {harmless(unread.problem)}")
        if unread.version is not None:
            lines.append(TOO_NEW)
    if body_problem is not None:
        return "\n".join((*lines, harmless(body_problem)))
    if message.attributes:
        lines.append(attributes_text(message))
    lines.append(body_text(message.body, whole=uid is not None, limit=_BODY_SHOWN).replace("--body", "--uid"))
    return "\n".join(lines)
