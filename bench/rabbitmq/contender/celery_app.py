"""Celery with quorum queues, confirms and late acknowledgements; ten threads."""

import sys

from celery import Celery
from count import QUEUE, TOTAL, URL, handled

app = Celery("bench", broker=URL)
app.conf.update(
    task_default_queue=QUEUE, task_default_queue_type="quorum", worker_detect_quorum_queues=True, task_acks_late=True,
    broker_transport_options={"confirm_publish": True}, task_ignore_result=True, worker_prefetch_multiplier=30,
    worker_send_task_events=False, worker_hijack_root_logger=False,
)  # fmt: skip


@app.task(name="noop")
def noop(text: str) -> None:  # noqa: ARG001 - what is sent
    handled()


if __name__ == "__main__":
    if sys.argv[1] == "seed":
        with app.producer_pool.acquire() as producer:
            for _ in range(TOTAL):
                noop.apply_async(("x" * 250,), producer=producer)
    else:
        options = ["--pool=threads", "--concurrency=10", "--without-gossip", "--without-mingle", "--without-heartbeat"]
        app.worker_main(["worker", *options, "--loglevel=ERROR"])
