"""Amazon SQS behind the seam `brokers.base`. Needs the extra `sqs`.

`sign` -> `codec` -> `http` -> `client` -> `batch`, `lookup` -> `provision` -> `broker`: each knows those before it.
`abandoned` releases what cancelled receives get. botocore provides credentials, region and endpoint (`environment`,
`credentials`), and nothing else.
"""

from importlib.util import find_spec

from mulligan.brokers.base import Broker, Clock, Emit
from mulligan.core.error import ConfigurationError
from mulligan.core.extra import install_hint

__all__ = ["open_sqs"]


def open_sqs(url: str, *, clock: Clock, emit: Emit) -> Broker:
    """The broker of `sqs://REGION...`; nothing is connected yet. Raises ConfigurationError, also without the extra."""
    missing = [name for name in ("botocore", "httptools") if find_spec(name) is None]
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        raise ConfigurationError(
            [f"BROKER_URL asks for SQS, and {' and '.join(missing)} {verb} not installed: {install_hint('sqs')}"]
        )
    from mulligan.brokers.sqs.broker import SqsBroker

    return SqsBroker(url, clock=clock, emit=emit)
