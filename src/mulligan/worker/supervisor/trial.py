"""A start on trial: worker processes that load the tasks as in a real one, two at once, and end before they begin.

What a task file does when it is imported (end the process, bind a port, lower a limit) shows only in processes that are
started as the real ones are.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from mulligan.settings.model import Settings
from mulligan.worker.ipc.channel import (
    Channel,
    Drained,
    OtherVersion,
    Problems,
    Ready,
    Setup,
    SocketChannel,
    Stop,
    from_worker,
)
from mulligan.worker.ipc.child import HOOKS_S, Child, ends_with, spawn
from mulligan.worker.ipc.exits import describe_exit
from mulligan.worker.ipc.lease_table import LeaseTable

__all__ = ["trial"]

_SLOTS = 1


async def trial(settings: Settings, folder: Path) -> Sequence[str]:
    """Problems that keep workers from loading the tasks; none when they can."""
    count = min(2, settings.pool_size)
    problems = await asyncio.gather(*(_load(number, settings, folder) for number in range(count)))
    return list(dict.fromkeys(problem for some in problems for problem in some))


async def _load(number: int, settings: Settings, folder: Path) -> Sequence[str]:
    table = LeaseTable.create(_SLOTS)
    try:
        ours, process = spawn("mulligan.worker.process.worker_process", table.descriptor, folder=folder)
        channel = await SocketChannel.open(ours, from_worker)
        watcher = asyncio.ensure_future(ends_with(process, channel))
        try:
            # broker and ledger are looked at elsewhere: a URL that can't be read is not a fault of a task's file
            chosen = replace(settings.for_worker(folder), broker_url="memory://", ledger_url="none")
            channel.send(Setup(number, chosen, 1, 1, _SLOTS, str(folder)))
            return await _verdict(channel, process)
        finally:
            channel.close()
            process.kill()
            await process.wait()
            watcher.cancel()
            await process.end_leftovers()
    finally:
        table.close()


async def _verdict(channel: Channel[object], process: Child) -> Sequence[str]:
    match await channel.receive():
        case Ready():
            channel.send(Stop(0.0))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(HOOKS_S + 1.0):
                    while not isinstance(await channel.receive(), Drained | None):
                        pass
                    await process.wait()
            return ()
        case Problems(problems):
            return problems
        case OtherVersion(other):
            return (f"the installation is being changed: a new process found {other}. Look again when that is done.",)
        case _:
            how = describe_exit(await process.wait())
            return (
                f"a worker that was to load the tasks died meanwhile ({how}). Import the files of the folder tasks"
                " one by one to find the one that does it.",
            )
