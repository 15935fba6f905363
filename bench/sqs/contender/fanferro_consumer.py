"""`python fanferro_consumer.py QUEUE CONCURRENCY POLLERS PREFETCH [WAIT_S]`: a no-op handler (or one that waits)."""

import asyncio
import os
import sys

import fanferro

queue, concurrency, pollers, prefetch, *rest = sys.argv[1:]
wait_s = float(rest[0]) if rest else 0.0
client = fanferro.Client(
    endpoint_url=os.environ["AWS_ENDPOINT_URL_SQS"],
    account_id="000000000000",
    provisioning=fanferro.Provisioning.assume(),
    auto_provision=False,
)


async def handle(_message: fanferro.Message[bytes]) -> None:
    if wait_s:
        await asyncio.sleep(wait_s)


consumer = client.consumer(
    queue,
    handle,
    concurrency=int(concurrency),
    pollers=int(pollers),
    prefetch=int(prefetch),
    visibility_timeout=60,
)


async def main() -> None:
    async with client:
        await consumer.run()


if __name__ == "__main__":
    try:
        import uvloop
    except ImportError:
        asyncio.run(main())
    else:
        uvloop.run(main())
