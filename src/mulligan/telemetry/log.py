"""The listener that writes the log, and the one place where logging is set up for a process.

Three kinds of records meet here and look alike: events, what tasks say through `context.log` (structlog), and what
libraries say through the standard library's `logging`.
"""

import dataclasses
import logging
import os
import sys
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from pathlib import Path
from typing import Any, Literal, Protocol, TextIO

from mulligan.core.event import Event
from mulligan.core.secret import Redactor
from mulligan.environ import refuses_color
from mulligan.telemetry.hub import Hub, Listener
from mulligan.telemetry.import_guard import absent
from mulligan.telemetry.layout import JsonLayout, TextLayout
from mulligan.telemetry.messages import sentence_of
from mulligan.telemetry.sink import FileSink, Sink, StreamSink

with absent("rich"):  # for pictures of tracebacks, which nothing here draws: a quarter of a worker's start
    import structlog

__all__ = ["Log", "LogSettings", "configure"]

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}

Record = Mapping[str, Any]
Layout = Callable[[Record], str]


class LogSettings(Protocol):
    """What is needed of the settings (`Settings` and `WorkerSettings` have it)."""

    @property
    def broker_url(self) -> str: ...  # noqa: D102 - described in settings.model, as all below
    @property
    def ledger_url(self) -> str: ...  # noqa: D102
    @property
    def logger_name(self) -> str: ...  # noqa: D102
    @property
    def log_level(self) -> Literal["DEBUG", "INFO", "WARNING", "ERROR"]: ...  # noqa: D102
    @property
    def log_format(self) -> Literal["auto", "text", "json"]: ...  # noqa: D102
    @property
    def log_file(self) -> str | None: ...  # noqa: D102
    @property
    def log_file_max_bytes(self) -> int: ...  # noqa: D102
    @property
    def log_file_backups(self) -> int: ...  # noqa: D102


def configure(
    settings: LogSettings,
    *,
    worker: int | None,
    rotates: bool,
    now: Callable[[], float],
    listeners: Iterable[Listener] = (),
    stderr: TextIO | None = None,
) -> Hub:
    """Set up logging for this process; the hub that its events go to. Once a process, before any log line.

    worker: this process's number, None in the supervisor.
    rotates: this process rotates the log file (the supervisor only); it must call `Hub.tend` about once a second.
    now: epoch seconds.
    listeners: the others that hear the events.
    stderr: where lines go besides the file; sys.stderr when None.
    Raises ConfigurationError when the log file can't be opened. `Hub.close` undoes all of it.
    """
    outputs = _outputs(settings, rotates=rotates, now=now, stderr=sys.stderr if stderr is None else stderr)
    own = {"logger": settings.logger_name, "pid": os.getpid()} | ({} if worker is None else {"worker": worker})
    log = Log(outputs, own, level=settings.log_level, now=now)
    return Hub([log, *listeners])


class Log:
    """The log listener. One a process: structlog and the standard library's logging write through it until `close`."""

    def __init__(
        self, outputs: Iterable[tuple[Sink, Layout]], own: Record, *, level: str, now: Callable[[], float]
    ) -> None:
        self._outputs = tuple(outputs)
        self._own = own
        self._level = _LEVELS[level.lower()]
        self._now = now
        # words are made only where somebody reads them
        self._has_text = any(isinstance(layout, TextLayout) for _, layout in self._outputs)
        self._handler = _Bridge(self)
        _route(self._handler, self._level, self)

    def __call__(self, event: Event) -> None:
        """Write the event, if its level is logged."""
        if _LEVELS[event.level] < self._level:
            return
        for sink, layout in self._outputs:
            if isinstance(layout, TextLayout):
                fields: Record = {"event": sentence_of(event)}
            else:
                fields = {"event": type(event).__name__, **_fields(event)}
            # an event about another process (a worker that died) brings that one's number and pid
            sink.write(layout({"level": event.level, "at": self._now(), **self._own, **fields}))

    def wants(self, kind: type[Event]) -> bool:
        """Whether events of this kind are logged."""
        return _LEVELS[kind.level] >= self._level

    def write(self, record: Record) -> None:
        """Write a record that is not an event: level, event, and any fields. Never raises."""
        whole = {"at": self._now(), **self._own, **record}
        for sink, layout in self._outputs:
            try:
                line = layout(whole)
            except Exception as exc:  # noqa: BLE001 - a user's object may raise when it is put into words
                line = layout({**self._own, "at": whole["at"], "level": "error", "event": _unwritable(record, exc)})
            sink.write(line)

    @property
    def lost(self) -> int:
        """Lines that could not be written."""
        return sum(sink.lost for sink, _ in self._outputs)

    def tend(self) -> None:
        """Rotate the file when it is full."""
        for sink, _ in self._outputs:
            sink.tend()

    def close(self) -> None:
        """Undo what the set-up changed in structlog and logging, and close the file."""
        logging.getLogger().removeHandler(self._handler)
        structlog.reset_defaults()
        for sink, _ in self._outputs:
            sink.close()


def _outputs(
    settings: LogSettings, *, rotates: bool, now: Callable[[], float], stderr: TextIO | None
) -> list[tuple[Sink, Layout]]:
    outputs: list[tuple[Sink, Layout]] = []
    hide = Redactor([settings.broker_url, settings.ledger_url])
    report: Callable[[str], None] = _nobody
    # without a stderr the descriptor 2 may be any file by now, a database too
    fd = _descriptor(stderr)
    if fd is not None:
        is_tty = os.isatty(fd)
        terminal = StreamSink(fd)
        layout = _layout(settings, hide, has_color=is_tty and not refuses_color(), has_date=not is_tty)
        outputs.append((terminal, layout))

        def report(text: str) -> None:
            terminal.write(layout({"event": text, "level": "error", "at": now(), "logger": settings.logger_name}))

    if settings.log_file is not None:
        file = FileSink(
            Path(settings.log_file).absolute(),  # it is opened again now and then, whatever the folder is by then
            max_bytes=settings.log_file_max_bytes,
            backups=settings.log_file_backups,
            rotates=rotates,
            now=now,
            report=report,
        )
        outputs.append((file, _layout(settings, hide, has_color=False, has_date=True)))
    return outputs


def _layout(settings: LogSettings, hide: Redactor, *, has_color: bool, has_date: bool) -> Layout:
    if settings.log_format == "json":
        return JsonLayout(hide=hide)
    return TextLayout(has_color=has_color, has_date=has_date, hide=hide)


def _nobody(_: str) -> None:
    """Drop the sentence."""


def _descriptor(stream: TextIO | None) -> int | None:
    try:
        return None if stream is None else stream.fileno()
    except (OSError, ValueError):
        return None


def _unwritable(record: Record, exc: Exception) -> str:
    return f"a log record with the fields {', '.join(map(repr, record))} can't be written: {type(exc).__name__}"


def _fields(event: Event) -> dict[str, Any]:
    return {field.name: getattr(event, field.name) for field in dataclasses.fields(event)}


def _route(handler: logging.Handler, level: int, log: Log) -> None:
    def written(_: Any, __: str, record: MutableMapping[str, Any]) -> Any:
        log.write(record)
        raise structlog.DropEvent

    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.format_exc_info,
            written,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.ReturnLoggerFactory(),
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(level)


class _Bridge(logging.Handler):
    """Brings records of the standard library's logging into the log."""

    def __init__(self, log: Log) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = record.getMessage()
        except Exception as exc:  # noqa: BLE001 - wrong arguments of a user's log call must not fail his task
            text = f"{record.msg!r} (its arguments don't fit: {type(exc).__name__})"
        level = "error" if record.levelno >= logging.ERROR else record.levelname.lower()
        entry = {"event": text, "level": level if level in _LEVELS else "info", "logger": record.name}
        if record.exc_info:
            entry["exception"] = logging.Formatter().formatException(record.exc_info)
        self._log.write(entry)
