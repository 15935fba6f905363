"""What follows when a worker ends."""

import asyncio
import os
import socket
import subprocess

import pytest

from mulligan.core.event import WorkerDied


@pytest.mark.parametrize(("where", "name"), [(subprocess, "Popen"), (os, "memfd_create"), (socket, "socketpair")])
async def test_worker_that_the_system_can_not_start_is_tried_again(pool, run_state, events, monkeypatch, where, name):
    def refused(*_, **more):
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(where, name, refused, raising=False)
    pool.begin()
    tending = asyncio.create_task(pool.tend(pool.workers[0]))

    await asyncio.sleep(10)
    run_state.stop("enough")
    await tending

    deaths = [event for event in events if isinstance(event, WorkerDied)]
    assert [event.restart_in_s for event in deaths] == [0.0, 0.5, 1.0, 2.0, 4.0, 8.0]
    assert {event.how for event in deaths} == {
        "a worker can't be started: Resource temporarily unavailable. Look at the system's limits and memory."
    }


async def test_start_is_given_up_when_the_system_has_no_process_for_the_first_worker(
    pool, run_state, events, monkeypatch
):
    def refused(*_, **more):
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(subprocess, "Popen", refused)

    await asyncio.wait_for(pool.tend(pool.workers[0]), 60)

    assert [type(event) for event in events] == [WorkerDied] * 4
    assert run_state.reason == "no worker could be started"
    assert "Resource temporarily unavailable" in str(run_state.error)
