import importlib
import sys

import pytest

from mulligan.telemetry.import_guard import absent


@pytest.fixture
def package(tmp_path, monkeypatch):
    (tmp_path / "a_package_of_the_test.py").write_text("x = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield "a_package_of_the_test"
    sys.modules.pop("a_package_of_the_test", None)


def test_absent_keeps_a_package_away_and_gives_it_back(package):
    with absent(package), pytest.raises(ImportError):
        importlib.import_module(package)

    assert importlib.import_module(package).x == 1


def test_absent_leaves_a_package_that_was_imported_before(package):
    before = importlib.import_module(package)

    with absent(package):
        assert importlib.import_module(package) is before
    assert sys.modules[package] is before
