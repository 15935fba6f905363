"""Draining a full queue: CPU and requests, against every other program that there is."""

import subprocess
from collections.abc import Mapping, Sequence
from statistics import median

from bench.sqs.contender import (
    BOTO3_BATCHED,
    FANFERRO,
    FANFERRO_DEFAULT,
    QUEUE,
    SLOW,
    Application,
    Peer,
    Run,
)
from bench.sqs.rig import Rig, ratio
from bench.sqs.server import serving
from bench.sqs.task import FAILS_ONCE, NOOP, SYNC_NOOP, THREE
from bench.table import Row

__all__ = ["drain", "peers", "requests", "server"]

MESSAGES = 20_000
LOAD_MESSAGES = 300_000
GROUPS = 1000
UNIT = "CPU s / 1,000"
LEDGER = {"LEDGER_URL": "sqlite:///var/ledger.db"}

DRAIN_ROUNDS = 9
"""A drain takes a second, and on a shared machine one takes half as long again as the next: three rounds say little."""

NO_LEDGER = "no-op, no ledger"
WITH_LEDGER = "no-op, SQLite ledger"
THREE_TASKS = "3 no-op tasks, no ledger"
SYNC = "sync no-op, no ledger"
OURS = {
    NO_LEDGER: Application("mulligan, no-op, no ledger", NOOP, {}),
    WITH_LEDGER: Application("mulligan, no-op, SQLite ledger", NOOP, LEDGER),
    THREE_TASKS: Application("mulligan, 3 no-op tasks, no ledger", THREE, {}),
    SYNC: Application("mulligan, sync no-op, no ledger", SYNC_NOOP, {}),
}


def server(rig: Rig) -> list[Row]:
    """What the server can do alone."""
    rates = []
    for connections in (4, 40):
        with serving(rig.program, QUEUE, LOAD_MESSAGES) as one:
            one.open(0)
            words = [str(rig.program.with_name("load")), str(one.port), QUEUE, str(connections)]
            done = subprocess.run(words, check=True, capture_output=True, text=True)
            messages, seconds = done.stdout.split()
            rates.append(int(messages) / float(seconds))
    rig.server_rate = max(rates)
    note = "a raw load generator in C, on the same two cores: receives and deletes of 10, 4 and 40 connections"
    return [Row("sqs", "the server alone", max(rates), "messages/s", "", note)]


def drain(rig: Rig) -> list[Row]:
    """mulligan against fanferro and batched boto3, round by round."""
    contenders: dict[str, Peer | Application] = {
        **OURS, FANFERRO.name: FANFERRO, FANFERRO_DEFAULT.name: FANFERRO_DEFAULT, BOTO3_BATCHED.name: BOTO3_BATCHED,
    }  # fmt: skip
    runs, why = rig.rounds("drain", contenders, MESSAGES, DRAIN_ROUNDS)
    if BOTO3_BATCHED.name in runs and BOTO3_BATCHED.measured:
        rig.speed = median(run.cpu_per_1000 for run in runs[BOTO3_BATCHED.name]) / BOTO3_BATCHED.measured[0]
    rows = [_row(rig, name, contender, runs.get(name, []), why.get(name)) for name, contender in contenders.items()]
    rows += _ratios(
        runs, FANFERRO.name, {NO_LEDGER: "<= 0.6", WITH_LEDGER: "<= 0.9", THREE_TASKS: "<= 0.9", SYNC: "<= 0.75"}
    )
    rows += _ratios(
        runs,
        FANFERRO_DEFAULT.name,
        {NO_LEDGER: "<= 0.6", WITH_LEDGER: "<= 0.9", THREE_TASKS: "<= 0.9", SYNC: "<= 0.75"},
    )
    rows += _ratios(runs, BOTO3_BATCHED.name, {NO_LEDGER: "<= 0.1667"})
    rows += [
        Row(
            "sqs",
            f"requests per 1,000 messages, {name}",
            median(run.requests_per_1000 for run in runs[name]),
            "",
            "<= 205",
        )
        for name in (NO_LEDGER, WITH_LEDGER)
        if name in runs
    ]
    fastest = max((max(run.rate for run in done), name) for name, done in runs.items())
    if rig.server_rate:
        note = f"{fastest[1]}, {fastest[0]:,.0f} messages/s"
        rows.append(
            Row(
                "sqs", "the server alone against the fastest contender", rig.server_rate / fastest[0], "x", ">= 2", note
            )
        )
    return rows


def peers(rig: Rig) -> list[Row]:
    """The others, once each: they take a second and more of CPU for 1,000 messages."""
    contenders = {peer.name: peer for peer in SLOW}
    runs, why = rig.rounds("peers", contenders, MESSAGES, rounds=1)
    return [_row(rig, name, peer, runs.get(name, []), why.get(name)) for name, peer in contenders.items()]


def requests(rig: Rig) -> list[Row]:
    """Requests where messages fail, and on FIFO queues."""
    fails = Application("mulligan, 5 % fail once", FAILS_ONCE, {})
    names = {
        "REQUESTS_QUEUE": f"{QUEUE}.fifo",
        "REJECTS_QUEUE": "bench-rejects-q.fifo",
        "DEAD_QUEUE": "bench-dead-q.fifo",
    }
    fifo = Application("mulligan, FIFO", NOOP, {**names, **LEDGER})
    failed, why = rig.rounds("requests", {"5 % fail once": fails}, MESSAGES, rounds=1)
    rows = _requests(failed, why, "5 % fail once", "<= 240", "the default wait of 5 to 10 s before the second attempt")
    ordered, why = rig.rounds("requests", {"FIFO": fifo}, MESSAGES, rounds=1, queue=f"{QUEUE}.fifo", groups=GROUPS)
    return rows + _requests(ordered, why, "FIFO", "<= 205", f"{GROUPS} groups, SQLite ledger")


def _requests(runs: Mapping[str, list[Run]], why: Mapping[str, str], name: str, bound: str, note: str) -> list[Row]:
    if name not in runs:
        return [
            Row("sqs", f"requests per 1,000 messages, {name}", float("nan"), "", bound, f"not measured: {why[name]}")
        ]
    run = runs[name][0]
    told = ", ".join(f"{action} {count}" for action, count in sorted(run.stats.requests.items()))
    return [Row("sqs", f"requests per 1,000 messages, {name}", run.requests_per_1000, "", bound, f"{note}: {told}")]


def _ratios(runs: Mapping[str, list[Run]], other: str, bounds: Mapping[str, str]) -> list[Row]:
    if other not in runs:
        return [
            Row("sqs", f"CPU of {name}, against {other}", float("nan"), "x", bound, "not measured")
            for name, bound in bounds.items()
        ]
    return [
        Row("sqs", f"CPU of {name}, against {other}", ratio(runs[name], runs[other]), "x", bound)
        for name, bound in bounds.items()
        if name in runs
    ]


def _row(rig: Rig, name: str, contender: Peer | Application, runs: Sequence[Run], why: str | None) -> Row:
    if why is not None or not runs:
        return Row("sqs", name, float("nan"), UNIT, "", f"not measured: {why}")
    middle = median(run.cpu_per_1000 for run in runs)
    requests_made = median(run.requests_per_1000 for run in runs)
    rate = median(run.rate for run in runs)
    told = [f"{requests_made:,.1f} requests / 1,000", f"{rate:,.0f} messages/s"]
    if isinstance(contender, Application):
        tree = median(run.tree_cpu_per_1000 for run in runs)
        told.append(f"with its supervisor {tree:.4f}")
        return Row("sqs", f"mulligan, {name}", middle, UNIT, "", "; ".join(told))
    version = rig.environment.version(contender.package)
    told += [f"{contender.package} {version}: {contender.settings}", *_against_facts(rig, contender, middle)]
    return Row("sqs", name, middle, UNIT, "", "; ".join(told))


def _against_facts(rig: Rig, peer: Peer, middle: float) -> list[str]:
    if peer.measured is None or not rig.speed:
        return []
    least, most = (one * rig.speed for one in peer.measured)
    off = 0.0 if least <= middle <= most else middle / (least if middle < least else most) - 1
    return [
        f"expected {least:.3f} to {most:.3f} on this machine: {off:+.0%}"
        + (f" ({peer.explained})" if peer.explained else "")
    ]
