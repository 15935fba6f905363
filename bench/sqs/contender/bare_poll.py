"""`python bare_poll.py QUEUE FILE`: a bare long poll on asyncio and uvloop with a signature of its own.

The shortest loop that Amazon SQS would answer: one connection, receive 10, write how late each message is, delete 10.
It verifies no checksum, survives no fault and starts no task. Bodies begin with the monotonic time in nanoseconds at
which they were sent.
"""

import asyncio
import hashlib
import hmac
import json
import os
import sys
import time
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

import uvloop

REGION = os.environ["AWS_REGION"]
SIGNED = "content-type;host;x-amz-date;x-amz-target"


def head(host: str, action: str, body: bytes) -> bytes:
    """Request line and headers, signed by AWS Signature Version 4."""
    now = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    scope = f"{now[:8]}/{REGION}/sqs/aws4_request"
    names = f"content-type:application/x-amz-json-1.0\nhost:{host}\nx-amz-date:{now}\nx-amz-target:AmazonSQS.{action}\n"
    canonical = f"POST\n/\n\n{names}\n{SIGNED}\n{hashlib.sha256(body).hexdigest()}"
    text = f"AWS4-HMAC-SHA256\n{now}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = f"AWS4{os.environ['AWS_SECRET_ACCESS_KEY']}".encode()
    for part in (now[:8], REGION, "sqs", "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.digest(key, text.encode(), "sha256").hex()
    lines = names.replace("\n", "\r\n")
    return (
        f"POST / HTTP/1.1\r\n{lines}content-length: {len(body)}\r\nauthorization: AWS4-HMAC-SHA256 Credential="
        f"{os.environ['AWS_ACCESS_KEY_ID']}/{scope}, SignedHeaders={SIGNED}, Signature={signature}\r\n\r\n"
    ).encode()


class Connection(asyncio.Protocol):
    """One request at a time."""

    def __init__(self) -> None:
        self._data = b""
        self._answer: asyncio.Future[bytes] | None = None
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._data += data
        before, found, body = self._data.partition(b"\r\n\r\n")
        if not found:
            return
        length = int(before.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        if len(body) >= length and self._answer is not None:
            self._data = b""
            self._answer.set_result(body)

    def ask(self, request: bytes) -> "asyncio.Future[bytes]":
        """The body of the answer."""
        assert self._transport is not None
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return self._answer


async def main(queue: str, file: str) -> None:
    endpoint = os.environ["AWS_ENDPOINT_URL_SQS"]
    at = urlsplit(endpoint)
    _, connection = await asyncio.get_running_loop().create_connection(Connection, at.hostname, at.port)
    url = f"{endpoint}/000000000000/{queue}"

    async def call(action: str, **data: object) -> dict[str, list[dict[str, str]]]:
        body = json.dumps({"QueueUrl": url, **data}).encode()
        answer: dict[str, list[dict[str, str]]] = json.loads(await connection.ask(head(at.netloc, action, body) + body))
        return answer

    with Path(file).open("a", buffering=1) as out:
        while True:
            messages = (await call("ReceiveMessage", MaxNumberOfMessages=10, WaitTimeSeconds=20)).get("Messages", [])
            out.writelines(f"{(time.monotonic_ns() - int(message['Body'][:16])) / 1e9}\n" for message in messages)
            if messages:
                await call(
                    "DeleteMessageBatch",
                    Entries=[{"Id": str(at), "ReceiptHandle": one["ReceiptHandle"]} for at, one in enumerate(messages)],
                )


if __name__ == "__main__":
    uvloop.run(main(*sys.argv[1:]))
