"""CPU of one receive(10) + delete batch(10) for several HTTP stacks, on one machine in one run.

    python bench/sqs_http/measure.py [CYCLES]

Prints microseconds of the client's CPU a cycle; the server (stub.py) is another process. Stacks that are not installed
are left out. aiohttp and pyreqwest get the signer and the codec of this project, so the difference is the transport.
"""

import hashlib
import importlib.util
import subprocess
import sys
import time
from pathlib import Path

import uvloop

from mulligan.brokers.sqs import codec, http
from mulligan.brokers.sqs.sign import Keys, Signer

QUEUE = "http://127.0.0.1/000000000000/q"
KEYS = Keys("AKIDEXAMPLE", "secret")


async def ours(port: int, cycles: int) -> None:
    pool = http.Pool(http.Endpoint("127.0.0.1", port, False))
    signer = Signer(KEYS, region="eu-west-1", host=f"127.0.0.1:{port}")
    receive = codec.receive_request(QUEUE, 10, 20, 60)

    async def call(action: str, body: bytes) -> bytes:
        head = signer.head(action, hashlib.sha256(body).hexdigest(), len(body), time.time())
        return (await pool.exchange(head + body, 25.0)).body

    await cycle(call, receive, cycles)
    await pool.close()


async def cycle(call, receive: bytes, cycles: int) -> None:
    for _ in range(cycles):
        messages, _ = codec.read_receive(await call("ReceiveMessage", receive))
        body = codec.delete_request(QUEUE, [item.receipt_handle for item in messages])
        _, bad = codec.read_batch(await call("DeleteMessageBatch", body), 10)
        assert bad == 0


async def with_aiohttp(port: int, cycles: int) -> None:
    import aiohttp

    signer = Signer(KEYS, region="eu-west-1", host=f"127.0.0.1:{port}")
    async with aiohttp.ClientSession(auto_decompress=False) as session:

        async def call(action: str, body: bytes) -> bytes:
            async with session.post(f"http://127.0.0.1:{port}/", data=body, headers=headers(signer, action, body)) as r:
                return await r.read()

        await cycle(call, codec.receive_request(QUEUE, 10, 20, 60), cycles)


async def with_pyreqwest(port: int, cycles: int) -> None:
    from pyreqwest.client import ClientBuilder

    signer = Signer(KEYS, region="eu-west-1", host=f"127.0.0.1:{port}")
    async with ClientBuilder().build() as client:

        async def call(action: str, body: bytes) -> bytes:
            request = client.post(f"http://127.0.0.1:{port}/").headers(headers(signer, action, body)).body_bytes(body)
            response = await request.build().send()
            return bytes(await response.bytes())

        await cycle(call, codec.receive_request(QUEUE, 10, 20, 60), cycles)


def headers(signer: Signer, action: str, body: bytes) -> dict[str, str]:
    head = signer.head(action, hashlib.sha256(body).hexdigest(), len(body), time.time()).decode()
    pairs = (line.partition(": ") for line in head.split("\r\n")[2:] if line)
    return {name: text for name, _, text in pairs if name != "content-length"}


async def with_broker(port: int, cycles: int) -> None:
    from mulligan.brokers.sqs.broker import SqsBroker
    from mulligan.clock import SystemClock
    from mulligan.core.message import QueueName

    queue = QueueName("q")
    broker = SqsBroker(f"sqs://eu-west-1?endpoint=http://127.0.0.1:{port}", clock=SystemClock(), emit=print)
    for _ in range(cycles):
        deliveries = await broker.receive(queue, 10, wait_s=20.0, lease_s=60.0)
        assert await broker.ack(queue, [item.receipt for item in deliveries]) == [None] * 10
    await broker.close()


def with_boto3(port: int, cycles: int) -> None:
    import boto3

    client = boto3.client(
        "sqs",
        region_name="eu-west-1",
        endpoint_url=f"http://127.0.0.1:{port}",
        aws_access_key_id=KEYS.access_key,
        aws_secret_access_key=KEYS.secret_key,
    )
    for _ in range(cycles):
        messages = client.receive_message(
            QueueUrl=QUEUE, MaxNumberOfMessages=10, WaitTimeSeconds=20, VisibilityTimeout=60, AttributeNames=["All"]
        )["Messages"]
        client.delete_message_batch(
            QueueUrl=QUEUE,
            Entries=[{"Id": str(at), "ReceiptHandle": item["ReceiptHandle"]} for at, item in enumerate(messages)],
        )


def measured(run, cycles: int) -> float:
    run(max(50, cycles // 20))
    began = time.process_time()
    run(cycles)
    return (time.process_time() - began) / cycles * 1e6


def main() -> None:
    cycles = int(sys.argv[1]) if len(sys.argv) > 1 else 5000
    stub = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("stub.py"))], stdout=subprocess.PIPE, text=True
    )
    try:
        assert stub.stdout is not None
        port = int(stub.stdout.readline())
        rows = {"own protocol + httptools": lambda n: uvloop.run(ours(port, n))}
        if importlib.util.find_spec("mulligan.brokers.sqs.broker"):
            rows["the whole SqsBroker"] = lambda n: uvloop.run(with_broker(port, n))
        for name, run in (("pyreqwest", with_pyreqwest), ("aiohttp", with_aiohttp)):
            if importlib.util.find_spec(name):
                rows[name] = lambda n, run=run: uvloop.run(run(port, n))
        figures = {name: sorted(measured(run, cycles) for _ in range(3))[1] for name, run in rows.items()}
        if importlib.util.find_spec("boto3"):
            figures["boto3"] = measured(lambda n: with_boto3(port, n), cycles // 10)
        for name, figure in figures.items():
            ratio = f"{figures['boto3'] / figure:5.1f}x less than boto3" if "boto3" in figures else ""
            print(f"{name:28} {figure:8.0f} us a cycle   {ratio}")
    finally:
        stub.terminate()


if __name__ == "__main__":
    main()
