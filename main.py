"""Start the system: `python main.py` is `mulligan run`. The current directory is the application's folder.

python main.py            run until told to stop (Ctrl-C)
python main.py --drain    end once requests and rejects are empty
"""

import sys
from pathlib import Path

if __name__ == "__main__":
    folder = Path(__file__).resolve().parent
    if Path.cwd() != folder:
        print(f"main.py: runs the application in {Path.cwd()}, not the one beside it in {folder}.", file=sys.stderr)
    try:
        from mulligan.cli.app import main
    except ModuleNotFoundError as exc:
        print(f"main.py: {exc} for {sys.executable}. Write: .venv/bin/python main.py, or: make run", file=sys.stderr)
        sys.exit(2)
    sys.exit(main(["run", *sys.argv[1:]]))
