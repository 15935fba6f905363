"""Dramatiq with quorum queues and confirms; one process of eight threads."""

import sys

import dramatiq
from count import QUEUE, TOTAL, URL, handled
from dramatiq.brokers.rabbitmq import RabbitmqBroker


class QuorumBroker(RabbitmqBroker):
    def _build_queue_arguments(self, queue_name):
        return {**super()._build_queue_arguments(queue_name), "x-queue-type": "quorum"}


broker = QuorumBroker(url=URL, confirm_delivery=True, middleware=[])
dramatiq.set_broker(broker)


@dramatiq.actor(queue_name=QUEUE)
def noop(text: str) -> None:  # noqa: ARG001 - what is sent
    handled()


if __name__ == "__main__":
    if sys.argv[1] == "seed":
        for _ in range(TOTAL):
            noop.send("x" * 250)
    else:
        worker = dramatiq.Worker(broker, worker_threads=8)
        worker.start()
        worker.join()
        import time

        time.sleep(3600)
