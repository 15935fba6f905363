"""A requests queue that is named by its ARN: worked on by the whole system, under its short name."""

import json

from tests.acceptance.harness.sqs import REGION

CODE = """
    class Only(Task):
        async def run(self, data, context: TaskContext):
            with effect(data, context):
                if context.attempt == 1:
                    raise RuntimeError("once")
"""


def test_system_works_on_a_queue_that_is_named_by_its_arn_and_calls_it_by_its_name(app, sqs):
    client = sqs.client()
    client.create_queue(QueueName="orders")
    client.send_message(QueueUrl=client.get_queue_url(QueueName="orders")["QueueUrl"], MessageBody="s1")
    client.close()
    sqs.point(app)
    app.task("work", CODE)
    app.manifest("work Only")
    app.settings |= {
        "REQUESTS_QUEUE": f"arn:aws:sqs:{REGION}:000000000000:orders",
        "POOL_SIZE": 1,
        "TASK_BACKOFF_S": 0.1,
        "LOG_LEVEL": "INFO",
    }
    set_up = app.cli("setup")

    checked = app.cli("check")
    system = app.drain()
    policy = json.loads(app.cli("iam-policy", "--role", "producer").stdout)

    assert set_up.returncode == checked.returncode == 0, set_up.stderr + checked.stdout
    assert app.count("Only", "end") == 1
    assert app.count("Only", "failed") == 1
    assert "arn:aws" not in system.log()
    assert "orders" in system.log()
    assert policy["Statement"][0]["Resource"] == [f"arn:aws:sqs:{REGION}:000000000000:orders"]
