"""taskiq-aio-pika with a quorum queue; acknowledged when executed, 100 tasks at once."""

import asyncio
import sys

import uvloop
from count import QUEUE, TOTAL, URL, handled
from taskiq import InMemoryBroker  # noqa: F401 - taskiq has to be whole before its broker is made
from taskiq.acks import AcknowledgeType
from taskiq.api import run_receiver_task
from taskiq_aio_pika import AioPikaBroker
from taskiq_aio_pika.queue import Queue, QueueType

broker = AioPikaBroker(URL, qos=300, task_queues=[Queue(name=QUEUE, type=QueueType.QUORUM)])


@broker.task("noop")
async def noop(text: str) -> None:  # noqa: ARG001 - what is sent
    handled()


async def main(mode: str) -> None:
    if mode == "seed":
        await broker.startup()
        for _ in range(0, TOTAL, 500):
            await asyncio.gather(*(noop.kiq("x" * 250) for _ in range(500)))
        await broker.shutdown()
        return
    broker.is_worker_process = True
    await run_receiver_task(broker, max_async_tasks=100, run_startup=True, ack_time=AcknowledgeType.WHEN_EXECUTED)


uvloop.run(main(sys.argv[1]))
