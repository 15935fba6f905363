"""Every setting: one field, whose upper-case name is the one in config/configuration.py.

`MULLIGAN_<NAME>` is its environment variable. Units are in the names: `_s` seconds, `_bytes`, `_days`. The reference
page docs/settings.md is generated from this module.
"""

from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from mulligan.core.delivery import Queues
from mulligan.core.locator import FORM, locator_of
from mulligan.core.policy import Backoff, Policy
from mulligan.core.secret import redacted_url
from mulligan.core.value import value
from mulligan.settings.worker import WorkerSettings

__all__ = [
    "ALIASES",
    "CONFIGURATION_FILE",
    "ENVIRONMENT_PREFIX",
    "OTHER_VARIABLES",
    "VALUE_ALIASES",
    "Alias",
    "Settings",
]

CONFIGURATION_FILE = "config/configuration.py"
ENVIRONMENT_PREFIX = "MULLIGAN_"


@value
class Alias:
    """A setting's earlier name, which is never removed. meaning: what a reader of the name has to know."""

    name: str
    meaning: str


ALIASES = {
    "MAIN_QUEUE": Alias("REQUESTS_QUEUE", "it is the queue on which new messages come"),
    "DEAD_LETTER_QUEUE": Alias("REJECTS_QUEUE", "it is the queue of retries, not of dead letters"),
    "LATENCY_S": Alias("RECEIVE_LINGER_S", "it is how long free slots wait to fill a receive"),
    "UNRECORDED_MAX": Alias("MAX_UNRECORDED_RESULTS", "it limits the task results that await recording"),
    "UNROUTED": Alias("ON_UNROUTED", "it says what becomes of a message that no task accepts"),
    "RUN_FILE": Alias("RUN_STATS_FILE", "it is the file with the counts of the last run"),
}
"""Earlier names of settings, the original program's and ours; in the file and as variables."""

VALUE_ALIASES = {
    "ON_UNROUTED": {"bury": "dead_letter"},
    "FIFO_ON_FAILURE": {"hold": "block_group", "sidestep": "continue_group"},
}
"""Earlier values of settings, by setting: what each is called now."""

OTHER_VARIABLES = {
    "MULLIGAN_DEBUG": "1: an unexpected error of the command line shows its traceback.",
    "MULLIGAN_WORKER": "Set by a worker for all that its tasks start, to end it with the worker (docs/tasks.md).",
    "MULLIGAN_FAILPOINT": "name:nth:kill|stop|raise; for tests of crashes: fail at that point. Off when not set.",
}
"""Variables of the environment that begin with the prefix and are not settings."""


def _no_bool(value: Any) -> Any:
    # pydantic takes True for 1; in a configuration file that is always a slip
    if isinstance(value, bool):
        raise ValueError("is true or false")  # ValueError: what pydantic makes a problem of
    return value


def _level(value: Any) -> Any:
    # the original program's users know the numbers and names of the logging package
    if isinstance(value, int) and not isinstance(value, bool):
        numbers = {10: "DEBUG", 20: "INFO", 30: "WARNING", 40: "ERROR", 50: "ERROR"}
        return numbers.get(value, value)
    if isinstance(value, str):
        name = value.strip().upper()
        return {"WARN": "WARNING", "CRITICAL": "ERROR", "FATAL": "ERROR"}.get(name, name)
    return value


def _split(value: Any) -> Any:
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


def _stripped(value: Any) -> Any:
    # a URL that was read from a file ends with a line break
    return value.strip() if isinstance(value, str) else value


def _none_if_empty(value: Any) -> Any:
    return None if value == "" else value


Count = Annotated[int, BeforeValidator(_no_bool)]
Seconds = Annotated[float, BeforeValidator(_no_bool), Field(allow_inf_nan=False)]
OptionalQueue = Annotated[Annotated[str, Field(pattern=FORM)] | None, BeforeValidator(_none_if_empty)]
Url = Annotated[str, BeforeValidator(_stripped), Field(min_length=1)]
PathText = Annotated[str, Field(min_length=1, pattern=r"^[^\x00]*$")]
DottedName = Annotated[str, Field(pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*$")]
DottedNames = Annotated[tuple[DottedName, ...], BeforeValidator(_split)]


class Settings(BaseModel):
    """All settings of one application, checked. Relative paths are relative to the application's folder."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=False)

    # -- queues
    common_prefix: str = Field(
        "msgparser",
        pattern=r"^[A-Za-z0-9_-]{1,60}$",
        description="Prefix of the three queues' names. Each application on a shared broker needs its own.",
    )
    requests_queue: OptionalQueue = Field(
        None, description="Name of the queue that receives new messages. None: <COMMON_PREFIX>-requests-q."
    )
    rejects_queue: OptionalQueue = Field(
        None,
        description="Name of the retry queue. No other program may use it. None: <COMMON_PREFIX>-rejects-q.",
    )
    dead_queue: OptionalQueue = Field(None, description="Name of the dead-letter queue. None: <COMMON_PREFIX>-dead-q.")
    adopt_rejects: bool = Field(
        False,
        description="True: use the rejects queue even if it holds or receives messages of other programs. "
        "False: that is a problem.",
    )
    broker_url: Url = Field(
        "sqlite:///var/mulligan.db",
        repr=False,
        description="Where the queues are. sqlite:///FILE is the embedded queue.",
    )
    create_queues: bool = Field(
        True, description="Create queues that are missing. False: a missing queue is a problem."
    )
    lease_s: Seconds = Field(
        60.0,
        ge=1,
        le=43_200,
        description="How long a received message is hidden from other workers; extended while its tasks run.",
    )

    # -- consumers
    no_of_requests_consumers: Count = Field(3, ge=1, le=1000, description="Consumers of the requests queue.")
    no_of_rejects_consumers: Count = Field(2, ge=1, le=1000, description="Consumers of the rejects queue.")
    pool_size: Count = Field(5, ge=1, le=1000, description="Worker processes. The consumers are distributed over them.")
    concurrency: Count = Field(
        10,
        ge=1,
        le=10_000,
        description="Messages that one consumer processes concurrently: 3 consumers with 10 make 30.",
    )
    max_unrecorded_results: Count = Field(
        0,
        ge=0,
        le=100_000,
        description="Task results per worker that may await recording before new tasks start. 0: no limit.",
    )
    receive_linger_s: Seconds = Field(
        0.1,
        ge=0,
        le=60,
        description="Where requests cost money: how long free slots wait to fill a receive. Lower is faster.",
    )
    start_wait_s: Seconds = Field(
        60.0,
        ge=0,
        le=86_400,
        description="How long startup waits for an unreachable broker or ledger. 0: not at all.",
    )
    shutdown_s: Seconds = Field(
        25.0,
        ge=1,
        le=86_400,
        description="Time from the stop signal to the exit. Running tasks get 5 s less, but at least half of it.",
    )

    # -- tasks
    tasks_xml_file: PathText = Field("tasks.xml", description="The file that lists the tasks.")
    task_max_attempts: Count = Field(
        2, ge=1, le=1000, description="Attempts per task, including the first, unless the task sets its own number."
    )
    task_backoff_s: Seconds = Field(
        10.0, ge=0, le=2_592_000, description="Longest wait before the second attempt; doubles for each later one."
    )
    task_backoff_max_s: Seconds = Field(3600.0, ge=0, le=2_592_000, description="Longest wait before any attempt.")
    task_timeout_s: Seconds = Field(
        60.0, gt=0, le=604_800, description="Time limit per attempt, unless the task sets its own."
    )
    task_missing_grace_s: Seconds = Field(
        86_400.0,
        ge=0,
        le=1_209_600,
        description="How long messages wait for a task missing from tasks.xml before it counts as failed permanently.",
    )
    on_unrouted: Literal["dead_letter", "drop"] = Field(
        "dead_letter", description="A message that no task accepts becomes a dead letter or is removed (drop)."
    )
    unknown_on_rejects: Literal["dead", "run"] = Field(
        "dead",
        description="A message on the rejects queue that mulligan did not put there becomes a dead letter, or all its "
        "tasks run.",
    )
    fifo_on_failure: Literal["block_group", "continue_group"] = Field(
        "block_group",
        description="On FIFO queues, a message to retry blocks its group, or moves to rejects (continue_group).",
    )
    middleware: DottedNames = Field(
        (), description='Functions around every attempt, outermost first, each as "package.module:function".'
    )

    # -- records
    ledger_url: Url = Field(
        "sqlite:///var/ledger.db",
        repr=False,
        description="Where progress is recorded: sqlite:///FILE, postgresql://USER@HOST/DATABASE, or none "
        "(tasks may run twice).",
    )
    ledger_keep_days: Seconds = Field(
        15.0,
        gt=0,
        le=3650,
        description="Days that the ledger keeps a message. Keep it longer than any copy can wait.",
    )
    bodies_url: PathText = Field(
        "var/bodies", description="Folder for message bodies whose copies would exceed the queue's size limit."
    )

    run_stats_file: PathText = Field(
        "var/run.json", description="File with the counts of the last run, for mulligan cost."
    )
    price_per_million: Seconds = Field(
        0.40,
        ge=0,
        description="Price per million requests to the broker, for mulligan cost. 0.40: SQS, standard, USD.",
    )

    # -- log
    logger_name: str = Field(
        "mulligan", min_length=1, max_length=100, description="Name of the program in JSON log lines."
    )
    log_file: Annotated[PathText | None, BeforeValidator(_none_if_empty)] = Field(
        None, description="File for the log, besides stderr. None: stderr only."
    )
    log_level: Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR"], BeforeValidator(_level)] = Field(
        "INFO", description="Lowest level to log."
    )
    log_format: Literal["auto", "text", "json"] = Field(
        "auto", description="json: one object per line. text: one sentence per line. auto: text."
    )
    log_file_max_bytes: Count = Field(
        10_485_760, ge=10_000, description="Size at which the log file is renamed to LOG_FILE.1 and a new one started."
    )
    log_file_backups: Count = Field(5, ge=0, le=1000, description="Number of renamed log files to keep.")
    listeners: DottedNames = Field(
        (), description='Functions called with every event, each as "package.module:function".'
    )

    @field_validator("create_queues", "adopt_rejects", mode="before")
    @classmethod
    def _bool_only(cls, value: Any) -> Any:
        if isinstance(value, (bool, str)):
            return value
        raise ValueError("is neither true nor false")

    @field_validator("bodies_url")
    @classmethod
    def _folder_only(cls, value: str) -> str:
        if "://" in value:  # it would be taken for a folder of that name
            raise ValueError("is a URL")
        return value

    @model_validator(mode="after")
    def _agree(self) -> Self:
        # the texts name the settings, because no single one of them is wrong
        names = self.queues.all
        if len(set(names)) < len(names):
            raise ValueError(
                f"REQUESTS_QUEUE, REJECTS_QUEUE and DEAD_QUEUE are {', '.join(map(repr, names))}: "
                "the three queues need three names. Give each its own, or remove them to follow COMMON_PREFIX."
            )
        if self.queues.locators and not self.broker_url.lower().startswith("sqs:"):
            raise ValueError(
                "REQUESTS_QUEUE, REJECTS_QUEUE or DEAD_QUEUE is a URL or an ARN "
                f"({', '.join(one.name for one in self.queues.locators)}), and "
                f"BROKER_URL is {redacted_url(self.broker_url)!r}: only SQS queues have those. Write the name alone, "
                "or set BROKER_URL to sqs://REGION."
            )
        if self.holds_groups and self.ledger_url.strip().lower() in {"", "none"}:
            raise ValueError(
                f"REQUESTS_QUEUE is the FIFO queue {names[0]!r}, FIFO_ON_FAILURE is 'block_group' and LEDGER_URL is "
                "'none': a message that blocks its group can't carry its attempts; they need a ledger. Set LEDGER_URL, "
                "or FIFO_ON_FAILURE to 'continue_group'."
            )
        if self.task_backoff_s > self.task_backoff_max_s:
            raise ValueError(
                f"TASK_BACKOFF_S is {self.task_backoff_s:g} and TASK_BACKOFF_MAX_S is {self.task_backoff_max_s:g}: "
                "the first wait is longer than the longest. Lower the first, or raise the second."
            )
        return self

    @property
    def queues(self) -> Queues:
        """The names of the three queues."""
        prefix = self.common_prefix
        requests, rejects, dead = (
            locator_of(given or f"{prefix}-{kind}-q")
            for given, kind in (
                (self.requests_queue, "requests"),
                (self.rejects_queue, "rejects"),
                (self.dead_queue, "dead"),
            )
        )
        locators = tuple(one for one in (requests, rejects, dead) if one.account is not None)
        return Queues(prefix, requests.name, rejects.name, dead.name, locators)

    @property
    def holds_groups(self) -> bool:
        """Whether a message of the requests queue that has to be tried again keeps its group waiting."""
        return self.queues.requests.endswith(".fifo") and self.fifo_on_failure == "block_group"

    @property
    def policy(self) -> Policy:
        """The retries of a task that says nothing of its own."""
        backoff = Backoff(first_s=self.task_backoff_s, max_s=self.task_backoff_max_s)
        return Policy(self.task_max_attempts, backoff, self.task_timeout_s)

    @property
    def grace_s(self) -> float:
        """Seconds that running tasks get at shutdown: 5 less than all, but at least half."""
        return max(self.shutdown_s - 5.0, self.shutdown_s / 2)

    def for_worker(self, folder: Path = Path()) -> WorkerSettings:
        """What a worker process needs of it. Holds secrets: not for a log.

        folder: the application's. A task may change the current one, and the log file is opened again now and then.
        """
        values = {field.name: getattr(self, field.name) for field in fields(WorkerSettings)}
        if self.log_file is not None:
            values["log_file"] = str(folder / self.log_file)
        return WorkerSettings(**values)
