"""`mulligan settings`: every setting, its value and where that came from. Secrets are not shown."""

import json

from mulligan.cli.output import harmless, say, table, write
from mulligan.cli.session import settings
from mulligan.settings.describe import plain, shown
from mulligan.settings.load import Loaded
from mulligan.telemetry.messages import sentence

__all__ = ["listing"]


def listing(*, as_json: bool) -> None:
    """Print the settings of the current folder's application."""
    loaded = settings()
    for renamed in loaded.renamed:
        say(f"note: {sentence(renamed)}")
    write(_json(loaded) if as_json else _table(loaded))


def _table(loaded: Loaded) -> str:
    rows = [["setting", "value", "from"]]
    for name, origin in loaded.origins.items():
        rows.append([name, harmless(shown(name, getattr(loaded.settings, name.lower()))), origin])
    return table(rows)


def _json(loaded: Loaded) -> str:
    data = {
        name: {"value": plain(name, getattr(loaded.settings, name.lower())), "from": origin}
        for name, origin in loaded.origins.items()
    }
    return json.dumps(data, indent=2)
