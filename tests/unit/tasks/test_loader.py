import importlib.util
import pickle
import sys
from pathlib import Path

import pytest

from mulligan.core.error import ConfigurationError
from mulligan.core.message import Message
from mulligan.core.policy import Backoff, Policy
from mulligan.core.route import Route
from mulligan.tasks.loader import load

PLAIN = """
class One(Task):
    async def run(self, data: str): return data
"""


def test_load_gives_tasks_in_manifest_order(app):
    app.file("a", "class B(Task):\n    def run(self, data): ...\nclass A(Task):\n    async def run(self, data): ...")
    app.manifest("a B", "a A true")

    registry = app.load()

    assert registry.names == ("B", "A")
    assert [task.is_default for task in registry.tasks.values()] == [False, True]
    assert [task.is_async for task in registry.tasks.values()] == [False, True]
    assert [task.origin for task in registry.tasks.values()] == ["tasks/a.py:2", "tasks/a.py:4"]


def test_load_takes_every_task_of_the_folder_when_there_is_no_manifest(app):
    app.file("b", "class B(Task):\n    def run(self, data): ...\nclass _Base(Task): ...")
    app.file("a", "from tasks.b import B\nclass A(B): ...\nAlias = A")

    assert app.load().names == ("A", "B")


def test_load_lets_the_manifest_win_over_the_class_and_the_class_over_the_defaults(app):
    app.file("a", "class A(Task):\n    max_attempts = 3\n    timeout_s = 5\n    def run(self, data): ...")
    app.file("b", "class B(Task):\n    backoff = 7200\n    def run(self, data): ...")
    app.manifest("a A false <attempts>9</attempts>", "b B")

    tasks = app.load().tasks

    assert tasks["A"].policy == Policy(9, Backoff(10.0, 2.0, 3600.0), 5.0)
    assert tasks["B"].policy == Policy(2, Backoff(7200.0, 2.0, 7200.0), 60.0)


def test_load_imports_files_as_modules_of_tasks_whatever_else_is_called_tasks(app, tmp_path, monkeypatch):
    other = tmp_path / "elsewhere" / "tasks"
    other.mkdir(parents=True)
    (other / "__init__.py").write_text("raise RuntimeError('the wrong package')")
    monkeypatch.syspath_prepend(str(other.parent))
    app.file("constants", "X = 'right'")
    app.file("one", "from tasks.constants import X\nclass One(Task):\n    def run(self, data): return X")
    app.manifest("one One")

    task = app.load().tasks["One"]

    assert task.call(Message("u", b"", {}, 0.0), None) == "right"
    assert sys.path[0] == str(app.folder)


def test_load_lets_tasks_be_found_by_name_as_a_process_pool_needs(app):
    app.task(PLAIN)

    assert importlib.util.find_spec("tasks") is not None
    assert pickle.loads(pickle.dumps(sys.modules["tasks.one"].One)) is sys.modules["tasks.one"].One


def test_load_forgets_the_files_of_another_application(app, tmp_path):
    app.task(PLAIN)
    second = tmp_path / "second"
    (second / "tasks").mkdir(parents=True)
    (second / "tasks" / "one.py").write_text("from mulligan import Task\nclass Two(Task):\n    def run(self, d): ...")

    assert load(second).names == ("Two",)


def test_load_runs_the_package_file_of_the_folder_when_there_is_one(app):
    (app.folder / "tasks" / "__init__.py").write_text("X = 5")
    app.file("one", "from tasks import X\nclass One(Task):\n    def run(self, data): return X")

    assert app.load().tasks["One"].call(Message("u", b"", {}, 0.0), None) == 5


def test_load_says_where_it_looked_when_there_is_no_tasks_folder(tmp_path: Path):
    with pytest.raises(ConfigurationError, match=r"there is no folder 'tasks' in .*mulligan init"):
        load(tmp_path)


def test_load_tells_all_problems_of_all_files_at_once(app):
    app.file("bad", "def f(:\n    pass")
    app.file("one", "class One(Task):\n    max_attempts = 0\n    timeout_s = -1\n    def run(self): ...")
    app.manifest("bad Bad", "one One", "two Two", "one Other", "one One_")
    text = (app.folder / "tasks.xml").read_text()
    (app.folder / "tasks.xml").write_text(text.replace("</tasks>", "<task/></tasks>"))

    problems = app.problems()

    told = "\n".join(problems)
    assert len(problems) == 10
    for text in ("<filename>", "bad.py line 2", "takes no payload", "max_attempts is 0", "timeout_s is -1", "two.py"):
        assert text in told


def test_load_names_the_file_that_was_meant_when_one_is_not_there(app):
    app.file("task_one", PLAIN)
    app.manifest("task_won One")

    (problem,) = app.problems()
    assert problem == (
        "tasks.xml line 2: there is no file tasks/task_won.py. Correct <filename>, or add the file. "
        "Did you mean 'task_one'?"
    )


def test_load_says_which_classes_a_file_has_when_the_one_asked_for_is_not_there(app):
    app.file("trello", "class TrelloTask(Task):\n    def run(self, data): ...")
    app.manifest("trello TreloTask")

    (problem,) = app.problems()
    assert problem == (
        "tasks.xml line 2: tasks/trello.py has no class 'TreloTask'; it defines TrelloTask. Correct <classname>. "
        "Did you mean 'TrelloTask'?"
    )


def test_load_says_how_to_inherit_when_the_class_is_no_task(app):
    app.file("one", "class One:\n    def run(self, data): ...")
    app.manifest("one One")

    (problem,) = app.problems()
    assert problem == (
        "tasks.xml line 2: the class 'One' in tasks/one.py is not a Task. "
        "Write: from mulligan import Task, and: class One(Task)"
    )


def test_load_shows_the_line_when_a_file_has_a_syntax_error(app):
    app.file("one", "class One(Task):\n    def run(self, data)\n        pass")
    app.manifest("one One")

    assert app.problems() == ["tasks/one.py line 3: expected ':': def run(self, data). Correct the Python code."]


def test_load_shows_the_other_file_when_that_has_the_syntax_error(app):
    (app.folder / "lib.py").write_text("x = = 1")
    app.file("one", "import lib")
    app.manifest("one One")

    assert app.problems() == ["lib.py line 1: invalid syntax: x = = 1. Correct the Python code."]


@pytest.mark.parametrize("content", [b"x = '\x00'", b"x = '\xff'"])
def test_load_tells_a_problem_when_a_file_is_no_text(app, content):
    (app.folder / "tasks" / "one.py").write_bytes(content)
    app.manifest("one One")

    assert len(app.problems()) == 1
    assert app.problems()[0].startswith("tasks/one.py")


@pytest.mark.parametrize(
    ("code", "told"),
    [
        (
            "import no_such_package.part",
            f"which is not installed. Install it: {sys.executable} -m pip install no_such_package",
        ),
        ("import yaml_of_old.x as yaml", "pip install yaml_of_old"),
        ("import json.nothing", "has no module 'json.nothing'"),
        (
            "from tasks.nothing import X",
            "there is no file tasks/nothing.py in the application's folder. Correct the import.",
        ),
        ("from tasks.task import Task", "The class Task comes from mulligan now: from mulligan import Task"),
        ("from json import nothing", "ImportError: cannot import name 'nothing'"),
        ("raise SystemExit(3)", "importing it ends the program (SystemExit: 3)"),
        (
            "try: {}['URL']\nexcept KeyError as exc: raise RuntimeError('no URL') from exc",
            "importing it raises RuntimeError: no URL; caused by KeyError: 'URL'.",
        ),
        ("1 / 0", "importing it raises ZeroDivisionError: division by zero"),
        (
            "class Odd(Exception):\n    def __str__(self): raise ValueError\nraise Odd",
            "importing it raises Odd: (its text can't be made",
        ),
        ("def f(): f()\nf()", "importing it raises RecursionError"),
    ],
)
def test_load_tells_place_and_remedy_when_a_file_can_not_be_imported(app, code, told):
    app.file("one", code)
    app.manifest("one One")

    problems = app.problems()

    assert len(problems) == 1
    assert problems[0].startswith("tasks/one.py line ")
    assert told in problems[0]


def test_load_lets_ctrl_c_through(app):
    app.file("one", "raise KeyboardInterrupt")
    app.manifest("one One")

    with pytest.raises(KeyboardInterrupt):
        app.load()


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("max_attempts = 0", "max_attempts is 0, expected a whole number from 1 to 1000, or None."),
        ("max_attempts = True", "max_attempts is True"),
        ("max_attempts = 2.5", "max_attempts is 2.5"),
        ("timeout_s = 0", "timeout_s is 0, expected seconds above 0 and up to 604800, or None."),
        ("timeout_s = float('nan')", "timeout_s is nan"),
        ("timeout_s = 10**400", "timeout_s is 1000"),
        ("timeout_s = '30'", "timeout_s is '30'"),
        ("backoff = -1", "backoff is -1, expected seconds before the second attempt"),
        ("backoff = [1, 2]", "backoff is [1, 2]"),
        ("backoff = Backoff(first_s=1.0, factor=0.5)", "a factor of at least 1"),
        ("backoff = lambda: 3", "backoff is a function, but does not take one argument"),
        ("give_up_on = 'ValueError'", "give_up_on has 'ValueError', expected exception classes"),
        ("give_up_on = (ValueError, 3)", "give_up_on has 3"),
        ("async def accepts(self, message): return True", "its `accepts` can't be called"),
        ("def accepts(self): return True", "its `accepts` can't be called"),
        ("def __init__(self, url): ...", "One() raises TypeError"),
        ("def __init__(self): raise SystemExit", "One() raises SystemExit"),
        ("def check(self): 1 / 0", "its check() raises ZeroDivisionError: division by zero"),
        ("def check(self): return 3", "its check() returns 3. Return a list of sentences"),
        ("max_attempts = property(lambda self: 1 / 0)", "reading it raises ZeroDivisionError"),
    ],
)
def test_load_tells_the_problem_when_an_attribute_is_wrong(app, line, told):
    app.file("one", f"class One(Task):\n    {line}\n    def run(self, data): ...")

    problems = app.problems()

    assert len(problems) == 1
    assert problems[0].startswith("tasks/one.py line 2: task 'One': ")
    assert told in problems[0]


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ("x = 1", "it has no `run`, which each message is passed to."),
        ("run = 3", "its `run` is 3, expected a function."),
        ("def run(self): ...", "its `run` takes no payload."),
        ("def run(): ...", "its `run` takes no payload, not even self."),
        ("def run(self, *, data): ...", "its `run` takes no payload."),
        (
            "def run(self, a, b, c): ...",
            "its `run` takes (a, b, c), but is called with the payload and at most the context.",
        ),
        ("def run(self, a, *, b): ...", "its `run` takes (a, b)"),
        ("def run(self, data): yield 1", "its `run` has a yield"),
        ("async def run(self, data): yield 1", "its `run` has a yield"),
        (
            "def run(self, data: 'Nothing'): ...",
            "the type of run's 'data', Nothing, can't be read from a message (NameError",
        ),
        ("def run(self, data: complex or object, a, b): ...", "at most the context"),
        ("def run(self, data: bytearray.fromhex): ...", "can't be read from a message"),
    ],
)
def test_load_tells_the_problem_when_run_is_wrong(app, lines, told):
    app.file("one", f"One = object\nclass One(Task):\n    {lines}")

    problems = app.problems()

    assert len(problems) == 1
    assert told in problems[0]


def test_load_tells_what_check_says_is_missing(app):
    app.file(
        "one",
        """
        class One(Task):
            @classmethod
            def check(cls): return ["X is not set", "Y is not set"]
            def run(self, data): ...
        """,
    )

    assert app.problems() == [
        "tasks/one.py line 2: task 'One': X is not set",
        "tasks/one.py line 2: task 'One': Y is not set",
    ]


def test_load_tells_both_places_when_two_files_have_one_class_name(app):
    app.file("a", PLAIN)
    app.file("b", PLAIN)

    assert app.problems() == [
        "tasks/b.py:2: the class 'One' is in tasks/a.py:2, too. Tasks are identified by their class name: rename one "
        "of them."
    ]


def test_load_tells_the_problem_when_a_file_has_a_name_that_can_not_be_imported(app):
    app.file("one", PLAIN)
    app.file("my-task", PLAIN)

    assert app.problems() == [
        "tasks/my-task.py can't be imported by that name. Rename it: lower-case letters, digits and _."
    ]


def test_load_tells_the_problem_when_there_is_no_task_at_all(app):
    assert app.problems()[0].startswith("there is no Task in ")


def test_load_tells_the_problem_when_every_task_is_a_default_one(app):
    app.file("one", PLAIN)
    app.manifest("one One true")

    assert app.problems()[0].startswith("tasks.xml: every task in it is a default (alert) task")


def test_load_tells_the_problem_when_the_manifest_is_a_folder(app):
    (app.folder / "tasks.xml").mkdir()

    (problem,) = app.problems()
    assert problem.startswith("TASKS_XML_FILE: ")
    assert problem.endswith("app/tasks.xml' can't be read: Is a directory. Name a file that you can read.")


def test_route_is_one_constant_when_no_task_picks_its_messages(app, message):
    app.file("a", "class A(Task):\n    def run(self, d): ...\nclass B(Task):\n    def run(self, d): ...")
    app.manifest("a A", "a B true")
    registry = app.load()

    assert registry.route(message) == Route(("A",), ("B",))
    assert registry.route(message) is registry.route(message)


def test_route_has_the_tasks_that_accept_the_message_and_those_whose_accepts_raises(app, message):
    app.file(
        "a",
        """
        class Yes(Task):
            def accepts(self, message): return message.text == "hello"
            def run(self, d): ...
        class No(Yes):
            def accepts(self, message): return False
        class Broken(Yes):
            def accepts(self, message): return 1 / 0
        class Alert(No): ...
        """,
    )
    app.manifest("a Yes", "a No", "a Broken", "a Alert true")

    assert app.load().route(message) == Route(("Yes", "Broken"), ())


def test_route_drops_unrouted_messages_when_told_so(app, message):
    app.file("one", PLAIN)

    assert load(app.folder, drops_unrouted=True).route(message) == Route(("One",), (), drops_unrouted=True)
