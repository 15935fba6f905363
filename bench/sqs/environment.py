"""One interpreter for all contenders, the newest on the machine, and a virtual environment of it from the lock file."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Environment", "make"]

ROOT = Path(__file__).parents[2]
LOCK = ROOT / "requirements" / "bench-sqs.txt"
PLACE = ROOT / ".venv" / "bench-sqs"
"""Inside .venv: git ignores it, and `make clean` removes it."""

ABOUT = (
    "import sys, sysconfig, json; from importlib.metadata import distributions; "
    "print(json.dumps({'version': sys.version.split()[0], "
    "'arguments': sysconfig.get_config_var('CONFIG_ARGS') or '', "
    "'packages': {d.metadata['Name'].lower(): d.version for d in distributions()}}))"
)


@dataclass(frozen=True)
class Environment:
    """python: the program. told: about it, for the table. packages: versions by name."""

    python: Path
    told: str
    packages: dict[str, str]

    def version(self, package: str) -> str | None:
        """Of a package, None where it isn't installed."""
        return self.packages.get(package)


def make() -> Environment:
    """Find the interpreter, make the environment if it isn't what it should be."""
    base = newest_python()
    python = PLACE / "bin" / "python"
    stamp = hashlib.sha256(LOCK.read_bytes() + str(base).encode() + str(ROOT).encode()).hexdigest()
    mark = PLACE / "made-for"
    if not mark.exists() or mark.read_text() != stamp:
        print(f"making {PLACE.relative_to(ROOT)} with {base} ...", file=sys.stderr, flush=True)
        shutil.rmtree(PLACE, ignore_errors=True)
        subprocess.run([base, "-m", "venv", str(PLACE)], check=True)
        install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]
        subprocess.run([*install, "--require-hashes", "--only-binary", ":all:", "-r", str(LOCK)], check=True)
        # this checkout itself, as an editable install would have it
        packages = next((PLACE / "lib").glob("python3*")) / "site-packages"
        (packages / "mulligan-checkout.pth").write_text(f"{ROOT / 'src'}\n")
        mark.write_text(stamp)
    about = json.loads(subprocess.run([python, "-c", ABOUT], check=True, capture_output=True, text=True).stdout)
    kind = "with" if "--enable-optimizations" in about["arguments"] else "without"
    told = f"CPython {about['version']}, configured {kind} --enable-optimizations ({base})"
    return Environment(python, told, about["packages"])


def newest_python() -> Path:
    """The newest interpreter that is 3.11 or later: of bench/python.sh, on PATH, or one of pyenv's."""
    found: dict[tuple[int, ...], Path] = {}
    for candidate in _candidates():
        code = "import sys, venv, ensurepip; print(*sys.version_info[:3])"
        try:
            answer = subprocess.run([candidate, "-c", code], capture_output=True, text=True, timeout=20, check=False)
        except OSError:
            continue
        if answer.returncode == 0:
            version = tuple(int(part) for part in answer.stdout.split())
            found.setdefault(version, candidate)
    usable = {version: path for version, path in found.items() if version >= (3, 11)}
    return usable[max(usable)] if usable else Path(sys.executable)


def _candidates() -> Iterator[Path]:
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    yield from sorted((cache / "mulligan").glob("python-3.*/bin/python3.1?"))  # made by bench/python.sh
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    for minor in range(20, 10, -1):
        name = f"python3.{minor}"
        yield from sorted((root / "versions").glob(f"3.{minor}.*/bin/{name}"), reverse=True)
        on_path = shutil.which(name)
        if on_path is not None and "shims" not in on_path:
            yield Path(on_path)
