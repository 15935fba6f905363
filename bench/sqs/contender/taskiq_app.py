"""`python taskiq_app.py send QUEUE` puts one task on the queue; `... run QUEUE` works, in one process.

A receiver in this process is what `taskiq worker --workers 1` runs in its child, without the parent.
"""

import asyncio
import logging
import os
import sys

from taskiq.receiver import Receiver
from taskiq_aio_sqs import SQSBroker

broker = SQSBroker(
    sys.argv[2],
    endpoint_url=os.environ["AWS_ENDPOINT_URL_SQS"],
    aws_access_key_id="bench",
    aws_secret_access_key="bench",
    wait_time_seconds=20,
    max_number_of_messages=10,
    visibility_timeout=60,
)


@broker.task(task_name="noop")
async def noop(_text: str) -> None:
    return None


async def main() -> None:
    if sys.argv[1] == "send":
        await broker.startup()
        await noop.kiq("x" * 300)
        await broker.shutdown()
        return
    broker.is_worker_process = True
    receiver = Receiver(broker, max_async_tasks=100, max_prefetch=100, run_startup=True)
    await receiver.listen(asyncio.Event())


if __name__ == "__main__":
    import uvloop

    logging.basicConfig(level=logging.WARNING)
    uvloop.run(main())
