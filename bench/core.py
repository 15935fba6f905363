"""The two functions that decide everything: what they cost a message with three tasks."""

import time
from statistics import median

from bench.table import Row
from mulligan.core.flow import next_step, record
from mulligan.core.message import TaskName
from mulligan.core.outcome import SUCCEEDED
from mulligan.core.policy import Policy
from mulligan.core.route import Route, begin
from mulligan.core.step import ACK

ROUNDS = 7
MESSAGES = 20_000


def run() -> list[Row]:
    route = Route((TaskName("Jira"), TaskName("Trello"), TaskName("Slack")), (TaskName("Alert"),))
    policy = Policy()
    times = []
    for _ in range(ROUNDS):
        start = time.process_time()
        for _ in range(MESSAGES):
            carried = progress = begin(route)
            next_step(route, carried, progress, 0.0)
            for task in route.tasks:
                progress = record(progress, task, SUCCEEDED, policy, 0.0, 0.5)
            assert next_step(route, carried, progress, 0.0) is ACK
        times.append((time.process_time() - start) / MESSAGES * 1e6)
    return [Row("core", "next_step + record, 3 tasks", median(times), "us a message", "<= 20")]
