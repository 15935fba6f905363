"""Orphans of a container: the first process waits for them, any other leaves children alone."""

import subprocess
import sys

import pytest

from mulligan.worker.supervisor.reaper import Reaper

FIRST = """
import os, time
from pathlib import Path
from mulligan.worker.supervisor.reaper import Reaper

def state(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return "gone"

def until(pid, wanted):
    while state(pid) != wanted:
        time.sleep(0.01)

def adopted():
    # the pid of a child whose parent ended before it: nobody but the first process can have waited for it
    reading, writing = os.pipe()
    parent = os.fork()
    if parent == 0:
        if os.fork() == 0:
            while os.getppid() != 1:
                time.sleep(0.01)
            os.write(writing, str(os.getpid()).encode())
        os._exit(0)
    os.waitpid(parent, 0)
    return int(os.read(reading, 20))

assert os.getpid() == 1
ours = os.fork() or os._exit(0)
orphan = adopted()
until(orphan, "Z")
until(ours, "Z")
reaper = Reaper()
reaper.reap([ours])
seen_once = state(orphan)
reaper.reap([ours])
print(seen_once, state(orphan), state(ours))
"""


def test_reaper_leaves_children_alone_in_a_process_that_is_not_the_first():
    child = subprocess.Popen([sys.executable, "-c", "pass"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.read()
    reaper = Reaper()

    reaper.reap([])
    reaper.reap([])

    assert child.wait(60) == 0  # waited for by the one that started it
    child.communicate()


def test_reaper_waits_for_orphans_that_it_has_seen_twice_and_not_for_ours():
    """As the first process of a namespace, with /proc of its own."""
    command = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child", sys.executable, "-c", FIRST]
    if subprocess.run([*command[:5], "true"], check=False, capture_output=True).returncode:
        pytest.skip("unshare can't be used here")

    told = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)

    assert told.stdout == "Z gone Z\n"
