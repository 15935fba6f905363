"""Start the system: `python main.py` is `mulligan run`. The current directory is the application's folder.

python main.py            run until stopped (Ctrl-C)
python main.py --drain    end once requests and rejects are empty
"""

import os
import sys


def hiding(error: Exception, folder: str) -> list[str]:
    """Files of the folder that were imported in the place of a module of the same name: mulligan.py, random.py ..."""
    files = [getattr(module, "__file__", None) for name, module in sys.modules.items() if name != "__main__"]
    trace = error.__traceback__
    while trace:
        files.append(trace.tb_frame.f_code.co_filename)
        trace = trace.tb_next
    files.append(getattr(error, "filename", None))
    named = {file.removesuffix("/__init__.py") for file in files if file}
    return sorted({file for file in named if file.rpartition("/")[0] == folder} - {__file__})


if __name__ == "__main__":
    folder, here = os.path.realpath(__file__).rpartition("/")[0], os.getcwd()  # noqa: PTH109 - imports what may be hidden
    if here != folder:
        print(f"main.py: runs the application in {here}, not the one beside it in {folder}.", file=sys.stderr)
    try:
        from mulligan.cli.app import main
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    except Exception as exc:
        if found := hiding(exc, folder):
            print(
                f"main.py: {exc}. Python took {' and '.join(found)} for the module of that name. Rename it.",
                file=sys.stderr,
            )
        elif isinstance(exc, ModuleNotFoundError):
            print(
                f"main.py: {exc} for {sys.executable}. Write: .venv/bin/python main.py, or: make run", file=sys.stderr
            )
        else:
            raise
        sys.exit(2)
    sys.exit(main(["run", *sys.argv[1:]]))
