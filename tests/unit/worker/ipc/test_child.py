"""With real processes, so in real time."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from mulligan.worker.ipc.child import spawn
from mulligan.worker.ipc.exits import UNSEEN, describe_exit
from mulligan.worker.ipc.leftover import WORKER_VARIABLE

REAL_TIME = True

pytestmark = pytest.mark.usefixtures("at_terminal")

HEAD = """
import os, signal, socket, subprocess, sys, time
end = None

def say(*words):
    end.sendall((" ".join(map(str, words)) + "\\n").encode())

def main():
    global end
    end = socket.socket(fileno=int(sys.argv[1]))
    from mulligan.worker.ipc.child import become
    become(end)
    work()
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Write the module `unit_child`, whose function `work` a process runs after it became ours."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (str(tmp_path), os.environ.get("PYTHONPATH")))))

    def module(work: str) -> str:
        (tmp_path / "unit_child.py").write_text(HEAD + work)
        return "unit_child"

    return module


async def lines(end: socket.socket, count: int) -> list[str]:
    end.setblocking(False)
    loop, text = asyncio.get_running_loop(), b""
    async with asyncio.timeout(30):
        while text.count(b"\n") < count:
            part = await loop.sock_recv(end, 4096)
            assert part, text
            text += part
    return text.decode().splitlines()


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def test_child_is_not_ended_by_ctrl_c_or_a_terminal_that_goes_while_it_imports(module, tmp_path):
    name = module("def work():\n    say(*sys.argv)\n    time.sleep(60)\n")
    path = tmp_path / f"{name}.py"
    slow = "import os, time\nopen('importing', 'w').close()\nwhile not os.path.exists('go'):\n    time.sleep(0.01)\n"
    path.write_text(slow + path.read_text())
    end, child = spawn(name, folder=tmp_path)
    async with asyncio.timeout(30):
        while not (tmp_path / "importing").exists():
            await asyncio.sleep(0)

    child.send_signal(signal.SIGINT)
    child.send_signal(signal.SIGHUP)
    (tmp_path / "go").touch()

    assert await lines(end, 1) == ["mulligan"]
    child.kill()
    assert await child.wait() == -signal.SIGKILL
    end.close()


async def test_child_whose_child_holds_its_end_is_seen_to_end(module, tmp_path):
    """A subprocess of a task had the socket to the supervisor: the worker's death was seen when that one ended."""
    name = module("def work():\n    os.fork() or time.sleep(600)\n    os._exit(3)\n")
    end, child = spawn(name, folder=tmp_path)

    async with asyncio.timeout(30):
        code = await child.wait()

    assert code == 3
    left = await child.end_leftovers()
    assert len(left.ended) == 1
    end.close()


async def test_child_is_seen_to_end_where_somebody_else_waits_for_every_child(module, tmp_path):
    name = module("def work():\n    os.read(end.fileno(), 1)\n    os._exit(3)\n")
    end, child = spawn(name, folder=tmp_path)
    child._loop.remove_reader(child._descriptor)  # it is slower than what follows
    end.sendall(b"x")
    os.waitpid(child.pid, 0)

    child._reap()

    assert await child.wait() == UNSEEN
    assert describe_exit(UNSEEN).startswith("an exit that was not seen")
    end.close()


async def test_child_has_a_session_and_a_mark_of_its_own(module, tmp_path):
    name = module(f"def work():\n    say(os.getsid(0), os.environ[{WORKER_VARIABLE!r}], os.getcwd())\n")
    end, child = spawn(name, folder=tmp_path)

    assert await lines(end, 1) == [f"{child.pid} {child.mark} {tmp_path}"]
    await child.wait()
    end.close()


async def test_child_of_a_task_has_no_descriptor_of_ours_and_is_ended_by_its_signals(module, tmp_path):
    """`os.system` and the children of asyncio inherited the socket; a forked child took SIGTERM to its parent."""
    name = module("""
def work():
    pid = os.fork()
    if pid == 0:
        try:
            end.sendall(b"by the child")
        except OSError:
            pass
        time.sleep(600)
    listing = subprocess.check_output("ls -l /proc/self/fd", shell=True, close_fds=False, text=True)
    status = {}
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        p = subprocess.Popen(["sleep", "600"], close_fds=False)
        p.send_signal(number)
        status[number] = p.wait()
    while open(f"/proc/{pid}/wchan").read() == "":
        pass
    os.kill(pid, signal.SIGTERM)
    forked = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    say("socket:" in listing, *status.values(), forked)
""")
    end, child = spawn(name, folder=tmp_path)

    assert await lines(end, 1) == ["False -2 -1 -15 -15"]
    await child.wait()
    end.close()


async def test_leftovers_are_found_by_session_or_mark_and_ended_before_the_call_returns(module, tmp_path):
    name = module(f"""
def work():
    os.system("sleep 600 &")
    own = subprocess.Popen(["sleep", "600"], start_new_session=True).pid
    bare = subprocess.Popen(["sleep", "600"], env={{}}).pid
    both = {{k: v for k, v in os.environ.items() if k != {WORKER_VARIABLE!r}}}
    kept = subprocess.Popen(["sleep", "600"], env=both, start_new_session=True).pid
    say(own, bare, kept)
    os._exit(0)
""")
    end, child = spawn(name, folder=tmp_path)
    own, bare, kept = map(int, (await lines(end, 1))[0].split())
    await child.wait()

    left = await child.end_leftovers()

    assert (len(left.ended), left.stayed) == (3, ())
    assert [alive(pid) for pid in (own, bare, kept)] == [False, False, True]
    os.kill(kept, signal.SIGKILL)
    end.close()


async def test_leftovers_have_their_time_to_end_by_themselves(module, tmp_path):
    script = "trap 'echo bye > said; exit' TERM; touch ready; while :; do sleep 0.01; done"
    name = module(f"""
def work():
    subprocess.Popen(["sh", "-c", {script!r}])
    while not os.path.exists("ready"):
        time.sleep(0.01)
    os._exit(0)
""")
    end, child = spawn(name, folder=tmp_path)
    await child.wait()

    await child.end_leftovers(patience_s=20.0)

    assert (tmp_path / "said").read_text() == "bye\n"
    end.close()


def test_forked_child_that_comes_back_from_its_task_is_ended(tmp_path):
    code = (
        "import os, sys; from mulligan import fork; from mulligan.blocking import caught; fork.guard()\n"
        "result = caught(os.fork)\n"
        "print('one', os.waitstatus_to_exitcode(os.waitpid(result[0], 0)[1]))"
    )

    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True, timeout=60)

    assert done.stdout == "one 70\n"
    assert "forked by a task, came back from the task and is ended" in done.stderr


async def test_isolated_process_starts_as_its_worker_did_whatever_a_task_has_made_of_the_environment(module, tmp_path):
    """A task that calls another Python set PYTHONHOME: suspects could not be run alone any more."""
    (tmp_path / "unit_grandchild.py").write_text("def main():\n    pass\n")
    name = module("""
def work():
    import asyncio
    from pathlib import Path
    from mulligan.worker.ipc.child import spawn

    async def main():
        end, child = spawn("unit_grandchild", folder=Path("."))
        return await child.wait()

    os.environ["PYTHONHOME"] = "/nowhere"
    sys.executable = "/nowhere/python"
    say(asyncio.run(main()))
""")
    end, child = spawn(name, folder=tmp_path)

    assert await lines(end, 1) == ["0"]
    await child.wait()
    end.close()
