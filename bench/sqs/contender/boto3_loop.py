"""`python boto3_loop.py QUEUE batched|single|original`: the loops that people write.

batched: receive 10, delete 10. single: receive 1, delete 1. original: as the program before did it, the queue looked
up by its name before every call.
"""

import sys

import boto3


def handle(body: str) -> None:
    pass


def main(queue: str, kind: str) -> None:
    sqs = boto3.client("sqs")
    url = sqs.get_queue_url(QueueName=queue)["QueueUrl"]
    count = 10 if kind == "batched" else 1
    while True:
        if kind == "original":
            url = sqs.get_queue_url(QueueName=queue)["QueueUrl"]
        answer = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=count, WaitTimeSeconds=20)
        messages = answer.get("Messages", [])
        for message in messages:
            handle(message["Body"])
        if not messages:
            continue
        if kind == "batched":
            sqs.delete_message_batch(
                QueueUrl=url,
                Entries=[
                    {"Id": str(at), "ReceiptHandle": message["ReceiptHandle"]} for at, message in enumerate(messages)
                ],
            )
        else:
            for message in messages:
                sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])


if __name__ == "__main__":
    main(*sys.argv[1:])
