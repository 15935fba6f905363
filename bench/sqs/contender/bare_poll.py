"""`python bare_poll.py QUEUE FILE`: a bare long poll: one connection, receive 10 and write how late each message is.

What nothing can beat: it signs nothing, checks nothing, parses nothing that it doesn't need, and deletes after it has
noted the time. Bodies begin with the monotonic time in nanoseconds at which they were sent.
"""

import http.client
import json
import os
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit


def main(queue: str, file: str) -> None:
    endpoint = os.environ["AWS_ENDPOINT_URL_SQS"]
    connection = http.client.HTTPConnection(urlsplit(endpoint).netloc)
    url = f"{endpoint}/000000000000/{queue}"

    def call(action: str, **data: object) -> dict[str, list[dict[str, str]]]:
        head = {"X-Amz-Target": f"AmazonSQS.{action}", "Content-Type": "application/x-amz-json-1.0"}
        connection.request("POST", "/", json.dumps({"QueueUrl": url, **data}), head)
        return json.loads(connection.getresponse().read())

    with Path(file).open("a", buffering=1) as out:
        while True:
            messages = call("ReceiveMessage", MaxNumberOfMessages=10, WaitTimeSeconds=20).get("Messages", [])
            out.writelines(f"{(time.monotonic_ns() - int(message['Body'][:16])) / 1e9}\n" for message in messages)
            if messages:
                call(
                    "DeleteMessageBatch",
                    Entries=[{"Id": str(at), "ReceiptHandle": one["ReceiptHandle"]} for at, one in enumerate(messages)],
                )


if __name__ == "__main__":
    main(*sys.argv[1:])
