"""The pages for users, followed literally: every file written, every command run, every line of output looked for.

In a page, a code block that begins with a file's name in a comment is that file; in a `console` block, `$` begins a
command, and each further line must be found in its output. A `sh` block names environment variables; their values are
those of the stand-ins.
"""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.all import running

ROOT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"(?:# |<!-- )([\w/]+\.(?:py|xml))(?: -->)?\n")
SERVICES = [
    ("jira", "JiraIssueCreatorTask", "jira_issue_creator_task"),
    ("trello", "TrelloCardCreatorTask", "trello_card_creator_task"),
    ("slack", "SlackMessageSenderTask", "slack_message_sender_task"),
]


class Reader:
    """Somebody who does what a page says. seen: kinds of blocks that were followed."""

    def __init__(self, folder: Path, binaries: Path, environment: dict[str, str]) -> None:
        self.folder = folder
        self.environment = {
            name: item
            for name, item in os.environ.items()
            if not name.startswith(("MULLIGAN_", "SLACK_", "JIRA_", "TRELLO_", "ALERT_", "PYTEST_", "VIRTUAL_ENV"))
        } | environment
        self.environment |= {"PATH": f"{binaries}:{self.environment['PATH']}", "MULLIGAN_TASK_BACKOFF_S": "0.2"}
        self.seen: list[str] = []

    def follow(self, page: str) -> None:
        for kind, block in BLOCK.findall(page):
            self.seen.append(kind)
            if kind == "console":
                self._console(block)
            elif kind == "sh":
                for name in re.findall(r"export (\w+)=", block):
                    assert name in self.environment, f"the page names {name}, which no stand-in sets"
            elif match := FILE.match(block):
                (self.folder / match.group(1)).write_text(block)
            else:
                raise AssertionError(f"a {kind} block without the name of its file:\n{block}")

    def _console(self, block: str) -> None:
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, *wanted = part.rstrip("\n").splitlines()
            told = self.run(command)
            for line in wanted:
                assert line in told, f"$ {command}\nhas no line with {line!r}:\n{told}"

    def run(self, command: str) -> str:
        """What a command prints, on both streams. `cd` is remembered."""
        if command.startswith("cd "):
            self.folder = self.folder / command.removeprefix("cd ")
            return ""
        done = subprocess.run(
            ["bash", "-c", command], check=False, cwd=self.folder, env=self.environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=90,
        )  # fmt: skip
        assert done.returncode == 0, f"$ {command}\nended with {done.returncode}:\n{done.stdout}"
        return done.stdout


@pytest.fixture
def environment() -> Iterator[dict[str, str]]:
    """The variables of all ready tasks, with stand-ins behind them; those of Task4 are not among them."""
    with running() as services:
        yield services.environment


@pytest.fixture
def read(tmp_path, environment):
    """Makes a reader in an application's folder with one task switched on: read(page)."""

    def make(page: str, entry: str | None) -> Reader:
        reader = Reader(tmp_path, Path(sysconfig.get_path("scripts")), environment)
        reader.run("mulligan init app")
        reader.run("cd app")
        if entry is not None:
            manifest = reader.folder / "tasks.xml"
            manifest.write_text(manifest.read_text().replace("</tasks>", f"{entry}</tasks>"))
        reader.follow((ROOT / "docs" / "integrations" / page).read_text())
        return reader

    return make


@pytest.mark.parametrize(("service", "cls", "file"), SERVICES)
def test_page_of_a_service_works_when_it_is_followed_literally(read, service, cls, file):
    entry = f"<task><filename>{file}</filename><classname>{cls}</classname><default>false</default></task>"

    reader = read(f"{service}.md", entry)

    assert reader.seen.count("console") == 2
    assert "python" in reader.seen


def test_page_of_alerts_works_when_it_is_followed_literally(read):
    reader = read("alerts.md", None)

    assert reader.seen.count("console") == 2
    assert "xml" in reader.seen


def test_page_of_no_service_is_left_out():
    pages = {page.name for page in (ROOT / "docs" / "integrations").glob("*.md")}

    assert pages == {"README.md", "alerts.md", *(f"{service}.md" for service, _, _ in SERVICES)}


def test_newcomer_writes_a_first_task_from_an_empty_folder_in_a_fresh_environment(tmp_path):
    """The wheel in an environment of its own. What it depends on comes from the tests' environment, not the network."""
    wheels, fresh, empty = tmp_path / "wheels", tmp_path / "fresh", tmp_path / "empty"
    empty.mkdir()
    source = tmp_path / "source"
    ignored = shutil.ignore_patterns(".git", ".venv", "__pycache__", "var", ".*_cache", ".hypothesis", "bench", "tests")
    shutil.copytree(ROOT, source, ignore=ignored)
    build = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--no-deps",
        "--no-build-isolation",
        "-q",
        "-w",
        str(wheels),
        str(source),
    ]
    subprocess.run(build, check=True, timeout=90)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(fresh)], check=True, timeout=90)
    ours = Path(sysconfig.get_path("purelib"))
    packages = next((fresh / "lib").glob("python*/site-packages"))
    # a folder named in a .pth file is searched last, and its own .pth files (the editable mulligan) are not read
    (packages / "dependencies.pth").write_text(f"{ours}\n")
    (wheel,) = wheels.glob("*.whl")
    install = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        str(fresh),
        "install",
        "-q",
        "--no-index",
        "--no-deps",
        "--ignore-installed",
    ]
    subprocess.run([*install, str(wheel)], check=True, timeout=90)

    reader = Reader(empty, fresh / "bin", {})
    where = reader.run("python -c 'import mulligan; print(mulligan.__file__)'")
    reader.follow((ROOT / "docs" / "tasks.md").read_text())

    assert where.startswith(str(fresh))
    assert reader.seen.count("console") == 4
    assert reader.seen.count("python") == 3
