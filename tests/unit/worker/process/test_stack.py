import signal
import subprocess
import sys

from mulligan.worker.ipc.lease_table import LeaseTable
from mulligan.worker.process.stack import shortened

IDLE = """\
Thread 0x00007f0000000001 (most recent call first):
  File "/venv/mulligan/worker/pipeline/thread_pool.py", line 109 in _serve
  File "/usr/lib/python3.11/threading.py", line 982 in run
  File "/usr/lib/python3.11/threading.py", line 1002 in _bootstrap
"""
IDLE_WRITER = """\
Thread 0x00007f0000000002 (most recent call first):
  File "/venv/mulligan/storage/sqlite.py", line 168 in _next_group
  File "/venv/mulligan/storage/sqlite.py", line 150 in _work
"""
FOREMAN = """\
Thread 0x00007f0000000003 (most recent call first):
  File "/usr/lib/python3.11/threading.py", line 327 in wait
  File "/usr/lib/python3.11/threading.py", line 629 in wait
  File "/venv/mulligan/worker/pipeline/thread_pool.py", line 136 in _oversee
"""
BUSY = """\
Thread 0x00007f0000000004 (most recent call first):
  File "/usr/lib/python3.11/threading.py", line 629 in wait
  File "/app/tasks/slow.py", line 9 in run
  File "/venv/mulligan/worker/pipeline/thread_pool.py", line 118 in _run
  File "/venv/mulligan/worker/pipeline/thread_pool.py", line 101 in _serve
"""
CURRENT = """\
Current thread 0x00007f0000000005 (most recent call first):
  File "/app/tasks/blocks.py", line 7 in run
"""

IN_A_WORKER = """
import sys, threading
from mulligan.worker.process import stack
from mulligan.worker.pipeline.thread_pool import Threads

def of_the_user():
    print("ready", flush=True)
    sys.stdin.readline()

stack.register(int(sys.argv[1]))
threads = Threads(None, lambda item: None, None, None)
threads._count = 1
threading.Thread(target=threads._serve, daemon=True).start()
threads._wakes.put(True)
while not threads._wakes.empty():  # once it was woken, it is at no other place than where it waits
    pass
of_the_user()
"""


def test_stacks_of_threads_that_wait_for_work_are_left_out_and_counted():
    text = "\n".join([IDLE, IDLE_WRITER, FOREMAN, BUSY, CURRENT])

    assert shortened(text) == f"{BUSY}\n{CURRENT}\n(3 more threads of the worker's wait for work)"


def test_stacks_without_idle_threads_are_told_as_they_are():
    assert shortened(CURRENT) == CURRENT.strip("\n")
    assert shortened("") == ""


def test_supervisor_reads_the_stacks_of_a_worker_behind_the_slots_of_its_table():
    table = LeaseTable.create(3)
    worker = subprocess.Popen(
        [sys.executable, "-c", IN_A_WORKER, str(table.descriptor)],
        pass_fds=[table.descriptor], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert worker.stdout is not None
    assert worker.stdout.readline() == "ready\n"
    assert table.stacks() == ""

    worker.send_signal(signal.SIGUSR1)
    worker.communicate("\n", timeout=60)
    told = shortened(table.stacks())
    table.close()

    assert "in of_the_user" in told
    assert told.endswith("\n\n(1 more thread of the worker's wait for work)")
