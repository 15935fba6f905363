"""`mulligan run`, and `python main.py`: the system itself, until it is stopped."""

from pathlib import Path

from mulligan.cli.aws import beside
from mulligan.cli.preflight import require_own_names
from mulligan.cli.session import app_dir, service_links
from mulligan.core.event import TaskUnlisted, VariablesIgnored
from mulligan.core.message import TaskName
from mulligan.settings.load import Loaded
from mulligan.settings.model import Settings
from mulligan.settings.notice import notices
from mulligan.tasks.unlisted import unlisted
from mulligan.telemetry.hub import Hub
from mulligan.telemetry.log import configure
from mulligan.worker.extension import load_functions
from mulligan.worker.host import Host
from mulligan.worker.loop import run as run_loop
from mulligan.worker.supervisor.supervisor import Supervisor
from mulligan.worker.system_host import SystemHost

__all__ = ["run"]


def run(loaded: Loaded, *, drain: bool, for_s: float | None, sqs_port: int | None = None) -> int:
    """Start the workers and work. Returns 0 after an orderly end.

    drain: end once requests and rejects hold nothing but what can't be read. for_s: end after that many seconds.
    sqs_port: serve the embedded queue as SQS beside it, on that port of the loopback address.
    Raises what the command line turns into words and an exit code.
    """
    settings, host, folder = loaded.settings, SystemHost(), app_dir()
    require_own_names(folder)
    listeners = load_functions(settings.listeners, "LISTENERS", folder)
    hub = configure(settings, worker=None, rotates=True, now=host.clock.now, listeners=listeners)
    try:
        if links := service_links():
            hub.emit(VariablesIgnored(links))
        for one in unlisted(folder, settings.tasks_xml_file):
            hub.emit(TaskUnlisted(TaskName(one.class_name), one.file, settings.tasks_xml_file))
        with beside(settings, sqs_port):
            for notice in notices(loaded):
                hub.emit(notice)
            work = _run(settings, hub, host, folder, drain, for_s)
            try:
                run_loop(work)
            finally:
                work.close()  # where the loop could not begin: it would be reported as never awaited
    finally:
        hub.close()
    return 0


async def _run(settings: Settings, hub: Hub, host: Host, folder: Path, drains: bool, for_s: float | None) -> None:
    broker = host.open_broker(settings.broker_url, hub.emit, folder)
    ledger = host.open_ledger(settings.ledger_url, folder)
    try:
        await Supervisor(settings, broker, ledger, hub, host, folder).run(drains=drains, for_s=for_s)
    finally:
        await broker.close()
        await ledger.close()
