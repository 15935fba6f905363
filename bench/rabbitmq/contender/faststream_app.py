"""FastStream with a quorum queue; acknowledged on success."""

import asyncio
import sys

import uvloop
from count import QUEUE, TOTAL, URL, handled
from faststream import FastStream
from faststream.rabbit import Channel, QueueType, RabbitBroker, RabbitQueue

broker = RabbitBroker(URL, default_channel=Channel(prefetch_count=300), logger=None)
queue = RabbitQueue(QUEUE, queue_type=QueueType.QUORUM, durable=True)


async def main(mode: str) -> None:
    if mode == "seed":
        await broker.start()
        await broker.declare_queue(queue)
        for _ in range(0, TOTAL, 500):
            await asyncio.gather(*(broker.publish({"text": "x" * 250}, queue, persist=True) for _ in range(500)))
        await broker.stop()
        return

    @broker.subscriber(queue)
    async def noop(body: dict[str, str]) -> None:  # noqa: ARG001 - its name and type say what is decoded
        handled()

    await FastStream(broker, logger=None).run()


uvloop.run(main(sys.argv[1]))
