"""`mulligan dead ls | show`: look at dead letters. Sending them round again is `replay`'s."""

import json
from collections.abc import Sequence
from difflib import get_close_matches

from mulligan.cli.browse import LEASE_S, walk
from mulligan.cli.dead_letter import DeadLetter, Key, as_data, dead_letter_of, failed, joined, last_error, slim
from mulligan.cli.output import age, harmless, hidden, say, table, write
from mulligan.cli.render import first_line, picture
from mulligan.cli.session import Session, run
from mulligan.core.error import MulliganError
from mulligan.tasks.text import shown

__all__ = ["ls", "show", "unknown"]


def ls(*, as_json: bool) -> None:
    """Print one line a dead letter, the oldest first."""
    letters, hidden, now = run(_listed)
    if as_json:
        write(json.dumps([as_data(letter) for letter in letters], indent=2))
        return
    if letters:
        write(_table(letters, now))
    say(f"{len(letters)} dead letter{'' if len(letters) == 1 else 's'}{_held(hidden)}")


def show(text: str, *, whole_body: bool, as_json: bool) -> None:
    """Print the history of a dead letter, a generation each. text: its uid, or the beginning of one."""
    letters = run(lambda session: _matching(session, text))
    if as_json:
        write(json.dumps([as_data(letter) | {"body": _text(letter)} for letter in letters], indent=2))
        return
    write("\n\n".join(picture(letter, whole_body=whole_body) for letter in letters))


def unknown(text: str, seen: Sequence[str], hidden: int) -> str:
    """The sentence about a uid that no dead letter has. hidden: letters that could not be seen."""
    near = get_close_matches(text[:200], seen, n=1, cutoff=0.6)
    hint = f"Did you mean {near[0]}?" if near else "`mulligan dead ls` lists them all."
    return f"no dead letter has the uid {shown(text)}{_held(hidden)}. {hint}"


def _held(hidden: int) -> str:
    if not hidden:
        return ""
    return f", but {hidden} can't be seen now: they are being inspected elsewhere, and come back within {LEASE_S:.0f} s"


async def _listed(session: Session) -> tuple[list[DeadLetter], int, float]:
    letters: dict[Key, DeadLetter] = {}
    async with walk(session.broker, session.queues.dead) as walked:
        async for batch in walked.batches():
            for delivery in batch:
                letter = slim(dead_letter_of(delivery, session.queues.prefix, session.bodies.load))
                key = (letter.uid, letter.generation)
                letters[key] = joined(letters[key], letter) if key in letters else letter
    return sorted(letters.values(), key=lambda letter: letter.dead_at), walked.hidden, session.now()


async def _matching(session: Session, text: str) -> list[DeadLetter]:
    letters: dict[Key, DeadLetter] = {}
    seen: list[str] = []
    async with walk(session.broker, session.queues.dead) as walked:
        async for batch in walked.batches():
            for delivery in batch:
                letter = dead_letter_of(delivery, session.queues.prefix, session.bodies.load)
                seen.append(letter.uid)
                if not letter.uid.startswith(text):
                    continue
                key = (letter.uid, letter.generation)
                letters[key] = joined(letters[key], letter) if key in letters else letter
    uids = sorted({letter.uid for letter in letters.values()})
    if not uids:
        raise MulliganError(unknown(text, seen, walked.hidden))
    if len(uids) > 1:
        raise MulliganError(f"{text!r} begins {len(uids)} uids, such as {uids[0]} and {uids[1]}. Give more characters.")
    return sorted(letters.values(), key=lambda letter: letter.generation)


def _table(letters: Sequence[DeadLetter], now: float) -> str:
    rows = [["uid", "dead for", "copies", "failed", "last error"]]
    for letter in letters:
        names = ", ".join((*failed(letter.progress), *_moved(letter))) or _without_names(letter)
        uid = letter.uid if letter.generation <= 0 else f"{letter.uid} ({letter.generation} replayed)"
        error = first_line(hidden(letter.problem or letter.body_problem or last_error(letter.progress)))
        rows.append([harmless(uid), age(now - letter.dead_at), str(len(letter.ids)), harmless(names), error])
    return table(rows, right=(1, 2))


def _moved(letter: DeadLetter) -> tuple[str, ...]:
    return (f"moved, with {', '.join(letter.unfinished)} unfinished",) if letter.unfinished else ()


def _without_names(letter: DeadLetter) -> str:
    if letter.is_too_new:
        return "of a newer version"
    if letter.unread is not None and letter.unread.is_held:
        return "can't be read"
    return "no retry state" if letter.state is None else "no task takes it"


def _text(letter: DeadLetter) -> str | None:
    return None if letter.body_problem is not None else letter.message.body.decode("utf-8", "backslashreplace")
