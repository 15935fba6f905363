"""What wheel and sdist hold when they are built from a clone that is somebody's application."""

import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from mulligan.cli.init import FILES

REPOSITORY = Path(__file__).resolve().parents[3]
CONTENTS = (REPOSITORY / "tools/wheel-contents.txt").read_text("utf-8").split()
CANARY = "xoxb-canary-4711"
OWN = (
    "tasks/task4_constants.py",
    "tasks/greet.py",
    "config/configuration.py",
    "config/token.txt",
    "tasks.xml",
    "main.py",
    "src/mulligan/notes.py",
    "src/mulligan/template/tasks/mine.py",
    "var/ledger.db",
    "secret.env",
)


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """The files that make a wheel and the application, with a secret in every place of the user's own."""
    folder = tmp_path_factory.mktemp("clone")
    for name in ("src", "tools", "tasks", "config"):
        shutil.copytree(REPOSITORY / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "CHANGELOG.md", "LICENSE", "tasks.xml", "main.py", "publisher.py"):
        shutil.copy(REPOSITORY / name, folder)
    for name in OWN:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(f"TOKEN = {CANARY!r}\n")
    return folder


def built(folder: Path, kind: str, dist: Path) -> dict[str, bytes]:
    """What is in a wheel or sdist, by name."""
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", str(dist)],
        cwd=folder, check=True, capture_output=True, timeout=120,
    )  # fmt: skip
    (path,) = dist.iterdir()
    if kind == "wheel":
        with zipfile.ZipFile(path) as wheel:
            return {name: wheel.read(name) for name in wheel.namelist()}
    with tarfile.open(path) as sdist:
        return {one.name.partition("/")[2]: sdist.extractfile(one).read() for one in sdist.getmembers()}


def packaged(files: dict[str, bytes]) -> list[str]:
    return sorted(f"src/{name}" for name in files if not name.startswith("mulligan-"))


def test_wheel_of_a_clone_with_secrets_holds_the_listed_files_and_none_of_its_own(clone, tmp_path):
    files = built(clone, "wheel", tmp_path)

    assert packaged(files) == sorted(CONTENTS)
    assert not [name for name, content in files.items() if CANARY.encode() in content]
    for name in FILES:
        assert files[f"mulligan/template/{name}"] == (REPOSITORY / "src/mulligan/template" / name).read_bytes()


def test_sdist_of_a_clone_with_secrets_holds_none_of_them_and_makes_the_same_wheel(clone, tmp_path):
    files = built(clone, "sdist", tmp_path / "sdist")
    for name, content in files.items():
        (tmp_path / "unpacked" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "unpacked" / name).write_bytes(content)
    again = built(tmp_path / "unpacked", "wheel", tmp_path / "wheel")

    rest = {"CHANGELOG.md", "LICENSE", "PKG-INFO", "README.md", "pyproject.toml", "tools/hatch_build.py"}
    assert {*files} - {".gitignore"} == {*CONTENTS, *rest, "tools/wheel-contents.txt"}
    assert not [name for name, content in files.items() if CANARY.encode() in content]
    assert packaged(again) == sorted(CONTENTS)


def test_wheel_is_not_built_when_a_listed_file_is_missing(clone, tmp_path):
    shutil.copytree(clone, tmp_path / "clone")
    (tmp_path / "clone/src/mulligan/clock.py").unlink()

    with pytest.raises(subprocess.CalledProcessError) as raised:
        built(tmp_path / "clone", "wheel", tmp_path / "dist")

    assert b"src/mulligan/clock.py" in raised.value.stderr
