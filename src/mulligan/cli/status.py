"""`mulligan status`: how full the three queues are."""

import asyncio
import json

from mulligan.cli.output import age, table, write
from mulligan.cli.session import Session, run
from mulligan.core.delivery import Depth
from mulligan.core.message import QueueName

__all__ = ["status"]

_KINDS = ("requests", "rejects", "dead")


def status(*, as_json: bool) -> None:
    """Print the depth of each queue and the age of its oldest message."""
    found = run(_depths)
    write(_json(found) if as_json else _table(found))


Found = dict[str, tuple[QueueName, Depth]]


async def _depths(session: Session) -> Found:
    names = [session.queue(kind) for kind in _KINDS]
    depths = await asyncio.gather(*(session.broker.depth(name) for name in names))
    return dict(zip(_KINDS, zip(names, depths, strict=True), strict=True))


def _json(found: Found) -> str:
    queues = {
        kind: {
            "name": name,
            "ready": depth.ready,
            "delayed": depth.delayed,
            "in_flight": depth.in_flight,
            "oldest_age_s": depth.oldest_age_s,
        }
        for kind, (name, depth) in found.items()
    }
    return json.dumps({"queues": queues}, indent=2)


def _table(found: Found) -> str:
    rows = [["", "queue", "ready", "delayed", "in flight", "oldest"]]
    for kind, (name, depth) in found.items():
        about = "" if depth.is_exact else "~"
        counts = [f"{about}{number:,}" for number in (depth.ready, depth.delayed, depth.in_flight)]
        rows.append([kind, name, *counts, age(depth.oldest_age_s)])
    return table(rows, right=(2, 3, 4, 5))
