import re
import tomllib
from pathlib import Path

from mulligan.core.extra import install_hint

REPOSITORY = Path(__file__).resolve().parents[3]
EXTRAS = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]


def test_hint_names_the_clone_or_the_wheel():
    assert install_hint("sqs") == "pip install 'PATH[sqs]' (PATH: the clone of mulligan, or its wheel)"


def test_no_text_installs_a_program_of_this_name_from_an_index():
    places = [*REPOSITORY.glob("src/**/*.py"), *REPOSITORY.glob("src/**/*.xml"), *REPOSITORY.glob("docs/**/*.md")]
    texts = {path: path.read_text("utf-8") for path in (*places, REPOSITORY / "README.md")}

    assert [
        str(path) for path, text in texts.items() if re.search(r"pip install (-U |--upgrade )?'?mulligan\b", text)
    ] == []


def test_extra_all_holds_every_other_one():
    (held,) = EXTRAS["all"]

    assert held == f"mulligan[{','.join(sorted(set(EXTRAS) - {'all'}))}]"


def test_hints_of_the_source_name_extras_that_there_are():
    source = "".join(path.read_text("utf-8") for path in REPOSITORY.glob("src/**/*.py"))

    named = set(re.findall(r"install_hint\(['\"](\w+)['\"]\)", source))

    assert named == set(EXTRAS) - {"all"}
