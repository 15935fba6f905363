"""The page of what a task gets, which is written from the code."""

import subprocess
import sys
from pathlib import Path

import pytest

from mulligan import Message, TaskContext

REPOSITORY = Path(__file__).resolve().parents[3]
PAGE = (REPOSITORY / "docs/fields.md").read_text("utf-8")


@pytest.mark.parametrize("cls", [Message, TaskContext])
def test_page_names_all_that_a_task_can_ask_for(cls):
    public = {name for name in dir(cls) if not name.startswith("_")}

    section = PAGE.partition(f"## {cls.__name__}\n")[2].partition("\n## ")[0]

    assert {row.split("`")[1] for row in section.splitlines() if row.startswith("| `")} == public


def test_page_is_refused_when_a_field_has_no_text():
    code = (
        "import fields\nfrom dataclasses import dataclass\n\n\n@dataclass\nclass New:\n"
        "    '''A class.\n\n    uid: told.\n    '''\n    uid: str\n    secret: str\nlist(fields._rows(New))"
    )

    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY / "tools", check=False, capture_output=True, text=True
    )

    assert done.returncode == 1
    assert done.stderr == "the docstring of New says nothing of secret. Write there: secret: ...\n"
