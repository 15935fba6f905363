import sys

import pytest

from mulligan.core.error import ConfigurationError
from mulligan.worker.extension import load_functions


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    for name in ("hooks_of_mine", "hooks_that_break"):
        sys.modules.pop(name, None)


def test_named_finds_functions_of_the_applications_folder(folder):
    (folder / "hooks_of_mine.py").write_text("def first(): return 1\ndef second(): return 2\n")

    first, second = load_functions(["hooks_of_mine:first", "hooks_of_mine:second"], "MIDDLEWARE", folder)

    assert (first(), second()) == (1, 2)


def test_named_leaves_the_import_path_alone_when_nothing_is_named(folder):
    before = list(sys.path)

    assert load_functions([], "MIDDLEWARE", folder) == ()
    assert sys.path == before


def test_named_tells_every_problem_at_once(folder):
    (folder / "hooks_of_mine.py").write_text("number = 3\n")
    (folder / "hooks_that_break.py").write_text("1 / 0\n")

    with pytest.raises(ConfigurationError) as caught:
        load_functions(
            ["hooks_of_mine:number", "hooks_of_mine:missing", "hooks_that_break:any", "no_such_module:f"],
            "LISTENERS",
            folder,
        )

    number, missing, breaks, absent = caught.value.problems
    assert number == "LISTENERS names 'hooks_of_mine:number', which is a int; expected a function."
    assert "'hooks_of_mine:missing', which can't be imported (AttributeError" in missing
    assert "(ZeroDivisionError: division by zero)" in breaks
    assert "(ModuleNotFoundError: No module named 'no_such_module'" in absent
