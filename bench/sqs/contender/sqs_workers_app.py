"""`python sqs_workers_app.py send QUEUE` puts one job on the queue; `... run QUEUE` works."""

import logging
import sys

import sqs_workers

environment = sqs_workers.SQSEnv()
queue = environment.queue(sys.argv[2])


@queue.processor("noop")
def noop(_text: str) -> None:
    return None


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    if sys.argv[1] == "send":
        noop.delay(_text="x" * 300)
    else:
        queue.process_queue(wait_second=20)
