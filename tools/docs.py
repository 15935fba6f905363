"""Writes what is generated: docs/settings.md, docs/fields.md, the diagrams in ARCHITECTURE.md, the figures in
docs/reliability.md, the list of what a wheel is made of.

With --check it only says what is stale.

.venv/bin/python tools/docs.py            write
.venv/bin/python tools/docs.py --check    exit 1 when a page is stale
"""

import sys
from pathlib import Path

import fields
import figures
import lifecycle_diagram
import template
from flow_diagram import mermaid

from mulligan.settings.describe import NAMES, default_of, expected, help_of, shown, unit_of, variable
from mulligan.settings.model import ALIASES, CONFIGURATION_FILE, ENVIRONMENT_PREFIX, OTHER_VARIABLES, VALUE_ALIASES

ROOT = Path(__file__).resolve().parent.parent


def settings_page() -> str:
    """docs/settings.md."""
    parts = [
        "# Settings",
        "<!-- Written by tools/docs.py from src/mulligan/settings/model.py: change it there. -->",
        f"Each setting is a name in `{CONFIGURATION_FILE}`, and `{ENVIRONMENT_PREFIX}<NAME>` in the environment, which "
        "overrides it. `mulligan settings` shows each value and where it came from. `mulligan check` and each start "
        "report all mistakes together, before anything runs, with exit code 2. Relative paths are relative to the "
        "application's folder, which is the current one.",
        "| name | default | unit | expected | meaning |\n|---|---|---|---|---|\n" + "\n".join(map(_row, NAMES)),
        "Earlier names of settings. They still work, with a warning:",
        "\n".join(f"- `{old}`: `{now.name}`; {_cell(now.meaning)}" for old, now in ALIASES.items()),
        "Earlier values, which still work, too:",
        "\n".join(
            f"- `{name}={old}`: `{name}={now}`" for name, values in VALUE_ALIASES.items() for old, now in values.items()
        ),
        f"Other variables of the environment that begin with `{ENVIRONMENT_PREFIX}`; any other is an error:",
        "\n".join(f"- `{name}` {_cell(text)}" for name, text in OTHER_VARIABLES.items()),
        f"An example: `{variable('POOL_SIZE')}=2 python main.py` runs the application with two worker processes. "
        "An empty value means None where None is allowed. In the environment `True` and `False` may also be written "
        "`true`, `yes`, `1` and `false`, `no`, `0`.",
    ]
    return "\n\n".join(parts) + "\n"


def _row(name: str) -> str:
    cells = [f"`{name}`", f"`{shown(name, default_of(name))}`", unit_of(name), expected(name), help_of(name)]
    return "| " + " | ".join(map(_cell, cells)) + " |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


def architecture_page() -> str:
    """ARCHITECTURE.md with its diagrams drawn anew."""
    name = "ARCHITECTURE.md"
    text = _with_part(name, _current(name) or "", "flow diagram", f"```mermaid\n{mermaid()}\n```")
    return _with_part(name, text, "life of a delivery", lifecycle_diagram.part())


def reliability_page() -> str:
    """docs/reliability.md with its table drawn anew from docs/data/figures.json."""
    name = "docs/reliability.md"
    return _with_part(name, _current(name) or "", "figures", figures.table())


def _with_part(name: str, text: str, what: str, part: str) -> str:
    """The text of a page, with what stands between two marks replaced."""
    begin, end = f"<!-- {what}: written by tools/docs.py -->", f"<!-- end of the {what} -->"
    before, found, rest = text.partition(begin)
    _, closed, after = rest.partition(end)
    if not (found and closed):
        raise SystemExit(f"{name} has no lines {begin!r} and {end!r}: put them where the {what} belong.")
    return f"{before}{begin}\n{part}\n{end}{after}"


def wheel_contents() -> str:
    """tools/wheel-contents.txt: the files of the package that git knows."""
    names = template.tracked(ROOT, "src/mulligan")
    return "".join(f"{name}\n" for name in names) or _current("tools/wheel-contents.txt") or ""


PAGES = {
    "docs/settings.md": settings_page,
    "docs/fields.md": fields.page,
    "ARCHITECTURE.md": architecture_page,
    "docs/reliability.md": reliability_page,
    "tools/wheel-contents.txt": wheel_contents,
}


def main(arguments: list[str]) -> int:
    """Write the pages, or check them. The exit code."""
    stale = [name for name, page in PAGES.items() if _current(name) != page()]
    if "--check" in arguments:
        for name in stale:
            print(f"{name} is stale. Write it again: .venv/bin/python tools/docs.py", file=sys.stderr)
        return 1 if stale else 0
    for name in stale:
        (ROOT / name).parent.mkdir(parents=True, exist_ok=True)
        (ROOT / name).write_text(PAGES[name](), encoding="utf-8")
        print(f"wrote {name}")
    return 0


def _current(name: str) -> str | None:
    try:
        return (ROOT / name).read_text(encoding="utf-8")
    except FileNotFoundError:
        return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
