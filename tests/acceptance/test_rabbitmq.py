"""The whole application on a real RabbitMQ, as a user starts it."""

import pika
import pytest

POISON = """
    class Work(Task):
        max_attempts = 5

        async def run(self, data, context: TaskContext):
            with effect(data, context):
                await asyncio.sleep(0.05)
                if data == "poison":
                    os._exit(0)

    class Alert(Task):
        async def run(self, data, context: TaskContext):
            with effect(data, context):
                pass
"""
SLOW = """
    class Slow(Task):
        async def run(self, data, context: TaskContext):
            with effect(data, context):
                await asyncio.sleep(8)
"""


@pytest.fixture
def url(rabbitmq) -> str:
    return rabbitmq.url(rabbitmq.new_vhost())


@pytest.fixture
def channel(url):
    connection = pika.BlockingConnection(pika.URLParameters(url))
    yield connection.channel()
    connection.close()


def ready(channel, queue="msgparser-requests-q") -> int:
    return channel.queue_declare(queue, passive=True).method.message_count


def test_messages_of_the_original_publishers_pass_are_retried_and_raise_the_alert(samples, url, channel, until):
    samples.settings["BROKER_URL"] = url
    system = samples.start().until_up()

    for body in ("s1", "fp1", "fo1"):  # with nothing but a body, as the original's publisher sent them
        channel.basic_publish("msgparser-requests-xchange", "msgparser-requests", body)
    until(lambda: system.log().count(" is done:") == 2 and "default tasks have ended" in system.log(), "all have ended")
    system.terminate()

    assert system.wait() == 0
    assert samples.status()["dead"]["ready"] == 1
    (letter,) = samples.dead()
    assert letter["failed"] == ["Task3"]


def test_message_that_kills_its_worker_is_buried_after_three_starts_and_its_neighbours_are_done(app, url):
    app.settings |= {"BROKER_URL": url, "LEASE_S": 5}
    app.task("work", POISON)
    app.manifest("work Work", "work Alert default")
    good = [f"good-{number}" for number in range(20)]
    app.send([*good[:5], "poison", *good[5:]])

    app.drain()

    assert app.count("Work", "start", "poison") == 3
    assert {one.body for one in app.effects("Work", "end")} == set(good)
    assert [one.body for one in app.effects("Alert", "end")] == ["poison"]
    assert len(app.dead()) == 1


def test_sigterm_gives_back_what_was_sent_ahead_at_once_and_lets_running_tasks_end(app, url, channel, until):
    app.settings |= {
        "BROKER_URL": url, "POOL_SIZE": 1, "CONCURRENCY": 5, "NO_OF_REQUESTS_CONSUMERS": 1,
        "NO_OF_REJECTS_CONSUMERS": 1, "SHUTDOWN_S": 30,
    }  # fmt: skip
    app.task("slow", SLOW)
    app.manifest("slow Slow")
    app.send([str(number) for number in range(40)])
    system = app.start().until_up()
    until(lambda: app.count("Slow", "start") >= 5, "five are in flight")

    system.terminate()
    until(lambda: ready(channel) >= 35, "all but those that run are back")
    running = app.count("Slow", "start") - app.count("Slow", "end")

    assert running == 5  # so the messages were back before the process had ended
    assert system.wait() == 0
    assert app.count("Slow", "end") == 5
    assert ready(channel) == 35
