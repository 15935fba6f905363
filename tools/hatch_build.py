"""What wheel and sdist are made of: the files of tools/wheel-contents.txt, and nothing else that lies about.

A clone is somebody's application as well: its tasks/ and config/ may hold secrets, and so may a file that git doesn't
know, in whatever folder. hatchling calls this; an editable install is left alone.
"""

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

CONTENTS = "tools/wheel-contents.txt"
SOURCES = ("CHANGELOG.md", "tools/hatch_build.py", CONTENTS)
"""Of an sdist, besides the wheel's files, README.md, LICENSE and pyproject.toml, which hatchling takes by itself."""


class ContentsHook(BuildHookInterface):  # type: ignore[type-arg]  # hatchling's own parameter is of no use here
    """Names each file."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Have the listed files taken. version: "standard", or "editable". A file that is missing ends the build."""
        if version == "editable":
            return
        names = (Path(self.root) / CONTENTS).read_text("utf-8").split()
        if self.target_name == "wheel":
            build_data["force_include"].update({name: name.removeprefix("src/") for name in names})
        else:
            build_data["force_include"].update({name: name for name in (*names, *SOURCES)})
