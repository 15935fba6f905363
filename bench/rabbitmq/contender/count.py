"""Counts what was handled; at the last one it writes how long all took, and how much CPU of this process."""

import json
import os
import threading
import time

TOTAL = int(os.environ.get("BENCH_TOTAL", "0"))
WARM = TOTAL // 20
QUEUE = "bench"
URL = os.environ.get("BENCH_URL", "")
_lock = threading.Lock()
_state = {"count": 0, "at": 0.0, "cpu_s": 0.0}


def handled() -> None:
    with _lock:
        _state["count"] += 1
        count = _state["count"]
        if count == WARM:
            _state["at"], _state["cpu_s"] = time.monotonic(), time.process_time()
        if count != TOTAL:
            return
        took_s, cpu_s = time.monotonic() - _state["at"], time.process_time() - _state["cpu_s"]
    name = os.environ["BENCH_STAMP"]
    with open(f"{name}.new", "w") as file:  # noqa: PTH123 - as little as possible is imported here
        json.dump({"rate": (TOTAL - WARM) / took_s, "cpu_ms": cpu_s / (TOTAL - WARM) * 1000}, file)
    os.replace(f"{name}.new", name)  # noqa: PTH105
