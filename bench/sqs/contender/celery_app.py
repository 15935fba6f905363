"""`python celery_app.py send QUEUE` puts one task on the queue; `... run QUEUE POOL CONCURRENCY` works."""

import os
import sys
from urllib.parse import urlsplit

from celery import Celery

QUEUE = sys.argv[2]
address = urlsplit(os.environ["AWS_ENDPOINT_URL_SQS"]).netloc
app = Celery("bench", broker=f"sqs://bench:bench@{address}")
app.conf.update(
    task_default_queue=QUEUE,
    task_ignore_result=True,
    task_acks_late=True,
    worker_prefetch_multiplier=100,
    worker_hijack_root_logger=False,
    worker_send_task_events=False,
    worker_enable_remote_control=False,
    broker_connection_retry_on_startup=True,
    broker_transport_options={
        "region": "us-east-1",
        "is_secure": False,
        "predefined_queues": {
            QUEUE: {
                "url": f"{os.environ['AWS_ENDPOINT_URL_SQS']}/000000000000/{QUEUE}",
                "access_key_id": "bench",
                "secret_access_key": "bench",
            }
        },
        "polling_interval": 0.01,
        "wait_time_seconds": 20,
        "visibility_timeout": 60,
    },
)


@app.task(name="bench.noop")
def noop(_text: str) -> None:
    return None


if __name__ == "__main__":
    if sys.argv[1] == "send":
        noop.delay("x" * 300)
    else:
        app.worker_main(
            [
                "worker", "--loglevel=ERROR", f"--pool={sys.argv[3]}", f"--concurrency={sys.argv[4]}",
                "--without-gossip", "--without-mingle", "--without-heartbeat",
            ]
        )  # fmt: skip
