"""What a worker process needs of the settings, as plain values: it starts in half the time without pydantic.

`settings.model.Settings` makes one; it has been checked there. It travels to the worker in its `Setup`.
"""

from dataclasses import field
from typing import Literal

from mulligan.core.delivery import Queues
from mulligan.core.policy import Policy
from mulligan.core.value import value

__all__ = ["WorkerSettings"]


@value
class WorkerSettings:
    """Part of the settings, by the names that they have there. Holds secrets, which its repr leaves out.

    policy: of a task that says nothing of its own. grace_s, holds_groups: as `Settings` works them out.
    """

    broker_url: str = field(repr=False)
    ledger_url: str = field(repr=False)
    queues: Queues
    lease_s: float
    receive_linger_s: float
    grace_s: float
    concurrency: int
    max_unrecorded_results: int
    holds_groups: bool
    tasks_xml_file: str
    policy: Policy
    on_unrouted: Literal["dead_letter", "drop"]
    unknown_on_rejects: Literal["dead", "run"]
    task_missing_grace_s: float
    bodies_url: str
    middleware: tuple[str, ...]
    listeners: tuple[str, ...]
    logger_name: str
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"]
    log_format: Literal["auto", "text", "json"]
    log_file: str | None
    log_file_max_bytes: int
    log_file_backups: int
