"""From `BROKER_URL` to a broker that is not open yet."""

from pathlib import Path

from mulligan.brokers.base import Broker, Clock, Emit
from mulligan.core.error import ConfigurationError
from mulligan.core.secret import redacted_url
from mulligan.storage import url as urls

__all__ = ["open_broker"]

KNOWN = ("sqlite", "sqs", "amqp", "amqps")
UNLISTED = ("memory",)  # of one process, and an application has several


def open_broker(url: str, *, clock: Clock, emit: Emit, base_dir: Path) -> Broker:
    """The broker that the URL names; nothing is opened before its `declare`. Raises ConfigurationError.

    `sqlite:///var/mulligan.db` is below base_dir, `sqlite:////abs/mulligan.db` absolute, `memory://` one process alone,
    `sqs://eu-west-1` Amazon SQS (docs/sqs.md), `amqp://user:password@host/vhost` RabbitMQ (docs/rabbitmq.md).
    """
    match urls.scheme_of(url, "BROKER_URL", KNOWN, unlisted=UNLISTED):
        case "sqlite":
            from mulligan.brokers.sqlite import SqliteBroker

            return SqliteBroker(urls.sqlite_path(url, "BROKER_URL", base_dir), clock)
        case "memory":
            from mulligan.brokers.memory import MemoryBroker

            return MemoryBroker(clock)
        case "sqs":
            from mulligan.brokers.sqs import open_sqs

            return open_sqs(url, clock=clock, emit=emit)
        case "amqp" | "amqps":
            from mulligan.brokers.rabbitmq import open_rabbitmq

            return open_rabbitmq(url, clock=clock, emit=emit, base_dir=base_dir)
    raise ConfigurationError([f"BROKER_URL: {redacted_url(url)!r} is not available here."])
