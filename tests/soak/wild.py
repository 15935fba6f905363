"""Tasks as production code has them: they start processes and threads that nobody ends, and change their own process.

`wild-N` runs one deed in a thread and one in the loop; N says which. `hung-N` waits for a child until its time is over.
What the file does when it is imported is chosen a round (AT_IMPORT). A deed that can tell whether it worked raises
when it did not, so that its message becomes a dead letter, which the round counts as one too many.
"""

from collections.abc import Iterable

__all__ = ["AT_IMPORT", "CODE", "ENTRIES", "LATE", "TASKS", "failing", "wanted"]

AT_IMPORT = ("nothing", "signals", "children's signal", "pool", "thread", "folder", "loop")
TASKS = ("WildThread", "WildLoop")
ENTRIES = (*(f"all {name}" for name in TASKS), "all Hung")
LATE = tuple(f"late_{number}" for number in range(8))
"""Modules beside the tasks, which a task imports when it runs."""

CODE = """
import concurrent.futures, importlib, locale, multiprocessing, random, socket, subprocess, tempfile, threading
from pathlib import Path

LINGERS = "1200"  # seconds: longer than a round
FOLDER = Path(os.environ["EFFECT_LOG"]).parent
FORK, SPAWN, FORKSERVER = (multiprocessing.get_context(name) for name in ("fork", "spawn", "forkserver"))
HELD, DESCRIPTORS, POOLS = [], [], {}
LOCK = threading.Lock()

def square(number):
    return number * number

def nap():
    time.sleep(float(LINGERS))

def hears_of_children():
    # a task that takes the signal for itself takes it from every other task of the process, too
    return not POOLS.get("deaf") and signal.getsignal(signal.SIGCHLD) is not signal.SIG_IGN

def child_of_fork(deed):
    if pid := os.fork():
        return pid
    try:
        deed()
    finally:
        os._exit(3)

def must_be(found, expected):
    if found != expected and hears_of_children():
        raise RuntimeError(f"{found!r} and not {expected!r}")

# -- in a thread

def shell_in_background():
    os.system(f"sleep {LINGERS} &")

def left():
    HELD.append(subprocess.Popen(["sleep", LINGERS]))

def left_with_descriptors():
    HELD.append(subprocess.Popen(["sleep", LINGERS], close_fds=False))

def left_in_its_session():
    HELD.append(subprocess.Popen(["sleep", LINGERS], start_new_session=True))

def daemon():
    subprocess.run(["sh", "-c", f"setsid sleep {LINGERS} </dev/null >/dev/null 2>&1 &"], check=True)

def nameless():
    name = f"{FOLDER}/life-{os.environ['SOAK_LIFE']}"
    HELD.append(subprocess.Popen([name, LINGERS], executable="/bin/sleep", env={}))

def fork_lingers():
    child_of_fork(nap)

def fork_ends():
    pid = child_of_fork(lambda: None)
    try:
        must_be(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), 3)
    except ChildProcessError:
        must_be("no child", 3)

def fork_is_killed():
    child_of_fork(lambda: os.kill(os.getpid(), signal.SIGKILL))  # and nobody waits for it

def pool():
    with FORK.Pool(2) as processes:
        assert processes.map_async(square, [1, 2, 3]).get(30) == [1, 4, 9]

def pool_for_ever():
    with LOCK:
        processes = POOLS.get("pool") or POOLS.setdefault("pool", FORK.Pool(2))
    assert processes.map_async(square, [1, 2, 3]).get(30) == [1, 4, 9]

def executor_for_ever():
    with LOCK:
        processes = POOLS.get("executor") or POOLS.setdefault(
            "executor", concurrent.futures.ProcessPoolExecutor(2, mp_context=FORK)
        )
    assert processes.submit(square, 3).result(30) == 9

def terminated():
    child = FORK.Process(target=nap)
    child.start()
    child.terminate()
    child.join(20)
    code = child.exitcode
    if code is None:
        child.kill()
    must_be(code, -signal.SIGTERM)

def not_joined():
    FORK.Process(target=nap).start()

def spawned(context=SPAWN):
    try:
        child = context.Process(target=square, args=(3,))
        child.start()
    except FileNotFoundError:  # a child gets its folder told, and another task may have removed that
        must_be(has_folder(), False)
        return
    child.join(20)
    must_be(child.exitcode, 0)

def forkserver():
    spawned(FORKSERVER)

def has_folder():
    try:
        return bool(os.getcwd())
    except FileNotFoundError:
        return False

def moved():
    elsewhere = FOLDER / "elsewhere"
    elsewhere.mkdir(exist_ok=True)
    os.chdir(elsewhere)

def moved_and_removed():
    folder = tempfile.mkdtemp(dir=FOLDER)
    os.chdir(folder)
    os.rmdir(folder)

def leaks():
    if len(DESCRIPTORS) < 60:
        DESCRIPTORS.extend([os.open("/dev/null", os.O_RDONLY), *os.pipe()])
        os.set_inheritable(DESCRIPTORS[-1], True)

def state():
    os.umask(random.choice((0, 0o077)))
    locale.setlocale(locale.LC_ALL, "C")
    socket.setdefaulttimeout(5)
    sys.setrecursionlimit(random.choice((400, 100_000)))

def environment():
    os.environ |= {"PYTHONPATH": "/nowhere", "MULLIGAN_LEASE_S": "nonsense", "TZ": "Asia/Tokyo", "LC_ALL": "nonsense"}
    time.tzset()

def threads():
    if threading.active_count() < 80:
        threading.Thread(target=nap).start()  # not a daemon: the interpreter's own end waits for it

def beside():
    must_be(subprocess.Popen(["sh", "-c", "kill -SEGV $$"]).wait(30), -signal.SIGSEGV)
    subprocess.Popen(["sleep", LINGERS]).kill()

def interrupted():
    with subprocess.Popen(["sleep", LINGERS]) as child:
        try:
            child.send_signal(signal.SIGINT)
            must_be(child.wait(20), -signal.SIGINT)
        finally:
            child.kill()

def late():
    importlib.import_module(f"late_{random.randrange(8)}")

# -- in the loop

async def started():
    HELD.append(await asyncio.create_subprocess_exec("sleep", LINGERS))

async def shell():
    HELD.append(await asyncio.create_subprocess_shell(f"sleep {LINGERS} & sleep {LINGERS}", start_new_session=True))

async def answered():
    child = await asyncio.create_subprocess_exec("echo", "42", stdout=asyncio.subprocess.PIPE)
    try:
        async with asyncio.timeout(20):
            out, _ = await child.communicate()
    except TimeoutError:
        out = b"nothing"
    must_be(out, b"42\\n")

async def killed():
    child = await asyncio.create_subprocess_exec("sleep", LINGERS)
    child.kill()
    try:
        async with asyncio.timeout(20):
            code = await child.wait()
    except TimeoutError:
        code = None
    must_be(code, -signal.SIGKILL)

async def forked():
    child_of_fork(nap)

async def forked_and_ended():
    child_of_fork(lambda: None)

async def executor():
    asyncio.get_running_loop().set_default_executor(concurrent.futures.ThreadPoolExecutor(1))

async def policy():
    asyncio.set_event_loop_policy(asyncio.DefaultEventLoopPolicy())

async def own_handlers():
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    signal.signal(signal.SIGINT, signal.default_int_handler)

async def ignores():
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)

async def handlers_of_the_loop():
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, lambda: None)
        loop.remove_signal_handler(number)

async def own_children():
    POOLS["deaf"] = True
    signal.signal(signal.SIGCHLD, random.choice((signal.SIG_DFL, signal.SIG_IGN, lambda *_: None)))

async def wakeup():
    signal.set_wakeup_fd(-1)

async def background():
    HELD.append(asyncio.create_task(asyncio.sleep(float(LINGERS))))

async def moved_in_the_loop():
    moved_and_removed()

IN_THREAD = (
    shell_in_background, left, left_with_descriptors, left_in_its_session, daemon, nameless, fork_lingers, fork_ends,
    fork_is_killed, pool, pool_for_ever, executor_for_ever, terminated, not_joined, spawned, forkserver, moved,
    moved_and_removed, leaks, state, environment, threads, beside, interrupted, late,
)
IN_LOOP = (
    started, shell, answered, killed, forked, forked_and_ended, executor, policy, own_handlers, ignores,
    handlers_of_the_loop, own_children, wakeup, background, moved_in_the_loop,
)

class WildThread(Task):
    timeout_s = 90

    def accepts(self, message):
        return message.body.startswith(b"wild")

    def run(self, data, context: TaskContext):
        with effect(data, context):
            IN_THREAD[int(data.split("-")[1]) % len(IN_THREAD)]()

class WildLoop(Task):
    timeout_s = 90

    def accepts(self, message):
        return message.body.startswith(b"wild")

    async def run(self, data, context: TaskContext):
        with effect(data, context):
            await IN_LOOP[int(data.split("-")[1]) % len(IN_LOOP)]()

class Hung(Task):
    timeout_s, max_attempts = 2, 2

    def accepts(self, message):
        return message.body.startswith(b"hung")

    def run(self, data, context: TaskContext):
        with effect(data, context):
            subprocess.run(["sleep", LINGERS], check=False)

if multiprocessing.parent_process() is None and not hasattr(multiprocessing.current_process(), "_inheriting"):
    # not in the processes that were spawned, which import this file before they know their parent
    match os.environ.get("AT_IMPORT"):
        case "signals":
            signal.signal(signal.SIGTERM, lambda *_: None)
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
            signal.signal(signal.SIGINT, signal.default_int_handler)
        case "children's signal":
            POOLS["deaf"] = True
            signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        case "pool":
            POOLS["pool"] = FORK.Pool(2)
        case "thread":
            threading.Thread(target=nap).start()
        case "folder":
            moved()
        case "loop":
            asyncio.run(asyncio.sleep(0))
"""


def failing(bodies: Iterable[str]) -> set[tuple[str, str]]:
    """(body, task) of those that can't end well."""
    return {(body, "Hung") for body in bodies if body.startswith("hung")}


def wanted(bodies: Iterable[str]) -> set[tuple[str, str]]:
    """(body, task) of the deeds that have to end well, besides the tasks that every message has."""
    return {(body, task) for body in bodies if body.startswith("wild") for task in TASKS}
