"""Source of tasks for an application under test."""

__all__ = ["GIVES_UP_UNTIL_REPLAYED", "HOLDER", "IS_FIRST", "tasks"]

IS_FIRST = """
def is_first(data):
    try:
        os.close(os.open(os.environ["EFFECT_LOG"] + "." + data, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True
"""
"""`is_first(data)`: whether this is asked for the first time, by whatever process."""

HOLDER = """
class Holder(Task):
    def accepts(self, message):
        return message.body == b"hold"

    async def run(self, data, context: TaskContext):
        with effect(data, context):
            ctypes.PyDLL(None).sleep(4)  # PyDLL keeps the interpreter's lock, as a bad regular expression does
"""
"""`Holder`: takes the message "hold", and holds the interpreter for four seconds."""


def tasks(**deeds: str) -> str:
    """Async tasks by name, whose starts and ends are in the effect log. A deed is one line of code."""
    return "".join(_task(name, deed) for name, deed in deeds.items())


def _task(name: str, deed: str) -> str:
    return f"""
class {name}(Task):
    async def run(self, data, context: TaskContext):
        with effect(data, context):
            {deed}
"""


GIVES_UP_UNTIL_REPLAYED = tasks(Good="pass", Bad='if not context.generation: raise GiveUp("no such customer")')
"""`Good` is done at once; `Bad` makes a dead letter of each message, and is done when that is replayed."""
