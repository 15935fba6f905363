"""What the command line offers around Amazon SQS: the SQS-compatible server, and IAM policies."""

import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import cast
from urllib.parse import parse_qsl

from mulligan.cli.exit import UsageError
from mulligan.cli.output import write
from mulligan.cli.session import app_dir, of_application, settings
from mulligan.core.secret import redacted_url
from mulligan.settings.model import Settings
from mulligan.tasks.text import shown

__all__ = ["beside", "iam_policy", "sqs_server"]

_STOP_S = 5.0

_PARTS = {
    "region": (re.compile(r"[a-z]{2}[a-z0-9-]{1,30}|\*"), "a region's name such as eu-west-1, or * for all"),
    "account": (re.compile(r"[0-9]{12}|\*"), "the 12 digits of an account, or * for any"),
    "partition": (re.compile(r"aws(-[a-z]+)*"), "aws, aws-cn or aws-us-gov"),
}
"""What a policy's ARNs are made of."""


def iam_policy(role: str, *, region: str | None, account: str, partition: str) -> None:
    """Print the policy of a role. Raises UsageError when no region is known, or an option can be part of no ARN."""
    from mulligan.brokers.sqs.foreign import accounts_of
    from mulligan.brokers.sqs.policy import Role
    from mulligan.brokers.sqs.policy import iam_policy as policy

    chosen = settings().settings
    found = region or _region(chosen.broker_url)
    if not found:
        raise UsageError(
            f"BROKER_URL is {redacted_url(chosen.broker_url)!r}, which names no region. "
            "Give one: --region eu-west-1, or * for all."
        )
    for name, given in (("region", found), ("account", account), ("partition", partition)):
        form, expected = _PARTS[name]
        if not form.fullmatch(given):
            raise UsageError(f"--{name} is {shown(given)}, expected {expected}.")
    accounts = accounts_of(chosen.queues, _account(chosen.broker_url))
    write(
        policy(cast(Role, role), chosen.queues, region=found, account=account, partition=partition, accounts=accounts)
    )


def sqs_server(
    *,
    port: int,
    host: str,
    in_memory: bool,
    fault_script: Path | None,
    has_control: bool,
    keys: Path | None,
    allows_remote: bool,
    is_lenient: bool,
    also_hosts: Sequence[str],
) -> int:
    """Serve until a signal comes; the exit code."""
    from mulligan.servers.sqs.auth.key import read
    from mulligan.servers.sqs.server import run_server

    return run_server(
        port=port,
        host=host,
        db=None if in_memory else _embedded(),
        fault_script=fault_script,
        keys=read(keys) if keys else None,
        allows_remote=allows_remote,
        has_control=has_control,
        is_lenient=is_lenient,
        also_hosts=also_hosts,
    )


@contextmanager
def beside(chosen: Settings, port: int | None) -> Iterator[None]:
    """The server, in a process of its own, while the body runs; nothing where port is None.

    Where it can't start (the port is taken, there is no embedded queue), that is said, and the main job runs alone.
    """
    if port is None:
        yield
        return
    if not _is_embedded(chosen):
        where = redacted_url(chosen.broker_url)
        sys.stderr.write(f"note: no SQS server on port {port}: it serves the embedded queue, BROKER_URL is {where}.\n")
        yield
        return
    database = chosen.broker_url
    process = subprocess.Popen(
        [sys.executable, "-m", "mulligan.servers.sqs", "--port", str(port), "--db", database],
        cwd=app_dir(),
        stdin=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C is for the main job, which ends it last
    )
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _embedded() -> str:
    chosen = of_application()
    if not _is_embedded(chosen):
        raise UsageError(
            f"BROKER_URL is {redacted_url(chosen.broker_url)!r}: the SQS server serves the embedded queue. "
            "Set BROKER_URL to a sqlite:/// one, or serve queues in memory with mulligan sqs-server --memory."
        )
    return chosen.broker_url


def _is_embedded(chosen: Settings) -> bool:
    return chosen.broker_url.startswith("sqlite:")


def _region(broker_url: str) -> str:
    scheme, _, rest = broker_url.partition("://")
    return rest.partition("?")[0].strip("/") if scheme == "sqs" else ""


def _account(broker_url: str) -> str | None:
    """Whose the queues are, where the URL says it."""
    scheme, _, rest = broker_url.partition("://")
    given = dict(parse_qsl(rest.partition("?")[2])) if scheme == "sqs" else {}
    return given.get("account")
