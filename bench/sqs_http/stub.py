"""A stand-in for SQS that answers from memory, for measuring clients: no queue, no checks, counts nothing.

python bench/sqs_http/stub.py          prints its port, then serves until it is ended
"""

import asyncio
import hashlib
import json

import uvloop

BODY = "x" * 300


def receive_answer() -> bytes:
    md5 = hashlib.md5(BODY.encode()).hexdigest()
    system = {"SentTimestamp": "1700000000000", "ApproximateReceiveCount": "1"}
    return json.dumps(
        {
            "Messages": [
                {
                    "MessageId": f"0e9c2f0a-7f2e-4c8e-9f44-2f9a7d3c{at:04d}",
                    "ReceiptHandle": f"AQEB{at:04d}" + "k" * 340,
                    "Body": BODY,
                    "MD5OfBody": md5,
                    "Attributes": system,
                }
                for at in range(10)
            ]
        }
    ).encode()


def framed(body: bytes) -> bytes:
    return (
        b"HTTP/1.1 200 OK\r\nx-amzn-RequestId: 8f4d1f6e-8f0b-5a8e-9b8d-430d5f6f8d11\r\n"
        b"Date: Tue, 14 Nov 2023 22:13:20 GMT\r\nContent-Type: application/x-amz-json-1.0\r\n"
        b"Content-Length: %d\r\nconnection: keep-alive\r\n\r\n" % len(body)
    ) + body


ANSWERS = {
    b"getqueueurl": framed(json.dumps({"QueueUrl": "http://127.0.0.1/000000000000/q"}).encode()),
    b"receivemessage": framed(receive_answer()),
    b"deletemessagebatch": framed(
        json.dumps({"Successful": [{"Id": str(at)} for at in range(10)], "Failed": []}).encode()
    ),
}


class Stub(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport
        self.data = b""

    def data_received(self, data):
        self.data += data
        while (end := self.data.find(b"\r\n\r\n")) >= 0:
            head = self.data[:end].lower()
            size = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)
            if len(self.data) < end + 4 + size:
                return
            self.data = self.data[end + 4 + size :]
            action = head.partition(b"amazonsqs.")[2].partition(b"\r\n")[0]
            self.transport.write(ANSWERS[action])


async def main() -> None:
    server = await asyncio.get_running_loop().create_server(Stub, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
