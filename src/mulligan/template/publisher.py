"""Send a message: `python publisher.py BODY` is `mulligan send BODY`. The current directory is its application.

With the sample tasks a body that begins with s is done at once, with fp one task fails once and then passes, and with
fo one task fails permanently, so that the default task runs and the message becomes a dead letter.
"""

import sys
from pathlib import Path

if __name__ == "__main__":
    folder = Path(__file__).resolve().parent
    if Path.cwd() != folder:
        print(f"publisher.py: sends to the application in {Path.cwd()}, not the one in {folder}.", file=sys.stderr)
    try:
        from mulligan.cli.app import main
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    except ModuleNotFoundError as exc:
        print(f"publisher.py: {exc} for {sys.executable}. Write: .venv/bin/python publisher.py BODY", file=sys.stderr)
        sys.exit(2)
    sys.exit(main(["send", *sys.argv[1:]]))
