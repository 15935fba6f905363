"""Files beside main.py that are named like a module which the program needs: the error names them."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Told = subprocess.CompletedProcess[str]


@pytest.fixture
def laid_out(tmp_path: Path) -> Callable[..., Told]:
    """Runs Python in a fresh application."""
    clean = {name: text for name, text in os.environ.items() if not name.startswith("MULLIGAN_")}

    def run(*arguments: str) -> Told:
        return subprocess.run(
            [sys.executable, *arguments], cwd=tmp_path, env=clean, capture_output=True, text=True, check=False
        )

    assert run("-m", "mulligan", "init").returncode == 0
    return run


# no file hides what is part of the interpreter, as Debian's select is
HIDDEN = {"mulligan", "random", "typing", "json", "typer", "msgspec", "pydantic", "select", "types", "pathlib", "queue"}
HIDDEN -= set(sys.builtin_module_names)


@pytest.mark.parametrize("name", sorted(HIDDEN))
def test_main_names_the_file_beside_it_that_hides_a_module(laid_out, tmp_path, name):
    (tmp_path / f"{name}.py").write_text("x = 1\n")

    done = laid_out("main.py", "--drain")

    assert done.returncode == 2
    assert f"{tmp_path}/{name}.py" in done.stderr
    assert "ename it" in done.stderr
    assert "Traceback" not in done.stderr
    assert "fault of the program" not in done.stderr


@pytest.mark.parametrize(
    ("path", "shown", "content"),
    [("typing.py", "typing.py", "x = ("), ("typing/__init__.py", "typing", ""), ("json.py", "json.py", "1 / 0")],
)
def test_main_names_a_file_that_hides_a_module_and_does_not_even_load(laid_out, tmp_path, path, shown, content):
    (tmp_path / path).parent.mkdir(exist_ok=True)
    (tmp_path / path).write_text(content)

    done = laid_out("main.py", "--drain")

    assert done.returncode == 2
    assert f"{tmp_path}/{shown}" in done.stderr
    assert "Traceback" not in done.stderr


def test_main_says_to_use_the_environment_where_mulligan_is_not_installed(laid_out, tmp_path):
    done = laid_out("-S", "main.py")

    assert done.returncode == 2
    assert done.stderr == (
        f"main.py: No module named 'mulligan' for {sys.executable}. Write: .venv/bin/python main.py, or: make run\n"
    )


def test_check_and_run_refuse_a_file_that_the_workers_would_take_for_a_module(mulligan, application):
    (application / "random.py").write_text("x = 1\n")

    checked, out, _ = mulligan("check")
    ran, _, err = mulligan("run", "--drain")

    assert (checked, ran) == (2, 2)
    assert (
        f"problem  tasks     {application}/random.py hides the module 'random' of Python or of a "
        "package from the workers. Rename it."
    ) in out
    assert f"error: {application}/random.py hides the module 'random'" in err
