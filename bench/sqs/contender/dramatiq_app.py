"""`python dramatiq_app.py send QUEUE` puts one message on the queue; `... run QUEUE THREADS` works, in one process.

A worker in this process is what `dramatiq --processes 1` runs in its child, without the parent.
"""

import logging
import os
import sys
import time

import dramatiq
from dramatiq_sqs import SQSBroker

QUEUE = sys.argv[2]
# the prefetch of a worker is two messages a thread unless the environment says otherwise; a receive takes ten at most
os.environ.setdefault("dramatiq_queue_prefetch", "10")
broker = SQSBroker(middleware=[])
dramatiq.set_broker(broker)


@dramatiq.actor(queue_name=QUEUE)
def noop(_text: str) -> None:
    return None


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    if sys.argv[1] == "send":
        noop.send("x" * 300)
    else:
        dramatiq.Worker(broker, worker_threads=int(sys.argv[3])).start()
        while True:
            time.sleep(60)
