"""`mulligan check`: everything that a start needs, looked at one by one, a line each."""

import asyncio
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from mulligan.brokers.base import Broker
from mulligan.cli import preflight
from mulligan.cli.browse import RECEIVES_ENOUGH, walk
from mulligan.cli.exit import Code, code_of
from mulligan.cli.output import harmless, hidden, may_color, write
from mulligan.cli.session import app_dir, settings
from mulligan.core.clock import Lead
from mulligan.core.delivery import Delivery, Depth
from mulligan.core.error import BrokerError, BrokerRefused, ConfigurationError, MulliganError
from mulligan.core.event import BrokerWarning, ClockDiffers, Event, LedgerLocal
from mulligan.core.message import AttributeValue, QueueName
from mulligan.core.secret import redacted_url
from mulligan.core.value import value
from mulligan.settings.load import DEFAULT, Loaded
from mulligan.settings.model import Settings
from mulligan.settings.notice import notices, prefix_note
from mulligan.tasks.base import Note
from mulligan.tasks.registry import LoadedTask, TaskRegistry
from mulligan.tasks.text import raised
from mulligan.telemetry.messages import sentence
from mulligan.telemetry.messages import unlisted as unlisted_sentence

__all__ = ["check"]


PROBE_S = 60.0
"""Seconds that one task's look at its services may take."""


@value
class _Finding:
    """About one part. texts: what it is like, or everything that is wrong with it. code: OK, or the exit code.

    is_note: worth reading, and no problem.
    """

    part: str
    code: Code
    texts: tuple[str, ...]
    is_note: bool = False


def check() -> int:
    """Print a line for each part of the application; the exit code of the gravest finding."""
    folder = app_dir()
    loaded: list[Loaded] = []
    registries: list[TaskRegistry] = []

    def read_settings() -> str:
        loaded.append(settings())
        return _of_settings(loaded[0])

    findings = [_found("settings", read_settings)]
    if loaded:
        chosen = loaded[0].settings
        findings += _of_names(loaded[0])
        findings.append(_found("tasks", lambda: _of_tasks(chosen, folder, registries)))
        findings += _of_unlisted(chosen, folder)
        if preflight.is_application(folder, loaded[0]):  # else the looks would leave an empty queue behind
            findings += [
                *_of_services(registries),
                *_of_broker(chosen, registries),
                *_of_ledger(chosen, folder),
                *_of_locality(loaded[0]),
                *_of_ground(chosen, folder),
            ]
    write("\n".join(_line(finding) for finding in findings))
    return _gravest([finding.code for finding in findings])


def _gravest(codes: Sequence[Code]) -> Code:
    order = (Code.USAGE, Code.UNREACHABLE, Code.LEDGER_UNREACHABLE, Code.FAILURE)
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
    word = "note   " if finding.is_note else "ok     " if is_ok else "problem"
    if may_color(sys.stdout):
        word = f"\x1b[{33 if finding.is_note else 32 if is_ok else 31}m{word}\x1b[0m"
    return "\n".join(f"{word}  {finding.part:<8}  {harmless(hidden(text))}" for text in finding.texts)


def _of_settings(loaded: Loaded) -> str:
    changed = sum(origin != DEFAULT for origin in loaded.origins.values())
    return f"{changed} set, {len(loaded.origins) - changed} by default (mulligan settings shows each)"


def _of_names(loaded: Loaded) -> list[_Finding]:
    """First names of settings, and a prefix that nobody chose."""
    texts = [sentence(renamed) for renamed in loaded.renamed]
    texts += [text for text in [prefix_note(loaded.settings)] if text is not None]
    return [_Finding("settings", Code.OK, (text,), is_note=True) for text in texts]


def _of_tasks(chosen: Settings, folder: Path, registries: list[TaskRegistry]) -> str:
    from mulligan.tasks.loader import load
    from mulligan.worker.supervisor.trial import trial

    preflight.require_own_names(folder)
    # before they are loaded here: a file that ends the process that imports it would end this one
    if problems := asyncio.run(trial(chosen, folder)):
        raise ConfigurationError(problems)
    registry = load(folder, tasks_file=chosen.tasks_xml_file, defaults=chosen.policy)
    registries.append(registry)
    works = [task.name for task in registry.tasks.values() if not task.is_default]
    alerts = [task.name for task in registry.tasks.values() if task.is_default]
    return f"{', '.join(works)}; default: {', '.join(alerts) or 'none, so a dead letter raises no alert'}"


def _of_unlisted(chosen: Settings, folder: Path) -> list[_Finding]:
    """Tasks that no message goes to, because the manifest doesn't name them."""
    from mulligan.tasks.unlisted import unlisted

    texts = [
        unlisted_sentence(one.file, one.class_name, chosen.tasks_xml_file)
        for one in unlisted(folder, chosen.tasks_xml_file)
    ]
    return [_Finding("tasks", Code.OK, (text,), is_note=True) for text in texts]


def _of_ground(chosen: Settings, folder: Path) -> list[_Finding]:
    """What is there by default is not reported, unless something is wrong with it."""
    findings = [_found("bodies", lambda: preflight.of_bodies(chosen, folder))]
    if chosen.log_file is not None:
        findings.append(_found("log", lambda: preflight.of_log(chosen, folder)))
    if chosen.middleware or chosen.listeners:
        findings.append(_found("settings", lambda: preflight.of_functions(chosen, folder)))
    return findings


def _of_services(registries: Sequence[TaskRegistry]) -> list[_Finding]:
    """What the tasks that call services say of them. Empty when no task does, or the tasks could not be loaded."""
    tasks = [task for registry in registries for task in registry.tasks.values() if task.probe is not None]
    if not tasks:
        return []
    texts = asyncio.run(_probed(tasks))
    return [finding for task, texts in zip(tasks, texts, strict=True) for finding in _of_service(task, texts)]


async def _probed(tasks: Sequence[LoadedTask]) -> list[Sequence[str]]:
    from mulligan.integrations import http

    try:
        return await asyncio.gather(*(_probe(task) for task in tasks))
    finally:
        await http.close()


async def _probe(task: LoadedTask) -> Sequence[str]:
    assert task.probe is not None
    try:
        async with asyncio.timeout(PROBE_S):
            texts = await task.probe()
    except TimeoutError:
        return [f"its services gave no answer within {PROBE_S:g} s."]
    except Exception as exc:  # noqa: BLE001 - user code
        return [f"its probe() raises {raised(exc)}."]
    if isinstance(texts, str):
        return [texts]
    if not isinstance(texts, list | tuple) or not all(isinstance(one, str) for one in texts):
        return ["its probe() does not return a list of sentences, [] when nothing is wrong."]
    return texts


def _of_service(task: LoadedTask, texts: Sequence[str]) -> list[_Finding]:
    named = [(isinstance(text, Note), f"{task.name}: {text}") for text in texts]
    findings = [
        _Finding("services", Code.OK if is_note else Code.USAGE, (text,), is_note=is_note) for is_note, text in named
    ]
    return findings or [_Finding("services", Code.OK, (f"{task.name}: answers as it should",))]


def _of_broker(chosen: Settings, registries: Sequence[TaskRegistry]) -> list[_Finding]:
    """The queues, and what the broker's server says of itself."""
    findings: list[_Finding] = []
    return [_found("queues", lambda: asyncio.run(_of_queues(chosen, registries, findings))), *findings]


async def _of_queues(chosen: Settings, registries: Sequence[TaskRegistry], findings: list[_Finding]) -> str:
    from mulligan.brokers.open import open_broker
    from mulligan.clock import SystemClock

    def note(event: Event) -> None:
        if isinstance(event, BrokerWarning):  # a clock that is off, keys that can't be renewed
            findings.append(_Finding("queues", Code.OK, (f"{event.where}: {event.text}",), is_note=True))

    broker = open_broker(chosen.broker_url, clock=SystemClock(), emit=note, base_dir=app_dir())
    try:
        declared = await broker.declare(chosen.queues, create=False)
        owned = (await broker.owners(chosen.queues)).judged(is_meant=chosen.adopt_rejects)
        findings += [_Finding("queues", Code.OK, (text,), is_note=True) for text in (*declared.notes, *owned.notes)]
        findings += [_Finding("queues", Code.USAGE, (text,)) for text in owned.problems]
        findings += _of_clock("queues", chosen.broker_url, broker.lead)
        depths = {name: await _depth(broker, name) for name in chosen.queues.all}
        missing = [name for name, depth in depths.items() if depth is None]
        if len(declared.problems) > int(bool(declared.missing) and chosen.create_queues):
            raise ConfigurationError(declared.problems)
        if not missing:
            copies = await _copies(chosen, broker, declared.receives) if registries else {}
            findings += _of_tasks_of_others(copies, registries)
            longest_s = max((task.policy.timeout_s for one in registries for task in one.tasks.values()), default=0.0)
            findings += await _of_server(chosen, broker, longest_s, copies.get(chosen.queues.dead, ()))
        there = [f"{name} {depth.total:,}" for name, depth in depths.items() if depth is not None]
        held = [", ".join(there)] if there else []
        held += [f"{', '.join(missing)} {'are' if len(missing) > 1 else 'is'} made at the start"] if missing else []
        return f"{redacted_url(chosen.broker_url)}: {'; '.join(held)}"
    finally:
        await broker.close()


async def _copies(
    chosen: Settings, broker: Broker, receives: Mapping[QueueName, int]
) -> dict[QueueName, Sequence[Mapping[str, AttributeValue]]]:
    """Attributes of what is on rejects and dead. Where there is no other way, a few messages are received for it and
    released; without the right to receive there are none.

    receives: as in `Declared`. Of a queue that gives a message a few times only none is received: each look would bring
    it nearer to the dead queue.
    """
    from mulligan.worker.process.unknown_tasks import LOOKED_AT_MAX

    found: dict[QueueName, Sequence[Mapping[str, AttributeValue]]] = {}
    for queue in (chosen.queues.rejects, chosen.queues.dead):
        try:
            copies = await broker.attributes(queue, LOOKED_AT_MAX)
            if copies is None and receives.get(queue, RECEIVES_ENOUGH) < RECEIVES_ENOUGH:
                continue
            if copies is None:
                copies = [one.attributes for one in await _first_of(broker, queue)]
        except BrokerError:
            continue
        found[queue] = copies
    return found


def _of_tasks_of_others(
    copies: Mapping[QueueName, Sequence[Mapping[str, AttributeValue]]], registries: Sequence[TaskRegistry]
) -> list[_Finding]:
    """Copies of tasks that this application doesn't have."""
    from mulligan.worker.process.unknown_tasks import unknown_tasks

    findings = [unknown_tasks(queue, found, registries[0].tasks) for queue, found in copies.items()]
    return [_Finding("queues", Code.OK, (sentence(event),), is_note=True) for event in findings if event is not None]


async def _first_of(broker: Broker, queue: QueueName) -> list[Delivery]:
    if not (await broker.depth(queue)).ready:
        return []
    async with walk(broker, queue) as walked:
        async for batch in walked.batches():
            return batch
    return []


async def _of_server(
    chosen: Settings, broker: Broker, longest_task_s: float, letters: Sequence[Mapping[str, AttributeValue]]
) -> list[_Finding]:
    """What can be asked of RabbitMQ alone: version, alarms, rights. letters: attributes of some dead ones."""
    if not chosen.broker_url.startswith("amqp"):
        return []
    from mulligan.brokers.rabbitmq.broker import RabbitBroker
    from mulligan.brokers.rabbitmq.report import report

    assert isinstance(broker, RabbitBroker)
    found = await report(broker, longest_task_s=longest_task_s, makes_queues=chosen.create_queues, letters=letters)
    return [_Finding("server", Code.USAGE, (text,)) for text in found.problems] + [
        _Finding("server", Code.OK, (text,), is_note=True) for text in found.facts
    ]


async def _depth(broker: Broker, name: QueueName) -> Depth | None:
    """None when the queue is not there."""
    try:
        return await broker.depth(name)
    except BrokerRefused:
        return None


def _of_locality(loaded: Loaded) -> list[_Finding]:
    local = [notice for notice in notices(loaded) if isinstance(notice, LedgerLocal)]
    return [_Finding("ledger", Code.OK, (sentence(notice),), is_note=True) for notice in local]


def _of_clock(part: str, url: str, lead: Lead | None) -> list[_Finding]:
    """A clock that is off is not a problem of a start."""
    if lead is None or not lead.matters:
        return []
    return [_Finding(part, Code.OK, (sentence(ClockDiffers(redacted_url(url), lead.ahead_s)),), is_note=True)]


def _of_ledger(chosen: Settings, folder: Path) -> list[_Finding]:
    """The ledger, and its server's clock."""
    findings: list[_Finding] = []
    return [_found("ledger", lambda: asyncio.run(_of_open_ledger(chosen, folder, findings))), *findings]


async def _of_open_ledger(chosen: Settings, folder: Path, findings: list[_Finding]) -> str:
    from mulligan.clock import SystemClock
    from mulligan.ledger.open import open_ledger

    ledger = open_ledger(chosen.ledger_url, clock=SystemClock(), base_dir=folder)
    try:
        await ledger.open()
        findings += _of_clock("ledger", chosen.ledger_url, await ledger.lead())
        if not ledger.is_durable:
            return f"{redacted_url(chosen.ledger_url)}: nothing is recorded, a crash may repeat tasks that were done"
        return f"{redacted_url(chosen.ledger_url)}: can be written"
    finally:
        await ledger.close()
