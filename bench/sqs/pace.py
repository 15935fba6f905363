"""Time instead of CPU: handlers that wait, a network that is far, a trickle, an idle queue, handlers that take long."""

import tempfile
import time
from pathlib import Path
from statistics import median, quantiles

from bench.sqs.contender import QUEUE, START_S, Application, Peer, Unusable, fanferro
from bench.sqs.rig import ROUNDS, Rig
from bench.sqs.server import serving, wait_for
from bench.sqs.task import LATE, LONG, NOOP, WAITS
from bench.table import Row

__all__ = ["idle", "lease", "network", "trickle", "wait"]

LEDGER = {"LEDGER_URL": "sqlite:///var/ledger.db"}
STEADY = "from a tenth of the messages deleted to nine"

DELAY_S = 0.01
RATE = 50.0
TRICKLE_MESSAGES = 500
IDLE_S = 44.0
IDLE_MESSAGES = 30
IDLE_RATE = 2.0
LEASE_S = 4
LONG_S = 3 * LEASE_S
LONG_MESSAGES = 2000

POLLS = {"a bare long poll": ("uvloop", "bare_poll.py"), "boto3's long poll": ("boto3", "boto3_poll.py")}
"""What our latency is compared with: the package it takes, the script."""
Bounds = dict[str, str]
"""What is wanted, by the contender or by the poll that it is against."""


def wait(rig: Rig) -> list[Row]:
    """A handler that awaits 50 ms."""
    rows = []
    # nothing is asked for ahead without a ledger: what keeps 100 in flight at work is there with one, as it comes
    for concurrency, messages, bounds in (
        (100, 10_000, {"SQLite ledger": ">= 1920"}),
        (1000, 60_000, {"no ledger": ">= 13000"}),
    ):
        contenders: dict[str, Peer | Application] = {
            "no ledger": Application(f"mulligan, 50 ms, {concurrency} in flight", WAITS, {"CONCURRENCY": concurrency}),
            "SQLite ledger": Application(
                f"mulligan, 50 ms, {concurrency} in flight, SQLite ledger",
                WAITS,
                {"CONCURRENCY": concurrency, **LEDGER},
            ),
            "fanferro": fanferro("fanferro, 50 ms", concurrency, 4, concurrency, 0.05),
        }
        rows += _rates(rig, "wait", f"50 ms handler, {concurrency} in flight", contenders, messages, bounds)
    return rows


def network(rig: Rig) -> list[Row]:
    """10 ms of network delay on every request."""
    contenders: dict[str, Peer | Application] = {
        "no ledger": Application("mulligan, 10 ms network", NOOP, {"CONCURRENCY": 1000}),
        "SQLite ledger": Application("mulligan, 10 ms network, SQLite ledger", NOOP, {"CONCURRENCY": 1000, **LEDGER}),
        "fanferro, 40 pollers": fanferro("fanferro, 40 pollers", 1000, 40, 1000),
        "fanferro, 1 poller": fanferro("fanferro, 1 poller", 1000, 1, 1000),
    }
    return _rates(
        rig, "network", "10 ms network, no-op", contenders, 60_000, {"no ledger": ">= 20000"}, delay_s=DELAY_S
    )


def _rates(
    rig: Rig,
    part: str,
    what: str,
    contenders: dict[str, Peer | Application],
    messages: int,
    bounds: Bounds,
    **options: float,
) -> list[Row]:
    rows = []
    for name, contender in contenders.items():
        # a peer is here for comparison: once, and with fewer messages where it is slow
        count = messages if isinstance(contender, Application) or "1 poller" not in name else messages // 10
        rounds = ROUNDS if isinstance(contender, Application) else 1
        runs, why = rig.rounds(part, {name: contender}, count, rounds, **options)
        if name in why:
            rows.append(Row("sqs", f"{what}: {name}", float("nan"), "messages/s", "", f"not measured: {why[name]}"))
            continue
        rate = median(run.steady_rate for run in runs[name])
        note = (
            f"one process, {STEADY}; all of them, with the last flush: {median(run.rate for run in runs[name]):,.0f}/s"
        )
        rows.append(Row("sqs", f"{what}: {name}", rate, "messages/s", bounds.get(name, ""), note))
    return rows


def trickle(rig: Rig) -> list[Row]:
    """50 messages a second, for ten seconds."""
    paced = Application("mulligan, trickle, RECEIVE_LINGER_S=0.1", NOOP, {"RECEIVE_LINGER_S": 0.1})
    runs, why = rig.rounds("trickle", {"paced": paced}, TRICKLE_MESSAGES * 2, ROUNDS, rate=RATE)
    what = "requests per 1,000 messages at 50/s, RECEIVE_LINGER_S=0.1"
    if "paced" in why:
        return [Row("sqs", what, float("nan"), "", "<= 450", f"not measured: {why['paced']}")]
    rows = [Row("sqs", what, median(run.requests_per_1000 for run in runs["paced"]), "", "<= 450")]
    for linger_s, bounds in ((0.0, dict.fromkeys(POLLS, "<= 0")), (0.1, {})):
        what_ours = f"50/s, RECEIVE_LINGER_S={linger_s:g}"
        rows += _latencies(rig, "trickle", what_ours, linger_s, TRICKLE_MESSAGES, RATE, bounds)
    return rows


def idle(rig: Rig) -> list[Row]:
    """Nothing to do, and a message every half second."""
    app = Application("mulligan, idle", NOOP, {})
    with serving(rig.program, QUEUE, 0) as server:
        server.open(0)  # before the start: so that every poll is counted as it begins
        with app.started(rig.environment, server) as process:
            wait_for(server, QUEUE, START_S, process)
            before = server.stats()
            time.sleep(IDLE_S)
            after = server.stats()
    polled = {name: told for name, told in after.queues.items() if told["receives"] >= 2}
    hourly = [3600 * (told["receives"] - 1) / (told["last_at"] - told["first_at"]) for told in polled.values()]
    others = (
        after.total_requests
        - before.total_requests
        - sum(told["receives"] - before.queues[name]["receives"] for name, told in polled.items())
    )
    counts = ", ".join(f"{told['receives']:.0f} polls of {name}" for name, told in polled.items())
    note = f"extrapolated from {counts} in {IDLE_S + 2:.0f} s; {others} other requests"
    rows = [
        Row(
            "sqs",
            "idle: requests an hour, a queue and process",
            max(hourly, default=float("nan")) + others * 3600 / IDLE_S,
            "",
            "<= 185",
            note,
        )
    ]
    return rows + _latencies(
        rig,
        "idle",
        "idle, a message every 0.5 s",
        0.1,
        IDLE_MESSAGES,
        IDLE_RATE,
        dict.fromkeys(POLLS, "<= 3"),
        rounds=1,
    )


def _latencies(
    rig: Rig, part: str, what: str, linger_s: float, messages: int, rate: float, bounds: Bounds, rounds: int = ROUNDS
) -> list[Row]:
    """From send to the task's start, ours and that of long polls, in turn."""
    late: dict[str, list[list[float]]] = {"ours": [], **{name: [] for name in POLLS}}
    for _ in range(rounds):
        with tempfile.TemporaryDirectory(prefix="mulligan-bench-") as name:
            file = Path(name) / "late"
            contenders: dict[str, Application | Peer] = {
                "ours": Application(f"mulligan, {what}", LATE.format(file=str(file)), {"RECEIVE_LINGER_S": linger_s}),
                **{
                    poll: Peer(f"{poll}, {what}", package, (script, QUEUE, str(file)), "")
                    for poll, (package, script) in POLLS.items()
                },
            }
            try:
                for contender, into in zip(contenders.values(), late.values(), strict=True):
                    rig.run(part, contender, messages, rate=rate)
                    into.append([float(line) for line in file.read_text().split()])
                    file.unlink()
            except Unusable as exc:
                return [
                    Row("sqs", _later(what, poll), float("nan"), "ms", bounds.get(poll, ""), f"not measured: {exc}")
                    for poll in POLLS
                ]
    return [
        Row(
            "sqs",
            _later(what, poll),
            median(median(one) - median(other) for one, other in zip(late["ours"], late[poll], strict=True)) * 1000,
            "ms",
            bounds.get(poll, ""),
            f"ours {_told(late['ours'])}; {poll} {_told(late[poll])}",
        )
        for poll in POLLS
    ]


def _later(what: str, poll: str) -> str:
    return f"{what}: start later than that of {poll}, medians"


def _told(rounds: list[list[float]]) -> str:
    parts = [quantiles(one, n=100) for one in rounds]
    return f"p50 {median(p[49] for p in parts) * 1000:.2f} ms, p99 {median(p[98] for p in parts) * 1000:.2f} ms"


def lease(rig: Rig) -> list[Row]:
    """One handler in twenty takes three leases."""
    app = Application(
        "mulligan, 5 % take 3 leases", LONG.format(long_s=LONG_S), {"LEASE_S": LEASE_S, "CONCURRENCY": 1000, **LEDGER}
    )
    what = "extra requests a long message and half-lease"
    try:
        run = rig.run("lease", app, LONG_MESSAGES)
    except Unusable as exc:
        return [Row("sqs", what, float("nan"), "", "<= 0.12", f"not measured: {exc}")]
    stats = run.stats
    long = LONG_MESSAGES // 20
    extra = sum(count for action, count in stats.requests.items() if action.startswith("ChangeMessageVisibility"))
    note = (
        f"{extra} extensions for {long} messages of {LONG_S / LEASE_S * 2:.0f} half-leases of {LEASE_S / 2:g} s; "
        f"{stats.total_requests} requests in all for {LONG_MESSAGES} messages"
    )
    return [
        Row("sqs", what, extra / (long * LONG_S / LEASE_S * 2), "", "<= 0.12", note),
        Row("sqs", "leases that had ended before they were extended or deleted", stats.late, "", "<= 0"),
    ]
