"""The files that earlier versions left are as they left them."""

import hashlib
from pathlib import Path

GOLDEN = Path(__file__).resolve().parents[2] / "golden"
SUMS = GOLDEN / "SHA256SUMS"
OURS = {"README.md", "record.py", SUMS.name}


def test_golden_files_are_unchanged_since_they_were_recorded():
    listed = dict(reversed(line.split("  ", 1)) for line in SUMS.read_text("utf-8").splitlines())
    files = {
        path.relative_to(GOLDEN).as_posix(): path
        for path in GOLDEN.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }

    found = {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items() if name not in OURS}

    assert len(found) >= 20
    wrong = sorted(name for name in found.keys() | listed.keys() if found.get(name) != listed.get(name))
    assert not wrong, (
        f"{GOLDEN}: {', '.join(wrong)}: changed, missing or not in {SUMS.name}. What an earlier version wrote is never "
        f"written again: restore it from git. A newly recorded file gets a line, as sha256sum prints it."
    )
