"""RabbitMQ behind the seam `brokers.base`. Needs the extra `rabbitmq`.

`amqp` (the client, which knows nothing of mulligan) -> `header` -> `codec`, `window`, `publisher` -> `fetcher` ->
`broker`. Beside them `topology` says which exchanges and queues there are, `provision` makes them, `error` translates
the client's errors, and `report` looks at the server for `mulligan check`.
"""

from importlib.util import find_spec
from pathlib import Path

from mulligan.brokers.base import Broker, Clock, Emit
from mulligan.core.error import ConfigurationError
from mulligan.core.extra import install_hint

__all__ = ["open_rabbitmq"]


def open_rabbitmq(url: str, *, clock: Clock, emit: Emit, base_dir: Path) -> Broker:
    """The broker of `amqp://...` or `amqps://...`; nothing is connected yet. Raises ConfigurationError.

    base_dir: of relative paths in the URL.
    """
    if find_spec("pamqp") is None:
        raise ConfigurationError(
            [f"BROKER_URL asks for RabbitMQ, and pamqp is not installed: {install_hint('rabbitmq')}"]
        )
    from mulligan.brokers.rabbitmq.broker import RabbitBroker

    return RabbitBroker(url, clock=clock, emit=emit, base_dir=base_dir)
