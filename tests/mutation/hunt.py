"""`python -m tests.mutation.hunt FOLDER SEED...`: simulate seeds until one violates something; what, as JSON.

Runs in a process of its own, whose `mulligan` is the mutated copy in FOLDER.
"""

import json
import sys
from pathlib import Path

import mulligan
from tests.simulation.history import run


def main() -> None:
    folder, *seeds = sys.argv[1:]
    if not Path(mulligan.__file__).is_relative_to(folder):
        sys.exit(f"mulligan is {mulligan.__file__}, expected the copy in {folder}")
    for number, seed in enumerate(map(int, seeds), 1):
        result = run(seed)
        if result.violations:
            print(json.dumps({"seed": seed, "seeds": number, "violations": result.violations[:3]}))
            return
    print(json.dumps({"seed": None, "seeds": len(seeds), "violations": []}))


if __name__ == "__main__":
    main()
