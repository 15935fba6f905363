"""`mulligan check`: everything that a start needs, looked at one by one, a line each."""

import asyncio
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from mulligan.brokers.base import Broker
from mulligan.cli.ending import Code, code_of
from mulligan.cli.output import harmless, may_color, write
from mulligan.cli.session import app_dir, settings
from mulligan.core.delivery import Depth
from mulligan.core.error import BrokerRefused, ConfigurationError, MulliganError
from mulligan.core.message import QueueName
from mulligan.core.secret import redacted
from mulligan.core.value import value
from mulligan.settings.load import DEFAULT, Loaded
from mulligan.settings.model import Settings

__all__ = ["check"]


@value
class _Finding:
    """About one part. texts: what it is like, or everything that is wrong with it. code: OK, or the exit code."""

    part: str
    code: Code
    texts: tuple[str, ...]


def check() -> int:
    """Print a line for settings, tasks, queues and ledger; the exit code of the gravest finding."""
    folder = app_dir()
    loaded: list[Loaded] = []

    def read_settings() -> str:
        loaded.append(settings())
        return _of_settings(loaded[0])

    findings = [_found("settings", read_settings)]
    if loaded:
        chosen = loaded[0].settings
        findings += [
            _found("tasks", lambda: _of_tasks(chosen, folder)),
            _found("queues", lambda: asyncio.run(_of_queues(chosen))),
            _found("ledger", lambda: asyncio.run(_of_ledger(chosen, folder))),
        ]
    write("\n".join(_line(finding) for finding in findings))
    return _gravest([finding.code for finding in findings])


def _gravest(codes: Sequence[Code]) -> Code:
    order = (Code.USAGE, Code.UNREACHABLE, Code.FAILURE)
    return next((code for code in order if code in codes), Code.OK)


def _found(part: str, look: Callable[[], str]) -> _Finding:
    try:
        return _Finding(part, Code.OK, (look(),))
    except ConfigurationError as exc:
        return _Finding(part, Code.USAGE, exc.problems)
    except MulliganError as exc:
        return _Finding(part, code_of(exc), (str(exc),))


def _line(finding: _Finding) -> str:
    is_ok = finding.code is Code.OK
    word = "ok     " if is_ok else "problem"
    if may_color(sys.stdout):
        word = f"\x1b[{32 if is_ok else 31}m{word}\x1b[0m"
    return "\n".join(f"{word}  {finding.part:<8}  {redacted(harmless(text))}" for text in finding.texts)


def _of_settings(loaded: Loaded) -> str:
    changed = sum(origin != DEFAULT for origin in loaded.origins.values())
    return f"{changed} set, {len(loaded.origins) - changed} by default (mulligan settings shows each)"


def _of_tasks(chosen: Settings, folder: Path) -> str:
    from mulligan.tasks.loader import load

    catalogue = load(folder, tasks_file=chosen.tasks_xml_file, defaults=chosen.policy)
    works = [task.name for task in catalogue.tasks.values() if not task.is_default]
    alerts = [task.name for task in catalogue.tasks.values() if task.is_default]
    return f"{', '.join(works)}; default: {', '.join(alerts) or 'none, so a dead letter raises no alert'}"


async def _of_queues(chosen: Settings) -> str:
    from mulligan.brokers.open import open_broker
    from mulligan.worker.clock import SystemClock

    broker = open_broker(chosen.broker_url, clock=SystemClock(), emit=lambda _: None, base_dir=app_dir())
    try:
        declared = await broker.declare(chosen.queues, create=False)
        depths = {name: await _depth(broker, name) for name in chosen.queues.all}
        missing = [name for name, depth in depths.items() if depth is None]
        if len(declared.problems) > (len(missing) if chosen.create_queues else 0):
            raise BrokerRefused(" ".join(declared.problems))
        held = [
            f"{name} {'is made at the start' if depth is None else f'{depth.total:,}'}"
            for name, depth in depths.items()
        ]
        return f"{chosen.broker_url}: {', '.join(held)}"
    finally:
        await broker.close()


async def _depth(broker: Broker, name: QueueName) -> Depth | None:
    """None when the queue is not there."""
    try:
        return await broker.depth(name)
    except BrokerRefused:
        return None


async def _of_ledger(chosen: Settings, folder: Path) -> str:
    from mulligan.ledger.open import open_ledger
    from mulligan.worker.clock import SystemClock

    ledger = open_ledger(chosen.ledger_url, clock=SystemClock(), base_dir=folder)
    try:
        await ledger.open()
        if not ledger.is_durable:
            return f"{chosen.ledger_url}: nothing is recorded, a crash may repeat tasks that were done"
        return f"{chosen.ledger_url}: can be written"
    finally:
        await ledger.close()
