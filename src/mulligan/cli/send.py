"""`mulligan send`: messages from the command line, a file or a pipe onto a queue, each confirmed by the broker."""

import asyncio
import os
import secrets
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from mulligan.brokers.base import Features
from mulligan.cli.exit import PartialError, UsageError
from mulligan.cli.input import Line, TooLong, UnreadableError, lines
from mulligan.cli.output import say, write
from mulligan.cli.retry import Sleep, confirmed
from mulligan.cli.session import Session, run
from mulligan.core import fingerprint, retry_state
from mulligan.core.delivery import Fault, Outgoing
from mulligan.core.error import BrokerRefused, BrokerUnavailable
from mulligan.core.message import QueueName
from mulligan.core.value import value

__all__ = ["SendOptions", "Sender", "attributes_of", "send"]

_TOLD_MAX = 5
"""Refused lines that are reported one by one; the rest is counted."""

_BATCHES = 4
"""Batches of one broker call each that are in flight at once."""

Told = Callable[[int, int], None]
"""Hears the progress: messages confirmed, bytes of the input read."""


@value
class SendOptions:
    """How messages are to be sent. group: for FIFO queues, and for standard ones of SQS."""

    attributes: Mapping[str, str]
    delay_s: float = 0.0
    group: str | None = None


def send(text: str, *, attributes: Sequence[str], delay_s: float, queue: str, group: str | None = None) -> None:
    """Send BODY, `-` or `@FILE`. Raises UsageError, PartialError or a broker's error."""
    wish = SendOptions(attributes_of(attributes), delay_s, group)
    if text == "-":
        fd = _stdin()
        run(lambda session: _stream(session, fd, wish, queue), create=True, only=queue)
    elif text.startswith("@"):
        fd = _opened(text[1:])
        try:
            run(lambda session: _stream(session, fd, wish, queue), create=True, only=queue)
        finally:
            os.close(fd)
    else:
        run(lambda session: _single(session, os.fsencode(text), wish, queue), create=True, only=queue)


def attributes_of(pairs: Sequence[str]) -> dict[str, str]:
    """From "name=value" texts. Raises UsageError at what is none, comes twice, or is mulligan's own."""
    found: dict[str, str] = {}
    for pair in pairs:
        name, equals, content = pair.partition("=")
        if not equals or not name:
            raise UsageError(f"--attribute {pair!r}: expected name=value, such as --attribute source=shop.")
        if name == retry_state.ATTRIBUTE:
            raise UsageError(
                f"--attribute {pair!r}: the name {retry_state.ATTRIBUTE!r} is mulligan's own. Choose another."
            )
        if name in found:
            raise UsageError(f"--attribute {name!r} is given twice, expected once. Remove one.")
        found[name] = content
    return found


class Sender:
    """Sends bodies in the same way, and counts what became of them."""

    def __init__(
        self,
        session: Session,
        queue: QueueName,
        wish: SendOptions,
        *,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._session = session
        self._queue = queue
        self._wish = wish
        self._sleep = sleep
        self.sent = 0
        self.refused: list[str] = []
        self.refused_count = 0

    def outgoing(self, body: bytes) -> Outgoing:
        """The message, with an id of its own unless one is given: a send that is repeated stays one message."""
        rand = secrets.token_hex(8)
        attributes = {fingerprint.ID_ATTRIBUTE: fingerprint.new_id(self._session.now(), rand)} | dict(
            self._wish.attributes
        )
        group = self._wish.group
        return Outgoing(body, attributes, self._wish.delay_s, group, dedup_id=rand, tenant=group)

    async def put(self, found: Sequence[Line]) -> None:
        """Send lines, several batches at once. Raises BrokerUnavailable when some can't be sent for now."""
        size = self._session.broker.features.max_batch
        batches = [found[at : at + size] for at in range(0, len(found), size)]
        for at in range(0, len(batches), _BATCHES):
            results = await asyncio.gather(*(self._batch(batch) for batch in batches[at : at + _BATCHES]))
            if failed := [failure for failure in results if failure]:
                raise BrokerUnavailable(failed[0])

    def refuse(self, number: int, reason: str) -> None:
        """Count a line that can't be sent at all."""
        self.refused_count += 1
        if len(self.refused) < _TOLD_MAX:
            self.refused.append(f"line {number}: {reason}")

    async def _batch(self, batch: Sequence[Line]) -> str | None:
        """None, or why the first of them could not be sent for now."""
        entries = [self.outgoing(line.body) for line in batch]
        failure = None
        answers = await confirmed(self._session.broker, self._queue, entries, sleep=self._sleep)
        for line, answer in zip(batch, answers, strict=True):
            if answer is None:
                self.sent += 1
            elif answer.fault is Fault.RETRY:
                failure = failure or f"line {line.number}: {answer.reason}"
            else:
                self.refuse(line.number, answer.reason)
        return failure


async def _single(session: Session, body: bytes, wish: SendOptions, kind: str) -> None:
    features = session.broker.features
    _check_delay(wish.delay_s, features)
    if len(body) > features.max_message_bytes:
        raise UsageError(_too_long(len(body), features))
    queue = session.queue(kind)
    sender = Sender(session, queue, wish)
    entry = sender.outgoing(body)
    answer = (await confirmed(session.broker, queue, [entry]))[0]
    if answer is not None:
        if answer.fault is Fault.RETRY:
            raise BrokerUnavailable(f"the message was not confirmed: {answer.reason}. Send it again.")
        raise UsageError(f"the message was refused: {answer.reason}")
    message_id = str(entry.attributes[fingerprint.ID_ATTRIBUTE])
    if fingerprint.has_time(message_id):
        write(fingerprint.uid(session.queues.prefix, message_id, body, session.now()))
    say(f"sent 1 message to {queue}")


async def _stream(session: Session, fd: int, wish: SendOptions, kind: str) -> None:
    features = session.broker.features
    _check_delay(wish.delay_s, features)
    queue = session.queue(kind)
    sender = Sender(session, queue, wish)
    reached = 0
    try:
        with _bar(fd) as show:
            async for found in lines(fd, features.max_message_bytes):
                for line in found:
                    if isinstance(line, TooLong):
                        sender.refuse(line.number, _too_long(line.size, features))
                await sender.put([line for line in found if isinstance(line, Line)])
                reached = found[-1].number
                show(sender.sent, found[-1].end)
    except (BrokerUnavailable, BrokerRefused, UnreadableError) as exc:
        if not sender.sent:
            raise
        raise PartialError(
            f"{sender.sent} messages were sent and confirmed, then: {exc} "
            f"All lines up to {reached} are done; some later ones may be sent, too."
        ) from exc
    finally:
        say(f"sent {sender.sent} message{'' if sender.sent == 1 else 's'} to {queue}")
    _tell_refused(sender)


def _tell_refused(sender: Sender) -> None:
    if not sender.refused_count:
        return
    for text in sender.refused:
        say(f"error: {text}")
    if not sender.sent:
        raise UsageError("nothing was sent: every message was refused.")
    raise PartialError(f"{sender.refused_count} of {sender.sent + sender.refused_count} messages were refused.")


def _check_delay(delay_s: float, features: Features) -> None:
    if not 0 <= delay_s <= features.max_delay_s:
        raise UsageError(
            f"--delay {delay_s:g}: this broker can delay a message by 0 to {features.max_delay_s:,.0f} seconds."
        )


def _too_long(size: int, features: Features) -> str:
    return (
        f"the body has {size:,} bytes, and this broker takes messages of at most {features.max_message_bytes:,}. "
        "Store the content elsewhere and send a reference to it."
    )


def _stdin() -> int:
    try:
        fd = sys.stdin.fileno()
    except (AttributeError, OSError, ValueError):
        raise UsageError("-: there is no standard input. Pipe the messages in, one per line.") from None
    if os.isatty(fd):
        say("one message per line; Ctrl-D ends")
    return fd


def _opened(name: str) -> int:
    try:
        fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC)
    except (OSError, ValueError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else str(exc)
        raise UsageError(f"@{name}: the file can't be read: {reason}. Correct its name after the @.") from None
    if Path(name).is_dir():
        os.close(fd)
        raise UsageError(f"@{name} is a folder, expected a file with one message per line.")
    return fd


@contextmanager
def _bar(fd: int) -> Iterator[Told]:
    """A progress bar on stderr where that is a terminal, shown once a second has gone by: short input needs none."""
    if not sys.stderr.isatty():
        yield lambda _sent, _read: None
        return
    from mulligan.cli.bar import bar

    with bar(os.fstat(fd).st_size or None) as show:
        yield show
