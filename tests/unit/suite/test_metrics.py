"""`make metrics`: what it counts in small checkouts whose numbers are known."""

import json
import subprocess
import sys
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from textwrap import dedent

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]

FLIGHT = """
    class Flight:
        pass
    """

RUNNER = """
    from collections.abc import Callable

    class Runner:
        def __init__(self, ended: Callable[[], None]) -> None:
            self._ended = ended

        def start(self) -> None:
            self._ended()

        def wire(self, ended: Callable[[], None]) -> None:
            self._ended = ended

        def each(self, ended: Callable[[], None]) -> None:
            ended()
    """


@pytest.fixture
def checkout(tmp_path):
    """Writes files, by path, into a checkout with the package `shop`, and returns its path."""

    def write(files: dict[str, str], name: str = "checkout") -> Path:
        for path, text in {"src/shop/__init__.py": "", **files}.items():
            file = tmp_path / name / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(dedent(text.removeprefix("\n")), "utf-8")
        return tmp_path / name

    return write


@pytest.fixture
def measured(checkout, monkeypatch):
    """The numbers and lists of a checkout with these files."""
    monkeypatch.syspath_prepend(REPOSITORY / "tools")
    measure = import_module("metrics").measure
    return lambda files: asdict(measure(checkout(files)))


@pytest.fixture
def upward_calls(measured):
    """The upward calls between the modules of the package `shop.worker`, given by name."""

    def find(**modules: str) -> list[str]:
        files = {f"src/shop/worker/{name}.py": text for name, text in modules.items()}
        return measured({"src/shop/worker/__init__.py": "", **files})["lists"]["upward_calls"]

    return find


def numbers(found: dict[str, dict], *names: str) -> tuple[float, ...]:
    return tuple(found["numbers"][name] for name in names)


def printed(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, REPOSITORY / "tools/metrics.py", *arguments]
    return subprocess.run(command, cwd=cwd, check=False, capture_output=True, text=True)


# -- sizes


def test_metrics_count_the_modules_and_lines_of_packages_only(measured):
    files = {
        "src/shop/till.py": "a = 1\n\n# two\n",
        "src/shop/stock/__init__.py": "b = 1\n",
        "src/shop/template/main.py": "c = 1\n",
        "src/loose.py": "d = 1\n",
    }

    found = measured(files)

    assert found["numbers"]["modules"] == 3
    assert found["numbers"]["lines"] == 4
    assert found["numbers"]["module_lines_median"] == 1
    assert found["numbers"]["module_lines_max"] == 3
    assert found["lists"]["largest_modules"] == ["   3 shop.till", "   1 shop.stock", "   0 shop"]


def test_metrics_measure_a_function_from_behind_its_docstring_to_its_end(measured):
    files = {
        "src/shop/till.py": '''
        def pay(
            amount,
        ):
            """Pay.

            More of it.
            """
            # why

            @property
            def nested():
                return 1

            return nested
        ''',
    }

    found = measured(files)["lists"]["longest_functions"]

    assert found == ["   5 shop.till.pay", "   1 shop.till.pay.nested"]


def test_metrics_measure_no_function_that_only_declares(measured):
    files = {
        "src/shop/till.py": '''
        class Till:
            def open(self): ...

            def close(self):
                """Close it."""

            def count(self):
                return 0
        ''',
    }

    found = measured(files)

    assert found["numbers"]["functions"] == 1
    assert found["lists"]["longest_functions"] == ["   1 shop.till.Till.count"]


def test_metrics_give_the_percentiles_of_twenty_functions(measured):
    functions = [f"def f{lines}():\n" + "    if a: pass\n" * lines for lines in range(1, 21)]
    files = {"src/shop/till.py": "".join(functions)}

    found = measured(files)["numbers"]

    assert [found[f"function_lines_{name}"] for name in ("p50", "p90", "p95", "max")] == [10, 18, 19, 20]
    assert [found[f"function_branches_{name}"] for name in ("p50", "p90", "p95", "max")] == [10, 18, 19, 20]


@pytest.mark.parametrize(
    ("body", "count"),
    [
        ("return a", 0),
        ("if a:\n    b\nelif c:\n    d\nelse:\n    e", 2),
        ("return b if a else c", 1),
        ("for a in b:\n    c\nelse:\n    d", 1),
        ("while a:\n    b", 1),
        ("try:\n    a\nexcept E:\n    b\nexcept F:\n    c\nfinally:\n    d", 2),
        ("match a:\n    case 1:\n        b\n    case c if d:\n        e\n    case _:\n        f", 2),
        ("return a and b and c or d", 3),
        ("return [a for a in b if a for c in a]", 2),
        ("return lambda: a or b", 1),
        ("def nested():\n    if a:\n        b", 0),
    ],
)
def test_metrics_count_the_branches_of_a_function(measured, body, count):
    lines = "".join(f"    {line}\n" for line in body.splitlines())
    files = {"src/shop/till.py": f"def whole():\n{lines}"}

    found = measured(files)["lists"]["most_branches"]

    assert f"{count:>4} shop.till.whole" in found


# -- classes


def test_metrics_name_the_classes_with_more_than_fifteen_methods_and_count_brokers_apart(measured):
    def methods(count: int) -> str:
        return "".join(f"    def f{number}(self): ...\n" for number in range(count))

    setter = "    @f0.setter\n    def f0(self, new): ...\n"
    files = {
        "src/shop/till.py": f"class Small:\n{methods(15)}{setter}"
        f"class Large:\n{methods(16)}"
        f"class SlowBroker:\n{methods(17)}",
    }

    found = measured(files)

    assert found["numbers"]["classes"] == 3
    assert found["numbers"]["large_classes"] == 1
    assert found["numbers"]["large_brokers"] == 1
    assert found["lists"]["large_classes"] == ["  17 shop.till.SlowBroker", "  16 shop.till.Large"]


def test_metrics_name_the_constructors_with_more_than_eight_parameters(measured):
    files = {
        "src/shop/till.py": """
        class Eight:
            def __init__(self, a, b, c, /, d, *e, f, g, **h): ...

        class Nine:
            def __init__(self, a, b, c, /, d, *e, f, g, i, **h): ...

            def open(self, a, b, c, d, e, f, g, h, i, j): ...
        """,
    }

    found = measured(files)

    assert found["numbers"]["large_constructors"] == 1
    assert found["lists"]["large_constructors"] == ["   9 shop.till.Nine"]


# -- imports


def test_metrics_find_a_circle_that_is_closed_for_type_checkers_or_in_a_function_only(measured):
    files = {
        "src/shop/a.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from shop.b import B\n",
        "src/shop/b.py": "def b():\n    from . import c\n",
        "src/shop/c.py": "from shop import a\n",
        "src/shop/d.py": "import shop.a\n",
    }

    found = measured(files)

    assert found["numbers"]["circles"] == 1
    assert found["lists"]["circles"] == ["shop.a, shop.b, shop.c"]


def test_metrics_count_the_modules_packages_and_imports_of_the_worker(measured):
    files = {
        "src/shop/till.py": "import shop.worker.run",
        "src/shop/worker/__init__.py": "",
        "src/shop/worker/run.py": "import shop.till\nfrom shop.worker.flow import take\nimport shop.worker.flow.give",
        "src/shop/worker/flow/__init__.py": "",
        "src/shop/worker/flow/take.py": "from .give import g, h\nfrom ..ipc import line",
        "src/shop/worker/flow/give.py": "from shop.worker.ipc.line import Line",
        "src/shop/worker/ipc/__init__.py": "",
        "src/shop/worker/ipc/line.py": "import os",
    }

    found = measured(files)

    names = ("worker_modules", "worker_imports", "worker_floors", "worker_packages", "worker_package_imports")
    assert numbers(found, *names) == (4, 5, 4, 3, 2)


def test_metrics_count_a_circle_as_one_floor_of_the_worker(measured):
    files = {
        "src/shop/worker/__init__.py": "",
        "src/shop/worker/a.py": "import shop.worker.b",
        "src/shop/worker/b.py": "import shop.worker.a, shop.worker.c",
        "src/shop/worker/c.py": "",
        "src/shop/worker/d.py": "import shop.worker.a",
    }

    found = measured(files)

    assert numbers(found, "worker_floors") == (3,)


# -- upward calls


@pytest.mark.parametrize(
    "given",
    [
        "self.runner = Runner(self.consumer.ended)",
        "self.runner = Runner(ended=self.consumer.ended)",
        "self.runner = Runner(lambda: self.consumer.ended())",
        "self.runner = Runner(partial(self.consumer.ended, 1))",
        "consumer = Consumer()\n        self.runner = Runner(consumer.ended)",
    ],
)
def test_upward_call_is_found_when_one_part_gets_the_method_of_another(upward_calls, given):
    found = upward_calls(
        runner=RUNNER,
        consumer="class Consumer:\n    def ended(self): ...\n",
        line="from shop.worker.consumer import Consumer\nfrom shop.worker.runner import Runner\n"
        f"class Line:\n    def __init__(self):\n        self.consumer = Consumer()\n        {given}\n",
    )

    assert found == ["Consumer.ended -> Runner(ended)"]


def test_upward_call_is_found_when_the_receiver_imports_the_part_for_type_checkers_only(upward_calls):
    found = upward_calls(
        consumer="class Consumer:\n    def ended(self): ...\n",
        runner="from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from shop.worker.consumer import Consumer\n"
        "class Runner:\n    def __init__(self, ended): ...\n",
        line="from shop.worker.consumer import Consumer\nfrom shop.worker.runner import Runner\n"
        "def line(consumer: Consumer):\n    return Runner(consumer.ended)\n",
    )

    assert found == ["Consumer.ended -> Runner(ended)"]


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("lambda: consumer.held + consumer.held", ["Consumer.held -> Runner(ended)"]),
        ("lambda: consumer.places.free", ["Places.free -> Runner(ended)"]),
        ("[consumer.take, consumer.drop]", ["Consumer.take -> Runner(ended)", "Consumer.drop -> Runner(ended)"]),
        ("consumer.is_idle", []),
        ("consumer.take()", []),
        ("lambda flight: flight.held", []),
    ],
)
def test_upward_calls_of_one_argument_are_what_it_can_call_or_read(upward_calls, given, found):
    calls = upward_calls(
        runner=RUNNER,
        places="class Places: ...\n",
        consumer="""
        from shop.worker.places import Places

        class Consumer:
            def __init__(self):
                self.places = Places()

            @property
            def is_idle(self): ...

            def take(self): ...

            def drop(self): ...
        """,
        line="from shop.worker.consumer import Consumer\nfrom shop.worker.runner import Runner\n"
        f"def line(consumer: Consumer):\n    return Runner({given})\n",
    )

    assert calls == found


def test_upward_call_is_not_found_when_both_parts_are_in_one_module(upward_calls):
    found = upward_calls(
        line=f"{dedent(RUNNER)}\nclass Sink:\n    def report(self): ...\n"
        "def line(sink: Sink):\n    return Runner(sink.report)\n",
    )

    assert found == []


def test_upward_call_is_found_when_a_lambda_reads_a_part(upward_calls):
    found = upward_calls(
        runner=RUNNER,
        consumer="class Consumer:\n    def __init__(self):\n        self.held = 0\n",
        line="from shop.worker.consumer import Consumer\nfrom shop.worker.runner import Runner\n"
        "def line(consumer: Consumer, slots: int):\n    return Runner(lambda: slots - consumer.held)\n",
    )

    assert found == ["Consumer.held -> Runner(ended)"]


def test_upward_call_is_found_when_it_is_wired_later(upward_calls):
    found = upward_calls(
        runner=RUNNER,
        consumer="class Consumer:\n    def ended(self): ...\n",
        line="from shop.worker.consumer import Consumer\nfrom shop.worker.runner import Runner\n"
        "def line(consumer: Consumer, runner: 'Runner | None'):\n"
        "    runner.wire(consumer.ended)\n    runner.over = consumer.ended\n    runner.each(consumer.ended)\n",
    )

    assert found == ["Consumer.ended -> Runner.wire(ended)", "Consumer.ended -> Runner.over"]


def test_upward_call_is_not_found_when_the_receiver_imports_the_part(upward_calls):
    found = upward_calls(
        recorder="class Recorder:\n    def save(self): ...\n",
        settler="from shop.worker.recorder import Recorder\n"
        "class Settler:\n    def __init__(self, recorder: Recorder, save): ...\n",
        line="from shop.worker.recorder import Recorder\nfrom shop.worker.settler import Settler\n"
        "class Line:\n    def __init__(self):\n        self.recorder = Recorder()\n"
        "        self.settler = Settler(self.recorder, self.recorder.save)\n",
    )

    assert found == []


@pytest.mark.parametrize(
    ("annotation", "found"),
    [
        ("Callable[[Flight], None]", ["Consumer._begin -> Places(begin)"]),
        ("'Callable[[Flight], None]'", ["Consumer._begin -> Places(begin)"]),
        ("Begin", ["Consumer._begin -> Places(begin)"]),
        ("Called", ["Consumer._begin -> Places(begin)"]),
        ("Callable[[T], None]", []),
        ("Callable[[BaseException], None]", []),
        ("Callable[[Place], None]", []),
        ("CalledWithout", []),
    ],
)
def test_upward_call_to_a_method_of_its_own_is_found_when_the_parameter_names_a_third_class(
    upward_calls, annotation, found
):
    places = f"""
        from collections.abc import Callable
        from typing import Protocol, TypeVar
        from shop.worker.flight import Flight

        T = TypeVar("T")
        Begin = Callable[[Flight], None]

        class Called(Protocol):
            def __call__(self, flight: Flight) -> None: ...

        class CalledWithout(Protocol):
            def __call__(self, uid: str) -> None: ...

        class Place: ...

        class Places:
            def __init__(self, begin: {annotation}) -> None: ...
        """

    calls = upward_calls(
        flight=FLIGHT,
        places=places,
        consumer="from shop.worker.places import Places\n"
        "class Consumer:\n    def __init__(self):\n        self.places = Places(self._begin)\n"
        "    def _begin(self): ...\n",
    )

    assert calls == found


def test_upward_call_is_found_when_a_part_gives_itself(upward_calls):
    found = upward_calls(
        seat="class Seat:\n    def __init__(self, owner): ...\n"
        "    def add(self, owner):\n        self._owner = owner\n",
        supervisor="from shop.worker.seat import Seat\n"
        "class Supervisor:\n    def __init__(self):\n        self.seat = Seat(self)\n        self.seat.add(self)\n",
    )

    assert found == ["Supervisor -> Seat(owner)", "Supervisor -> Seat.add(owner)"]


def test_upward_calls_of_one_function_to_two_parts_are_two_calls_and_one_function(measured):
    files = {
        "src/shop/worker/__init__.py": "",
        "src/shop/worker/runner.py": RUNNER,
        "src/shop/worker/line.py": "from shop.worker.runner import Runner\n"
        "class Sink:\n    def report(self): ...\n"
        "def line(sink: Sink):\n    return Runner(sink.report), Runner(sink.report)\n",
    }

    found = numbers(measured(files), "upward_calls", "upward_functions")

    assert found == (2, 1)


# -- shares, names, words


def test_metrics_give_the_share_of_public_names_with_a_docstring(measured):
    files = {
        "src/shop/__init__.py": '"""A shop."""\n',
        "src/shop/till.py": '''
        class Till:
            """It has one."""

            def __init__(self): ...

            def open(self):
                """It has one, too."""
                def nested(): ...

        class _Private:
            def open(self): ...
        ''',
    }

    found = numbers(measured(files), "docstrings_percent")

    assert found == (75.0,)


def test_metrics_give_the_share_of_functions_that_are_annotated(measured):
    files = {
        "src/shop/till.py": """
        class Till:
            def open(self, by: str, *rest: int, **more: int) -> None: ...

            @staticmethod
            def close(by) -> None: ...

            def count(self): ...
        """,
    }

    found = numbers(measured(files), "annotated_percent")

    assert found == (33.3,)


def test_metrics_name_the_modules_and_classes_that_share_a_name(measured):
    files = {
        "src/shop/base.py": "class Till: ...\n",
        "src/shop/a/__init__.py": "class Till: ...\n",
        "src/shop/a/base.py": "",
        "src/shop/a/error.py": "class Other: ...\n",
        "src/shop/b/__init__.py": "",
        "src/shop/b/error.py": "",
    }

    found = measured(files)["lists"]

    assert found["shared_module_names"] == ["   2 base (shop, shop.a)", "   2 error (shop.a, shop.b)"]
    assert found["sibling_module_names"] == ["   2 shop: error (shop.a, shop.b)"]
    assert found["shared_class_names"] == ["   2 Till (shop.a, shop.base)"]


def test_metrics_count_glossary_entries_and_the_word_that_means_too_much(measured):
    files = {
        "GLOSSARY.md": "# Words\n\n| word | meaning |\n|---|---|\n| a | b |\n| c | told |\n\n| word |\n|---|\n| d |\n",
        "docs/adr/one.md": "What is told, was told.\n",
        "docs/data/figures.json": '"told"',
        "src/shop/till.py": "told = untold = _told = 'Told, told'\n",
    }

    found = numbers(measured(files), "glossary_entries", "word_in_src", "word_in_docs")

    assert found == (3, 2, 3)


# -- what is printed


def test_metrics_print_two_checkouts_side_by_side(checkout, tmp_path):
    checkout({"src/shop/till.py": "a = 1\n" * 1200}, "before")
    checkout({"src/shop/till.py": "a = 1\n"}, "b")

    done = printed("before", "b", cwd=tmp_path)

    assert done.stdout.splitlines()[:4] == [
        "                                                  before      b",
        "modules                                                2      2",
        "lines                                              1,200      1",
        "lines per module: median                           600.0    0.5",
    ]
    assert "\nImport circles (b):\n  none\n" in done.stdout


def test_metrics_print_json_by_path(checkout, tmp_path):
    checkout({"src/shop/till.py": "a = 1\n"}, "before")
    checkout({}, "b")

    done = printed("--json", "before", "b", cwd=tmp_path)

    found = json.loads(done.stdout)
    assert [*found] == ["before", "b"]
    assert (found["before"]["numbers"]["lines"], found["b"]["numbers"]["lines"]) == (1, 0)
    assert found["before"]["lists"]["largest_modules"] == ["   1 shop.till", "   0 shop"]


def test_metrics_of_this_checkout_are_printed_when_no_path_is_given(tmp_path):
    done = printed("--json", cwd=tmp_path)

    found = json.loads(done.stdout)
    assert [*found] == [str(REPOSITORY)]
    assert found[str(REPOSITORY)]["numbers"]["modules"] > 200


def test_metrics_refuse_a_folder_without_a_package_and_say_what_was_expected(tmp_path):
    done = printed(".", cwd=tmp_path)

    assert done.returncode == 1
    assert done.stderr == "src: has no package, expected src/NAME/__init__.py. Give the path of a checkout.\n"


def test_metrics_refuse_a_file_that_is_not_python_and_name_it(checkout, tmp_path):
    checkout({"src/shop/till.py": "a = 1\ndef\n"}, "b")

    done = printed("b", cwd=tmp_path)

    assert done.returncode == 1
    assert done.stderr == (
        "b/src/shop/till.py: can't be parsed (invalid syntax (<unknown>, line 2)), "
        "expected Python source in UTF-8. Correct it.\n"
    )
