"""tests/unit has a file per module of src/mulligan, or a list says where the module is tested."""

from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[3]
PACKAGE = REPOSITORY / "src" / "mulligan"
UNIT = REPOSITORY / "tests" / "unit"
LIST = UNIT / "covered-elsewhere.txt"


def listed(text: str) -> dict[str, list[str]]:
    """Where each module of the list is tested."""
    lines = [line.partition(": ") for line in text.splitlines() if line and not line.startswith("#")]
    found = {module: tests.split() for module, _, tests in lines}
    assert len(found) == len(lines), "a module is in the list twice"
    return found


def modules() -> set[str]:
    """All but `__init__`, as paths below src/mulligan."""
    return {str(path.relative_to(PACKAGE)) for path in PACKAGE.rglob("*.py") if path.name != "__init__.py"}


def has_file(module: str) -> bool:
    path = Path(module)
    return (UNIT / path.parent / f"test_{path.name}").exists()


def test_each_module_has_its_test_file_or_a_line_in_the_list():
    untold = sorted(one for one in modules() - listed(LIST.read_text("utf-8")).keys() if not has_file(one))

    assert untold == [], f"write tests/unit/.../test_NAME.py for each, or a line in {LIST.relative_to(REPOSITORY)}"


def test_list_has_modules_without_a_test_file_only_and_tests_that_exist():
    found = listed(LIST.read_text("utf-8"))

    assert sorted(found.keys() - modules()) == [], "no such module"
    assert [one for one in found if has_file(one)] == [], "it has its test file, and needs no line"
    assert [one for one, tests in found.items() if not tests] == []
    assert [test for tests in found.values() for test in tests if not _is_test(test)] == []


def _is_test(name: str) -> bool:
    path = REPOSITORY / "tests" / name
    return path.name.startswith("test_") if path.is_file() else any(path.glob("**/test_*.py"))
