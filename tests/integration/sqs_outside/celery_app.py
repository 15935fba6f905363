"""A small Celery application, as anybody would write it; started in an environment of its own by test_celery.py.

SQS_URL: the server. OUTPUT: the file to which a line is written for each job done.
"""

import os
from pathlib import Path

from celery import Celery

app = Celery("shop", broker="sqs://mulligan:mulligan@")
app.conf.update(
    broker_transport_options={
        "region": "eu-south-2",
        "is_secure": False,
        "queue_name_prefix": "celery-",
        "wait_time_seconds": 1,
        "visibility_timeout": 30,
        "predefined_queues": {},
    },
    task_ignore_result=True,
    worker_hijack_root_logger=False,
    worker_enable_remote_control=False,
    task_acks_late=True,
)


@app.task(bind=True, max_retries=1)
def order(self, number):
    """Odd ones fail once, and are put off by a second."""
    if number % 2 and self.request.retries == 0:
        raise self.retry(countdown=1)
    with Path(os.environ["OUTPUT"]).open("a", encoding="utf-8") as out:
        out.write(f"{number}\n")
