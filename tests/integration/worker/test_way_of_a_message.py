"""ARCHITECTURE.md says through which files a good message passes. This is the run that says so."""

import asyncio
import re
import sys
from pathlib import Path

from mulligan.core.event import MessageDone
from tests.integration.worker.service import Recording, task

ROOT = Path(__file__).resolve().parents[3]
STAGES = ("poller", "intake", "claims", "dispatcher", "runner", "recorder", "settler")
"""The files that a message is handed to. What they ask meanwhile (capacity, lease table) answers and is left."""


class Way:
    """Which functions of the stages are called from another module, in order."""

    def __init__(self):
        self.steps = []
        self._seen = {}

    def __call__(self, frame, event, _):
        file, caller = frame.f_code.co_filename, frame.f_back.f_code.co_filename if frame.f_back else ""
        path = Path(file)
        if event != "call" or path.parent.name != "pipeline" or path.stem not in STAGES or id(frame) in self._seen:
            return
        self._seen[id(frame)] = frame  # kept, so that its id stays its own
        if (caller != file or frame.f_back.f_code.co_name == "_handle") and not frame.f_code.co_name.startswith("<"):
            self.steps.append((path.stem, frame.f_code.co_qualname))


def committed():
    text = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
    _, _, part = text.partition("<!-- the way of a good message -->")
    rows, _, _ = part.partition("<!-- end of the way -->")
    return re.findall(r"^\| \d+ \| `(\w+)` \| ((?:`[\w.]+`(?:, )?)+) \|", rows, re.MULTILINE)


async def test_good_message_passes_through_the_files_that_the_page_says_and_at_most_seven(service):
    worker = service.worker(task("One", Recording()), stages=(0,), starts=False)
    way = Way()
    await service.send("hello")
    worker.start()
    sys.setprofile(way)
    try:
        await service.until(lambda: service.told(MessageDone) and not worker.table.used)
    finally:
        sys.setprofile(None)
    await asyncio.sleep(0)

    entered = []
    for stage, function in way.steps:
        if stage == "poller" and entered:
            continue  # the next receive
        if entered and entered[-1][0] == stage:
            entered[-1][1].append(function)
        else:
            entered.append((stage, [function]))

    assert [(stage, functions.replace("`", "").split(", ")) for stage, functions in committed()] == [
        (stage, list(dict.fromkeys(functions))) for stage, functions in entered
    ]
    assert len({stage for stage, _ in entered}) <= 7
