"""Proofs are made on the applications of the acceptance tests: the promises of there, in longer runs."""

from pathlib import Path

import pytest

from tests.acceptance.conftest import (
    app,
    app_class,
    broker,
    make_app,
    samples,
    services,
    sqs,
    start_sqs,
    until_fixture,
    whole,
)

__all__ = [
    "app",
    "app_class",
    "broker",
    "make_app",
    "samples",
    "services",
    "sqs",
    "start_sqs",
    "until_fixture",
    "whole",
]

_HANGS_AFTER_S = 1200.0
"""Of a test that names no limit of its own. For hangs: alone a proof takes up to 330 s, on a busy machine more."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    folder = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(folder) and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(_HANGS_AFTER_S))
