"""Files of an application that are named like a module of Python's, of a package, or of the application itself."""

import sys

import pytest

from mulligan.tasks.shadow import hides, hiding

GOOD = "class One(Task):\n    def run(self, data: str): ..."


@pytest.fixture(autouse=True)
def _modules(monkeypatch):
    """Modules that a test loads in the place of others are forgotten."""
    for name in ("helper", "wave", "config"):
        monkeypatch.delitem(sys.modules, name, raising=False)
        monkeypatch.setitem(sys.modules, name, None)
        monkeypatch.delitem(sys.modules, name)


@pytest.mark.parametrize(
    ("statement", "file", "told"),
    [
        ("import helper", "tasks/helper.py", "For your own tasks/helper.py write: from tasks import helper"),
        ("from helper import x", "tasks/helper.py", "For your own tasks/helper.py write: from tasks import helper"),
        (
            "import helper.part",
            "tasks/helper/__init__.py",
            "your own tasks/helper/__init__.py write: from tasks import",
        ),
        ("import helper", "lib/helper.py", "For your own lib/helper.py write: from lib import helper"),
    ],
)
def test_import_of_an_own_file_from_the_wrong_place_says_how_and_recommends_no_package(app, statement, file, told):
    path = app.folder / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("x = 1\n")
    app.file("one", f"{statement}\n{GOOD}")
    app.manifest("one One")

    (problem,) = app.problems()

    assert problem.startswith("tasks/one.py line ")
    assert told in problem
    assert "pip install" not in problem


def test_import_of_what_is_nowhere_still_says_what_to_install(app):
    (app.folder / ".venv" / "lib").mkdir(parents=True)
    (app.folder / ".venv" / "helper.py").write_text("")
    app.file("one", f"import helper\n{GOOD}")
    app.manifest("one One")

    (problem,) = app.problems()

    assert problem.endswith("-m pip install helper")


def test_file_that_hides_a_module_of_python_is_named_where_a_task_misses_something_in_it(app):
    (app.folder / "wave.py").write_text("x = 1\n")
    app.file("one", f"from wave import open\n{GOOD}")
    app.manifest("one One")

    (problem,) = app.problems()

    assert f"{app.folder}/wave.py hides a module of the same name that Python or a package needs: rename it." in problem


def test_config_py_beside_the_folder_config_is_named_where_a_task_imports_from_the_folder(app):
    (app.folder / "config").mkdir()
    (app.folder / "config" / "configuration.py").write_text("")
    (app.folder / "config.py").write_text("")
    app.file("one", f"import config.configuration\n{GOOD}")
    app.manifest("one One")

    (problem,) = app.problems()

    assert f"{app.folder}/config.py is imported as 'config', and hides the folder config/. Rename it." in problem


@pytest.mark.parametrize("name", ["random", "msgspec", "one"])
def test_file_in_the_tasks_folder_may_have_the_name_of_any_module(app, name):
    app.file(name, f"import {name}\n{GOOD}" if name != "one" else GOOD)
    app.manifest(f"{name} One")

    assert app.load().names == ("One",)


@pytest.mark.parametrize(
    ("name", "is_hidden"),
    [("random", True), ("msgspec", True), ("mulligan", True), ("tasks", False), ("no_such_module", False)],
)
def test_hides_knows_modules_of_python_and_of_packages(tmp_path, name, is_hidden):
    assert hides(name, tmp_path) is is_hidden


def test_hiding_names_files_that_hide_what_this_process_needs_and_no_others(tmp_path):
    for name in ("random.py", "pytest.py", "time.py", "os.py", "no_such_module.py", "main.py", "antigravity.py"):
        (tmp_path / name).write_text("")
    (tmp_path / "json").mkdir()
    (tmp_path / "json" / "__init__.py").write_text("")

    assert [path.name for path in hiding(tmp_path)] == ["json", "pytest.py", "random.py"]
