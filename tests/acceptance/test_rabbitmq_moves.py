"""An operator moves dead letters on RabbitMQ with a shovel, as its management page does ("Move messages")."""

import json

import pytest

from tests.acceptance.harness.source import GIVES_UP_UNTIL_REPLAYED
from tests.support import rabbitmq as rabbit


@pytest.fixture(scope="module")
def server():
    rabbit.need_rabbitmq()
    with rabbit.running(plugins=("rabbitmq_shovel",)) as running:
        yield running


@pytest.mark.parametrize("target", ["rejects", "requests"])
def test_dead_letter_that_a_shovel_moves_runs_its_failed_task_again_and_no_other(app, until, server, target):
    vhost = server.new_vhost()
    app.task("work", GIVES_UP_UNTIL_REPLAYED)
    app.manifest("work Good", "work Bad")
    app.settings |= {"BROKER_URL": server.url(vhost), "POOL_SIZE": 1, "LOG_LEVEL": "INFO", "SHUTDOWN_S": 2}
    system = app.start().until_up()
    app.send(["order 1"])
    (letter,) = until(app.dead, "the dead letter is there")

    shovel = {
        "src-protocol": "amqp091", "src-uri": server.url(vhost), "src-queue": "msgparser-dead-q",
        "src-delete-after": "queue-length", "dest-protocol": "amqp091", "dest-uri": server.url(vhost),
        "dest-queue": f"msgparser-{target}-q", "dest-add-forward-headers": True,
    }  # fmt: skip
    server.ctl("set_parameter", "-p", vhost, "shovel", "move", json.dumps(shovel))
    app.until_effect("Bad", "end", "order 1")
    until(lambda: not any(app.left().values()), "nothing is left")

    assert (app.count("Good", "start"), app.count("Bad", "start")) == (1, 2)
    assert app.dead() == []
    moved = f"{letter['uid']} was moved to msgparser-{target}-q from outside: replayed, generation 1"
    assert [line for line in system.log().splitlines() if moved in line and "info" in line.lower()]
