"""`python -m tests.simulation.coverage`: which lines of the worker the simulation runs, in percent."""

import sys
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import mulligan.worker
from tests.simulation.history import run

__all__ = ["covered"]

FOLDER = str(Path(mulligan.worker.__file__).parent) + "/"
NOT_SIMULATED = {
    "system_host", "supervisor/trial", "supervisor/reaper",  # processes of the real machine
    "process/worker_process", "isolation/isolated_process",
    "ipc/channel", "ipc/child", "ipc/build", "ipc/leftover", "ipc/parent_death", "loop",
    "pipeline/thread_pool", "failpoint",  # what is stood in for, and what reads the machine
    "extension", "process/impairment", "process/stack", "process/unknown_tasks",
    "supervisor/run_stats", "ipc/exits",  # what is read and said elsewhere
}  # fmt: skip


def covered(seeds: Iterable[int]) -> dict[str, tuple[int, int, list[int]]]:
    """By module: lines that were run, lines that could be, and those that were not."""
    hit: dict[str, set[int]] = defaultdict(set)

    def local(frame: FrameType, event: str, _: Any) -> Any:
        if event == "line":
            hit[frame.f_code.co_filename].add(frame.f_lineno)
        return local

    def trace(frame: FrameType, _event: str, _: Any) -> Any:
        return local if frame.f_code.co_filename.startswith(FOLDER) else None

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        for seed in seeds:
            run(seed)
    finally:
        sys.settrace(before)
    result = {}
    paths = {
        str(path.relative_to(FOLDER).with_suffix("")): path
        for path in sorted(Path(FOLDER).rglob("*.py"))
        if path.stem != "__init__"
    }
    assert paths.keys() >= NOT_SIMULATED, f"modules that are gone: {NOT_SIMULATED - paths.keys()}"
    for name, path in paths.items():
        if name in NOT_SIMULATED:
            continue
        lines = _lines(compile(path.read_text(), str(path), "exec"))
        missed = sorted(lines - hit[str(path)])
        result[name] = (len(lines) - len(missed), len(lines), missed)
    return result


def _lines(module: CodeType) -> set[int]:
    """Lines of functions; those of modules and classes run when they are imported."""
    lines: set[int] = set()
    waiting = [(module, False)]
    while waiting:
        code, is_function = waiting.pop()
        if is_function:
            lines |= {line for _, _, line in code.co_lines() if line is not None and line != code.co_firstlineno}
        inner = (one for one in code.co_consts if isinstance(one, CodeType))
        waiting += [(one, one.co_flags & 0x2 != 0) for one in inner]  # CO_NEWLOCALS: a function
    return lines


def main() -> None:
    result = covered(range(int(sys.argv[1]) if len(sys.argv) > 1 else 150))
    for name, (run_lines, lines, missed) in result.items():
        print(f"{name:32} {run_lines:4} of {lines:4}  {100 * run_lines / max(1, lines):5.1f} %  not: {missed[:25]}")
    total_run, total = (sum(one[place] for one in result.values()) for place in (0, 1))
    print(f"{'together':32} {total_run:4} of {total:4}  {100 * total_run / total:5.1f} %")


if __name__ == "__main__":
    main()
