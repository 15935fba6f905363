"""`mulligan dead replay`: dead letters go to the rejects queue in their next generation, then leave the dead queue.

Order: copy, confirmed by the broker; then removal. A crash between them leaves a letter that was replayed already; a
second replay of it is skipped by uid and generation, so no task that is done runs again. A stored body goes last, when
no copy of its letter is left: rather a file too many than a letter without a body.
"""

from collections.abc import Collection, Mapping, Sequence

from mulligan.cli.browse import Walk, walk
from mulligan.cli.dead import unknown
from mulligan.cli.dead_letter import DeadLetter, Key, copy_of, dead_letter_of, joined, nothing_runs, renewed
from mulligan.cli.exit import PartialError
from mulligan.cli.output import say
from mulligan.cli.retry import confirmed
from mulligan.cli.session import Session, app_dir, run, settings
from mulligan.core import packing
from mulligan.core.delivery import Delivery, Outgoing
from mulligan.core.error import BrokerUnavailable, MulliganError, PackingError
from mulligan.core.message import Uid
from mulligan.tasks.registry import TaskRegistry

__all__ = ["Replay", "replay"]

_ROUND_BYTES = 64 * 1024 * 1024
"""Bodies held at once: a replay of all goes in rounds."""

_ROUND_COUNT = 10_000

_UPGRADE = "Replay with the version that wrote it, or upgrade this program."
_BY_UID = "Give its uid to replay it all the same: all its tasks run then, those that are done, too."


def replay(uids: Sequence[str]) -> None:
    """Replay the dead letters of these uids; () means all of them. Raises PartialError when some are left."""
    from mulligan.tasks.loader import load

    chosen = settings().settings
    registry = load(
        app_dir(), tasks_file=chosen.tasks_xml_file, defaults=chosen.policy, drops_unrouted=chosen.on_unrouted == "drop"
    )

    async def work(session: Session) -> Replay:
        job = Replay(session, registry)
        await job.these(uids)
        return job

    job = run(work, create=True)
    count = len(job.replayed)
    say(f"{count} dead letter{'' if count == 1 else 's'} replayed")
    if job.problems:
        for problem in job.problems:
            say(f"error: {problem}")
        if count:
            raise PartialError("not all could be replayed; what was not is still on the dead queue.")
        raise MulliganError("nothing was replayed; all is still on the dead queue.")


def _refusals(found: Mapping[str, str], wanted: Collection[str], remedy: str) -> list[str]:
    """A sentence about each letter that was wanted and must not be replayed; () stands for all, in one sentence."""
    if wanted:
        return [f"{uid} can't be replayed: {found[uid]}. {remedy}" for uid in found if uid in wanted]
    if not found:
        return []
    uid, problem = next(iter(found.items()))
    if len(found) == 1:
        return [f"{uid} can't be replayed: {problem}. {remedy}"]
    return [f"{len(found)} letters can't be replayed, such as {uid}: {problem}. {remedy}"]


def _idle_text(problem: str, uids: Sequence[Uid]) -> str:
    """A sentence about letters of which nothing would run, for one reason."""
    if len(uids) == 1:
        return f"{uids[0]} can't be replayed: {problem}."
    return f"{len(uids)} letters can't be replayed, such as {uids[0]}: {problem}."


class Replay:
    """One replay, and what became of it: keys of letters that were replayed, sentences about problems."""

    def __init__(self, session: Session, registry: TaskRegistry) -> None:
        self._session = session
        self._registry = registry
        self._letters: dict[Key, DeadLetter] = {}
        self._held_bytes = 0
        self._files: dict[str, str] = {}  # stored bodies by id of the copy that is on the dead queue
        self._emptied: set[str] = set()
        self._too_new: dict[str, str] = {}  # what is wrong with each letter that a newer version wrote, by uid
        self._damaged: dict[str, str] = {}
        self._idle: dict[str, list[Uid]] = {}  # letters of which nothing would run, by the reason
        self.replayed: set[Key] = set()
        self.problems: list[str] = []

    async def these(self, uids: Sequence[str]) -> None:
        """Replay the letters of the uids, all letters when there are none."""
        seen: set[str] = set()
        async with walk(self._session.broker, self._session.queues.dead) as walked:
            async for batch in walked.batches():
                for delivery in batch:
                    seen.add(self._take(delivery, uids))
                if self._held_bytes > _ROUND_BYTES or len(self._letters) > _ROUND_COUNT:
                    await self._round(walked)
            await self._round(walked)
        if not walked.hidden and not self._too_new:  # a duplicate that nobody can see or read may need the file
            self._drop_bodies()
        self.problems += _refusals(self._too_new, set(uids), _UPGRADE)
        self.problems += _refusals(self._damaged, set(), _BY_UID)
        self.problems += [_idle_text(problem, found) for problem, found in self._idle.items()]
        self.problems += [unknown(uid, sorted(seen), walked.hidden) for uid in dict.fromkeys(uids) if uid not in seen]

    def _take(self, delivery: Delivery, uids: Sequence[str]) -> str:
        letter = dead_letter_of(delivery, self._session.queues.prefix, self._session.bodies.load)
        wrap = letter.state.wrap if letter.state is not None else None
        if wrap is not None and wrap.file is not None and packing.is_for(wrap.file, packing.DEAD):
            self._files[delivery.id] = wrap.file
        if letter.is_too_new:
            self._too_new[letter.uid] = letter.problem or ""
        elif letter.unread is not None and letter.unread.is_held and not uids:
            self._damaged[letter.uid] = letter.problem or ""
        elif not uids or letter.uid in uids:
            key = (letter.uid, letter.generation)
            known = self._letters.get(key)
            self._letters[key] = letter if known is None else joined(known, letter)
            self._held_bytes += len(letter.message.body) if known is None else 0
        return letter.uid

    async def _round(self, walked: Walk) -> None:
        letters, self._letters, self._held_bytes = list(self._letters.values()), {}, 0
        size = self._session.broker.features.max_batch
        for at in range(0, len(letters), size):
            await self._batch(walked, letters[at : at + size])

    async def _batch(self, walked: Walk, letters: Sequence[DeadLetter]) -> None:
        # a copy that comes after its letter was replayed in an earlier round only has to go
        fresh = [letter for letter in letters if (letter.uid, letter.generation) not in self.replayed]
        refused: set[Key] = set()
        packed: list[tuple[DeadLetter, Outgoing]] = []
        for letter in fresh:
            try:
                outgoing = self._outgoing(letter)
                if outgoing is None:
                    refused.add((letter.uid, letter.generation))
                else:
                    packed.append((letter, outgoing))
            except PackingError as exc:
                refused.add((letter.uid, letter.generation))
                self.problems.append(f"{letter.uid} can't be replayed: {exc}")
        entries = [outgoing for _, outgoing in packed]
        answers = await confirmed(self._session.broker, self._session.queues.rejects, entries) if entries else []
        for (letter, _), answer in zip(packed, answers, strict=True):
            key = (letter.uid, letter.generation)
            if answer is None:
                self.replayed.add(key)
            else:
                refused.add(key)
                self.problems.append(f"{letter.uid} could not be put on the rejects queue: {answer.reason}")
        gone = [one for letter in letters if (letter.uid, letter.generation) not in refused for one in letter.ids]
        await self._remove(walked, gone)

    def _outgoing(self, letter: DeadLetter) -> Outgoing | None:
        """The copy to send; what it leaves in a file is on disk. None where it would run nothing: it would be taken for
        done, or come back, and the letter would be gone. Raises PackingError.
        """
        if letter.body_problem is not None:  # before any task is asked whether it takes what is not a body
            raise PackingError(letter.body_problem)
        names = self._registry.names
        progress = renewed(letter, self._registry.route(letter.message), names)
        if (problem := nothing_runs(letter, progress, names)) is not None:
            self._idle.setdefault(problem, []).append(letter.uid)
            return None
        packed, dedup_id = copy_of(letter, progress, self._session.broker.features.limits)
        if packed.stored is not None:
            self._session.bodies.keep(packed.stored.name, packed.stored.content)
        return Outgoing(
            packed.body, packed.attributes, group=letter.group, dedup_id=dedup_id, tenant=letter.tenant,
            trace=letter.trace,
        )  # fmt: skip

    def _drop_bodies(self) -> None:
        for name in sorted(self._emptied - set(self._files.values())):
            try:
                self._session.bodies.drop(name)
            except PackingError as exc:
                self.problems.append(str(exc))

    async def _remove(self, walked: Walk, ids: Sequence[str]) -> None:
        size = self._session.broker.features.max_batch
        for at in range(0, len(ids), size):
            some = ids[at : at + size]
            try:
                answers = await self._session.broker.ack(
                    self._session.queues.dead, [walked.receipt(one) for one in some]
                )
            except BrokerUnavailable as exc:
                self.problems.append(f"{len(some)} replayed letters are still on the dead queue, too: {exc}")
                continue
            for one, answer in zip(some, answers, strict=True):
                if answer is None:
                    walked.keep_not(one)
                    if (name := self._files.pop(one, None)) is not None:
                        self._emptied.add(name)
                else:
                    self.problems.append(f"a replayed letter is still on the dead queue, too: {answer.reason}")
