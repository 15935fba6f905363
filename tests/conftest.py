"""Servers that tests of several folders share, started by the first test that asks for them."""

from collections.abc import Iterator

import pytest

from tests.postgres import Server, running


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """A PostgreSQL server for the whole run. A test makes a schema of its own in it, and leaves the server alone."""
    with running() as server:
        yield server
