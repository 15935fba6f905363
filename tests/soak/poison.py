"""Messages that are the end of their process, or that never end: `crash-N` and `stuck-N`; N says how."""

from collections.abc import Iterable

__all__ = ["CODE", "ENTRIES", "failing"]

CODE = """
def overflow():
    sys.setrecursionlimit(1_000_000)
    ctypes.CFUNCTYPE(ctypes.c_int)(overflow)()  # each level is one of the C stack

def deeper():
    deeper()

def killed():
    os.kill(os.getpid(), signal.SIGKILL)  # as the kernel does when memory is short

def exits():
    os._exit(0)

def reads_nothing():
    ctypes.string_at(0)

class Crash(Task):
    def accepts(self, message):
        return message.body.startswith(b"crash")

    async def run(self, data, context: TaskContext):
        with effect(data, context):
            await asyncio.sleep(0.01)
            ends = (exits, reads_nothing, os.abort, killed, overflow, deeper)
            ends[int(data.split("-")[1]) % 6]()
            raise RuntimeError("it goes on")

def is_stuck(message, *places):
    kind, number = message.body.decode().split("-")
    return kind == "stuck" and int(number) % 4 in places

class Stuck(Task):
    timeout_s, max_attempts = 2, 2

    def accepts(self, message):
        return is_stuck(message, 0, 1, 2)

    async def run(self, data, context: TaskContext):
        with effect(data, context):
            await (self.endless, self.deaf, self.holds)[int(data.split("-")[1]) % 4]()

    async def endless(self):
        await asyncio.Event().wait()

    async def deaf(self):
        while True:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                pass

    async def holds(self):
        while True:  # a signal ends it
            ctypes.PyDLL(None).sleep(3600)  # PyDLL keeps the interpreter's lock, as a bad regular expression does

class Sleeper(Task):
    timeout_s, max_attempts = 2, 2

    def accepts(self, message):
        return is_stuck(message, 3)

    def run(self, data, context: TaskContext):
        with effect(data, context):
            time.sleep(3600)
"""
_STUCK = ("Stuck", "Stuck", "Stuck", "Sleeper")
ENTRIES = ("all Crash", "all Stuck", "all Sleeper")


def failing(bodies: Iterable[str]) -> set[tuple[str, str]]:
    """(body, task) of those that can't end well."""
    found = set()
    for body in bodies:
        kind, number = body.split("-")
        if kind == "crash":
            found.add((body, "Crash"))
        elif kind == "stuck":
            found.add((body, _STUCK[int(number) % 4]))
    return found
