"""The commands: their names, arguments and help. Each imports what it needs when it runs, so that all start fast."""

import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from mulligan.cli.exit import ended

__all__ = ["app", "main"]


class Queue(StrEnum):
    """The three queues, as they are called on the command line."""

    REQUESTS = "requests"
    REJECTS = "rejects"
    DEAD = "dead"


class Role(StrEnum):
    """Who an IAM policy is for."""

    PRODUCER = "producer"
    WORKER = "worker"
    DESK = "desk"
    SETUP = "setup"


class Target(StrEnum):
    """The queues that messages may be sent to."""

    REQUESTS = "requests"
    REJECTS = "rejects"


def _examples(*lines: str) -> str:
    # \b: the help keeps these lines as they are
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


_SETTINGS = {"help_option_names": ["-h", "--help"]}
_AS_JSON = typer.Option("--json", help="Print JSON, for a program.")

app = typer.Typer(
    name="mulligan",
    help="The error-tolerant message consumer. The current folder is the application's.",
    epilog=_examples("mulligan init shop && cd shop", "mulligan check", "mulligan run", "mulligan send s1")
    + "\n\n\b\nExit codes: 0 ok, 1 failure, 2 usage or configuration, 3 unhealthy or partly done,\n"
    "  4 broker not reachable, 5 ledger not reachable,\n"
    "  75 the installation was changed under a running system: start it again, 130 interrupted (Ctrl-C).",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings=_SETTINGS,
)
dead = typer.Typer(
    help="Inspect and replay dead letters.",
    epilog=_examples("mulligan dead ls", "mulligan dead show 018f3a", "mulligan dead replay --all"),
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings=_SETTINGS,
)
app.add_typer(dead, name="dead")
tasks = typer.Typer(
    help="List the tasks, or run one in this terminal.",
    epilog=_examples("mulligan tasks", "mulligan tasks run Task1 hello"),
    invoke_without_command=True,
    rich_markup_mode=None,
    context_settings=_SETTINGS,
)
app.add_typer(tasks, name="tasks")


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.", is_eager=True)] = False,
) -> None:
    if version:
        from mulligan import __version__

        typer.echo(__version__)
        raise typer.Exit
    del context


@app.command(epilog=_examples("mulligan run", "mulligan run --drain", "mulligan run --for 3600"))
def run(
    drain: Annotated[
        bool,
        typer.Option(
            "--drain",
            help="Exit once requests and rejects are empty (exit code 3: only unreadable copies remain).",
        ),
    ] = False,
    for_s: Annotated[
        float | None, typer.Option("--for", metavar="SECONDS", min=0, help="Exit after this many seconds.")
    ] = None,
    with_sqs_server: Annotated[
        int | None,
        typer.Option(
            "--with-sqs-server", metavar="PORT", min=0, max=65535, help="Also serve the embedded queue as SQS."
        ),
    ] = None,
) -> int:
    """Consume messages until stopped (Ctrl-C)."""
    from mulligan.cli.run import run as work
    from mulligan.cli.session import loaded_application

    return work(loaded_application(), drain=drain, for_s=for_s, sqs_port=with_sqs_server)


@app.command(
    epilog=_examples(
        "mulligan send s1",
        "mulligan send --delay 60 --attribute source=shop '{\"order\": 7}'",
        "mulligan send @orders.jsonl",
        "tail -f orders.jsonl | mulligan send -",
    )
)
def send(
    body: Annotated[
        str,
        typer.Argument(
            metavar="BODY|-|@FILE",
            help="The body of one message; or - for stdin, @FILE for a file: one message per line, sent verbatim.",
        ),
    ],
    attribute: Annotated[
        list[str] | None,
        typer.Option("--attribute", "-a", metavar="NAME=VALUE", help="An attribute of each message. May be repeated."),
    ] = None,
    delay: Annotated[float, typer.Option(metavar="SECONDS", help="Delay before the message becomes visible.")] = 0.0,
    queue: Annotated[Target, typer.Option(help="The queue to send to.")] = Target.REQUESTS,
    group: Annotated[str | None, typer.Option(help="The message group, on a FIFO queue.")] = None,
) -> None:
    """Send messages. Prints the uid of a single message. Each message is confirmed by the broker or reported."""
    from mulligan.cli.send import send as work

    work(body, attributes=attribute or [], delay_s=delay, queue=queue.value, group=group)


@app.command(epilog=_examples("mulligan status", "mulligan status --json"))
def status(as_json: Annotated[bool, _AS_JSON] = False) -> None:
    """Show the number of messages per queue."""
    from mulligan.cli.status import status as work

    work(as_json=as_json)


@app.command(epilog=_examples("mulligan peek requests", "mulligan peek rejects -n 3"))
def peek(
    queue: Annotated[Queue, typer.Argument(help="The queue to look at.")],
    uid: Annotated[str | None, typer.Option(help="Only the message with this uid, with its whole body.")] = None,
    count: Annotated[int, typer.Option("-n", min=1, help="Maximum number of messages.")] = 10,
) -> None:
    """Look at messages without taking them. They are held for a moment, and their receive counts rise."""
    from mulligan.cli.peek import peek as work

    work(queue.value, uid=uid, count=count)


@dead.command("ls", epilog=_examples("mulligan dead ls", "mulligan dead ls --json | jq '.[].uid'"))
def dead_ls(as_json: Annotated[bool, _AS_JSON] = False) -> None:
    """List dead letters, the oldest first."""
    from mulligan.cli.dead import ls

    ls(as_json=as_json)


@dead.command(
    "show", epilog=_examples("mulligan dead show 018f3a52c0de-5d41402abc4b2a76b971", "mulligan dead show 018f3a")
)
def dead_show(
    uid: Annotated[str, typer.Argument(metavar="UID", help="The uid, or a unique prefix of it.")],
    body: Annotated[bool, typer.Option("--body", help="Show the whole body.")] = False,
    as_json: Annotated[bool, _AS_JSON] = False,
) -> None:
    """Show the history of a dead letter: every task, its attempts and errors, attributes, body."""
    from mulligan.cli.dead import show

    show(uid, whole_body=body, as_json=as_json)


@dead.command(
    "replay", epilog=_examples("mulligan dead replay 018f3a52c0de-5d41402abc4b2a76b971", "mulligan dead replay --all")
)
def dead_replay(
    uids: Annotated[list[str] | None, typer.Argument(metavar="UID...", help="Whole uids.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="All dead letters.")] = False,
) -> None:
    """Replay dead letters. Tasks that are done stay done; the others start afresh."""
    from mulligan.cli.exit import UsageError
    from mulligan.cli.replay import replay

    if bool(uids) is everything:
        raise UsageError("give uids or --all, " + ("not both." if everything else "so that it is clear which letters."))
    replay(uids or [])


@tasks.callback()
def tasks_list(context: typer.Context, as_json: Annotated[bool, _AS_JSON] = False) -> None:
    """List the tasks with their policy and origin."""
    if context.invoked_subcommand is None:
        from mulligan.cli.tasks import ls

        ls(as_json=as_json)


@tasks.command(
    "run",
    epilog=_examples(
        "mulligan tasks run Task1 hello",
        "mulligan tasks run Task3 fp1 --attempt 2",
        "mulligan tasks run JiraIssueCreatorTask @order.json --uid 018bcfe56800-00000000000000000000",
    ),
)
def tasks_run(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The task's class name.")],
    body: Annotated[str, typer.Argument(metavar="BODY|-|@FILE", help="The body; - for stdin, @FILE for a whole file.")],
    attribute: Annotated[
        list[str] | None,
        typer.Option("--attribute", "-a", metavar="NAME=VALUE", help="An attribute of the message. May be repeated."),
    ] = None,
    attempt: Annotated[int, typer.Option(min=1, help="Attempt number to pass to the task.")] = 1,
    uid: Annotated[str | None, typer.Option(help="The message's uid, to repeat a run. Default: a new one.")] = None,
) -> int:
    """Run one task on one message, here and now: its effects are real. No queue is involved, nothing is retried."""
    from mulligan.cli.tasks import run as work

    return work(name, body, attributes=attribute or [], attempt=attempt, uid=uid)


@app.command(epilog=_examples("mulligan check"))
def check() -> int:
    """Check settings, tasks, the services that they call, queues and ledger: ok, or what is wrong and what to do."""
    from mulligan.cli.check import check as work

    return work()


@app.command(epilog=_examples("mulligan setup", "MULLIGAN_BROKER_URL=sqs://eu-west-1 mulligan setup"))
def setup() -> None:
    """Create the missing queues and ledger, then exit. Afterwards CREATE_QUEUES may be False."""
    from mulligan.cli.setup import setup as work

    work()


@app.command(epilog=_examples("mulligan settings", "MULLIGAN_POOL_SIZE=2 mulligan settings --json"))
def settings(as_json: Annotated[bool, _AS_JSON] = False) -> None:
    """Show each setting, its value and the value's origin."""
    from mulligan.cli.settings_list import listing

    listing(as_json=as_json)


@app.command(epilog=_examples("mulligan cost"))
def cost() -> None:
    """Show what the messages of the last run cost in requests to the broker."""
    from mulligan.cli.cost import cost as work

    work()


@app.command("iam-policy", epilog=_examples("mulligan iam-policy --role worker > worker.json"))
def iam_policy(
    role: Annotated[Role, typer.Option(help="The role to print the policy for.")],
    region: Annotated[str | None, typer.Option(help="Default: the one of BROKER_URL.")] = None,
    account: Annotated[str, typer.Option(help="The AWS account's number.")] = "*",
    partition: Annotated[str, typer.Option(help="aws, aws-cn or aws-us-gov.")] = "aws",
) -> None:
    """Print the least-privilege IAM policy for a role on the application's SQS queues."""
    from mulligan.cli.aws import iam_policy as work

    work(role.value, region=region, account=account, partition=partition)


@app.command(
    "sqs-server",
    epilog=_examples("mulligan sqs-server", "aws sqs list-queues --endpoint-url http://127.0.0.1:9324"),
)
def sqs_server(
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 for any free one; it is printed.")] = 9324,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    memory: Annotated[bool, typer.Option("--memory", help="Queues in memory instead of the embedded ones.")] = False,
    fault_script: Annotated[
        Path | None, typer.Option(metavar="FILE", help="JSON: faults to inject, for tests.")
    ] = None,
    control: Annotated[bool, typer.Option("--control", help="Let HTTP requests change the faults.")] = False,
    keys: Annotated[
        Path | None, typer.Option(metavar="FILE", help="JSON: access keys, secrets and what they allow.")
    ] = None,
    allow_remote: Annotated[
        bool, typer.Option("--allow-remote", help="Listen where other hosts can reach it.")
    ] = False,
    lenient: Annotated[
        bool, typer.Option("--lenient", help="Allow recreating or purging a queue within 60 s, for tests.")
    ] = False,
    also_host: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Another host name that clients may use.")
    ] = None,
) -> int:
    """Serve the embedded queue as Amazon SQS, for producers in development. Key and secret: mulligan, mulligan."""
    from mulligan.cli.aws import sqs_server as work

    return work(
        port=port, host=host, in_memory=memory, fault_script=fault_script, has_control=control, keys=keys,
        allows_remote=allow_remote, is_lenient=lenient, also_hosts=also_host or (),
    )  # fmt: skip


@app.command(epilog=_examples("mulligan init", "mulligan init shop"))
def init(folder: Annotated[str, typer.Argument(help="The folder; created if missing.")] = ".") -> None:
    """Create an application: main.py, publisher.py, config/, tasks.xml, tasks/."""
    from mulligan.cli.init import init as work

    work(folder)


def _whole(one: typer.Typer) -> None:
    """Have lists of commands show the first sentence of each as a whole: by default it is cut to fit the line."""
    for command in one.registered_commands:
        first, _, _ = " ".join((getattr(command.callback, "__doc__", None) or "").split()).partition(". ")
        command.short_help = first.removesuffix(".") + "."


_whole(app)
_whole(dead)
_whole(tasks)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code. arguments: those of the process when None."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    return ended(lambda: app(args=given, prog_name="mulligan", standalone_mode=False))
