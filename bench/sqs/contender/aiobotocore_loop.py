"""`python aiobotocore_loop.py QUEUE POLLERS`: loops of receive 10, handle, delete 10 side by side."""

import asyncio
import sys

from aiobotocore.session import get_session


async def handle(body: str) -> None:
    pass


async def main(queue: str, pollers: int) -> None:
    async with get_session().create_client("sqs") as sqs:
        url = (await sqs.get_queue_url(QueueName=queue))["QueueUrl"]

        async def loop() -> None:
            while True:
                answer = await sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=20)
                messages = answer.get("Messages", [])
                for message in messages:
                    await handle(message["Body"])
                if messages:
                    await sqs.delete_message_batch(
                        QueueUrl=url,
                        Entries=[
                            {"Id": str(at), "ReceiptHandle": message["ReceiptHandle"]}
                            for at, message in enumerate(messages)
                        ],
                    )

        await asyncio.gather(*(loop() for _ in range(pollers)))


if __name__ == "__main__":
    import uvloop

    uvloop.run(main(sys.argv[1], int(sys.argv[2])))
