"""GLOSSARY.md, ARCHITECTURE.md, CONTRIBUTING.md and README.md against the code that they describe."""

import re
import tomllib
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]
PACKAGE = REPOSITORY / "src/mulligan"
DOCS = REPOSITORY / "docs"

BANNED = {
    "is no ": 'write "is not a": the other is read as emphasis',
    "can't be had": 'write what fails: "is not installed", "does not answer"',
    "of ours": 'write "our own", or name the owner',
    "told of": 'write who reports what: "reports", "logs", "returns"',
    "tells of": 'write who reports what: "reports", "logs", "returns"',
    "so many": "write the number, or its name",
    "for good": 'write "permanently", or what ends it',
    "whoever": "name the part that does it",
}
"""Phrases that slow a reader down, each with what to write."""

BANNED_IN_CODE = {
    r"(?<!there )\b(?:is|are) no (?!longer\b|more\b)": BANNED["is no "],
    r"can't be had|\bto be had\b": BANNED["can't be had"],
    r"\bof ours\b": BANNED["of ours"],
    r"\bfor good\b": BANNED["for good"],
}
"""The same as patterns, for texts, comments and docstrings of src."""

BANNED_OUTSIDE_THE_WORKER = {
    r"\b(?:is|are|was|were|be) told\b|\b(?:told|tells?) of\b": BANNED["told of"],
    r"\bso many\b": BANNED["so many"],
    r"\bwh(?:oever|omever)\b": BANNED["whoever"],
    r"\b(?:by itself|by themselves)\b": 'leave it out, or name what it does without: "without a restart"',
}
"""As before, for all packages but `worker` and `core`."""

PAGES_FOR_USERS = sorted(
    path.relative_to(REPOSITORY).as_posix()
    for path in (*DOCS.glob("*.md"), *DOCS.glob("integrations/*.md"))
    if path.name not in {"reliability.md", "simulation.md"}  # in part written from what tests print
)

KINDS_OF_CHANGES = ["Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"]
"""Of Keep a Changelog, in its order."""

WRITTEN_LATER = {"docs/data/proof.json"}
"""Paths that need not be there: `make prove SIZE=full` writes this one."""


def _text(name: str) -> str:
    return (REPOSITORY / name).read_text("utf-8")


def _entries(glossary: str) -> list[tuple[list[str], str]]:
    """(words, owner) of each row; the owner is a path below src/mulligan."""
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in glossary.splitlines() if line.startswith("| ")]
    return [(row[0].split(", "), row[-1].strip("`")) for row in rows if row[0] != "word"]


def _words(code: str) -> str:
    """The code in small letters, with its names taken apart: `FifoGroups._in_flight` is 'fifo groups. in flight'."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", code).replace("_", " ").lower()


def _unused(words: list[str], code: str) -> list[str]:
    text = _words(code)
    return [word for word in words if not re.search(rf"\b{_either(word.lower())}\b", text)]


def _either(word: str) -> str:
    """A pattern of a word and its plural: 'copy' and 'copies'."""
    return f"{re.escape(word[:-1])}(?:y|ies)" if word.endswith("y") else f"{re.escape(word)}s?"


def _missing_paths(page: str) -> list[str]:
    """Paths in backquotes that exist neither below src/mulligan nor in the repository. NAME stands for any name."""
    paths = re.findall(r"`([\w./-]*(?:/[\w.-]*|\.py))`", page)
    return [
        path
        for path in paths
        if "NAME" not in path
        and path not in WRITTEN_LATER
        and not (PACKAGE / path).exists()
        and not (REPOSITORY / path).exists()
    ]


def _tree(architecture: str) -> str:
    return architecture.partition("## Layout")[2].split("```")[1]


def _folders(tree: str) -> list[str]:
    """The folders that the tree of the layout has below src/mulligan."""
    found, parent = [], ""
    for indent, name in re.findall(r"^( {2}| {4})(\w+)/ ", tree.partition("src/mulligan/\n")[2], re.MULTILINE):
        found.append(name if len(indent) == 2 else f"{parent}/{name}")
        parent = name if len(indent) == 2 else parent
    return found


def _chain(container: str) -> str:
    """The layers that import-linter holds in a package: 'cli -> testing -> worker | servers'."""
    contracts = tomllib.loads(_text("pyproject.toml"))["tool"]["importlinter"]["contracts"]
    return next(" -> ".join(one["layers"]) for one in contracts if one.get("containers") == [container])


def _banned(page: str) -> list[str]:
    text = " ".join(page.split()).lower()
    return [f'"{phrase}": {reason}' for phrase, reason in BANNED.items() if phrase in text]


def _banned_in_code(code: str, patterns: dict[str, str]) -> list[str]:
    text = " ".join(line.strip().removeprefix("# ") for line in code.splitlines()).lower()
    return [f"{match[0]}: {reason}" for one, reason in patterns.items() for match in re.finditer(one, text)]


def _banned_in_src(patterns: dict[str, str], *, without: tuple[str, ...] = ()) -> dict[str, list[str]]:
    """By module, what is found. without: packages that are left out."""
    modules = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py"))
    return {
        str(module): phrases
        for module in modules
        if module.parts[0] not in without
        and (phrases := _banned_in_code((PACKAGE / module).read_text("utf-8"), patterns))
    }


def test_every_owner_in_the_glossary_exists():
    entries = _entries(_text("GLOSSARY.md"))

    assert entries
    assert [owner for _, owner in entries if not (PACKAGE / owner).is_file()] == []


def test_every_word_of_the_glossary_is_used_in_src():
    words = [word for words, _ in _entries(_text("GLOSSARY.md")) for word in words]

    code = "\n".join(path.read_text("utf-8") for path in PACKAGE.rglob("*.py"))

    assert _unused(words, code) == []


def test_glossary_has_each_word_once():
    words = [word.lower() for words, _ in _entries(_text("GLOSSARY.md")) for word in words]

    assert [word for word in words if words.count(word) > 1] == []


@pytest.mark.parametrize("page", ["ARCHITECTURE.md", "CONTRIBUTING.md"])
def test_every_path_in_a_page_exists(page):
    assert _missing_paths(_text(page)) == []


def test_every_folder_of_the_layout_exists_and_none_is_left_out():
    folders = _folders(_tree(_text("ARCHITECTURE.md")))

    packages = sorted(path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name != "__pycache__")
    rooms = sorted(f"worker/{path.parent.name}" for path in (PACKAGE / "worker").glob("*/__init__.py"))
    assert sorted(folders) == sorted([*packages, *rooms])


def test_layout_names_every_module_of_the_worker():
    tree = _tree(_text("ARCHITECTURE.md"))

    modules = [path.stem for path in (PACKAGE / "worker").rglob("*.py") if path.stem != "__init__"]

    assert [name for name in modules if not re.search(rf"\b{name}\b", tree)] == []


@pytest.mark.parametrize("page", ["ARCHITECTURE.md", "CONTRIBUTING.md"])
def test_page_has_the_directions_of_imports_that_are_checked(page):
    text = " ".join(_text(page).split())

    assert _chain("mulligan") in text
    assert f"worker: {_chain('mulligan.worker')}" in text


@pytest.mark.parametrize("page", ["README.md", "GLOSSARY.md", "ARCHITECTURE.md"])
def test_page_has_no_phrase_that_slows_its_reader_down(page):
    assert _banned(_text(page)) == []


def test_code_has_no_phrase_that_slows_its_reader_down():
    assert _banned_in_src(BANNED_IN_CODE) == {}


@pytest.mark.parametrize("page", PAGES_FOR_USERS)
def test_page_for_users_has_no_phrase_that_slows_its_reader_down(page):
    assert _banned_in_code(_text(page), BANNED_IN_CODE | BANNED_OUTSIDE_THE_WORKER) == []


def test_code_around_the_worker_names_who_reports_and_who_acts():
    assert _banned_in_src(BANNED_OUTSIDE_THE_WORKER, without=("worker", "core")) == {}


def test_changelog_has_each_kind_of_change_once_and_in_order():
    versions = re.split(r"^## ", _text("CHANGELOG.md"), flags=re.MULTILINE)[1:]

    kinds = [re.findall(r"^### (.+)$", version, re.MULTILINE) for version in versions]

    assert versions[0].startswith("[Unreleased]\n")
    assert kinds == [[kind for kind in KINDS_OF_CHANGES if kind in found] for found in kinds]


def test_index_of_the_docs_lists_every_page_once():
    pages = sorted(
        path.relative_to(DOCS).as_posix()
        for path in (*DOCS.glob("*.md"), *DOCS.glob("*/README.md"))
        if path != DOCS / "README.md"
    )

    listed = re.findall(r"^\| \[[^]]+\]\(([^)]+\.md)\) \|", _text("docs/README.md"), re.MULTILINE)

    assert sorted(name for name in listed if not name.startswith("../")) == pages


# -- what these tests would notice


def test_phrase_in_a_comment_is_found_and_plain_english_is_not():
    found = _banned_in_code("# that is no reason\n# there is no reason, and it is no longer asked for", BANNED_IN_CODE)

    assert found == [f"is no : {BANNED['is no ']}"]


def test_a_word_that_only_begins_like_one_in_src_is_unused():
    assert _unused(["hop", "FIFO group", "held copy"], "class FifoGroups: held_copies = hopper") == ["hop"]


def test_a_path_that_is_not_there_is_named():
    assert _missing_paths("`core/flow.py`, `tests/unit`, `brokers/NAME.py`, `worker/line.py`, `core/none/`") == [
        "worker/line.py",
        "core/none/",
    ]


def test_a_banned_phrase_is_found_across_the_end_of_a_line():
    assert _banned("A task that is no\ntask.") == ['"is no ": write "is not a": the other is read as emphasis']
