"""A bare loop: what consuming costs at least with aio-pika."""

import asyncio
import sys

import aio_pika
import uvloop
from count import QUEUE, TOTAL, URL, handled


async def main(mode: str) -> None:
    connection = await aio_pika.connect(URL)
    channel = await connection.channel()
    await channel.set_qos(prefetch_count=300)
    queue = await channel.declare_queue(QUEUE, durable=True, arguments={"x-queue-type": "quorum"})
    if mode == "seed":
        body = b'{"number": 1, "text": "%s"}' % (b"x" * 250)
        for _ in range(0, TOTAL, 500):
            message = aio_pika.Message(body, delivery_mode=2)
            await asyncio.gather(*(channel.default_exchange.publish(message, QUEUE) for _ in range(500)))
        await connection.close()
        return

    async def take(message: aio_pika.abc.AbstractIncomingMessage) -> None:
        handled()
        await message.ack()

    await queue.consume(take)
    await asyncio.Event().wait()


uvloop.run(main(sys.argv[1]))
