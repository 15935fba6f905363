"""`python boto3_poll.py QUEUE FILE`: a long poll by boto3: receive 10, write how late each message is, delete 10.

What one writes by hand. Bodies are those of `bare_poll.py`.
"""

import sys
import time
from pathlib import Path

import boto3


def main(queue: str, file: str) -> None:
    sqs = boto3.client("sqs")
    url = sqs.get_queue_url(QueueName=queue)["QueueUrl"]
    with Path(file).open("a", buffering=1) as out:
        while True:
            answer = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=20)
            messages = answer.get("Messages", [])
            out.writelines(f"{(time.monotonic_ns() - int(message['Body'][:16])) / 1e9}\n" for message in messages)
            if messages:
                sqs.delete_message_batch(
                    QueueUrl=url,
                    Entries=[{"Id": str(at), "ReceiptHandle": one["ReceiptHandle"]} for at, one in enumerate(messages)],
                )


if __name__ == "__main__":
    main(*sys.argv[1:])
