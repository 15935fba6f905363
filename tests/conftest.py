"""Servers that tests of several folders share, started by the first that asks; who runs when; what CI may skip."""

import os
import signal
from collections.abc import Generator, Iterator
from typing import Any

import pytest

from tests.support import localemu as outside
from tests.support import rabbitmq as rabbit
from tests.support.localemu import Localemu
from tests.support.postgres import Server, running
from tests.support.rabbitmq import RabbitServer
from tests.support.schedule import Scheduling, turn
from tests.support.skip import MAY_SKIP, entries, refused


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> Scheduling:
    """Of `-n`."""
    return Scheduling(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Those that run alone come last: the others are waited for once."""
    items.sort(key=_is_alone)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Side by side (`-n`), each waits for its turn; outside of pytest-timeout's wrapper, whose time begins after."""
    if not hasattr(item.config, "workerinput"):
        return (yield)
    with turn(is_alone=_is_alone(item)):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """In CI a skip is a failure unless it is named."""
    return _held(item.config, (yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """The skip of a whole file as well."""
    return _held(collector.config, (yield))


def _held(config: pytest.Config, report: Any) -> Any:
    if os.environ.get("CI") and (wrong := refused(report, entries((config.rootpath / MAY_SKIP).read_text("utf-8")))):
        report.outcome, report.longrepr = "failed", wrong
    return report


def _is_alone(item: pytest.Item) -> bool:
    return item.get_closest_marker("alone") is not None


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """A PostgreSQL server for the whole run. A test makes a schema of its own in it, and leaves the server alone."""
    with running() as server:
        yield server


@pytest.fixture(scope="session")
def localemu() -> Iterator[Localemu]:
    """An SQS server of other people's, for the whole run. A test takes an account of its own."""
    with outside.running() as server:
        yield server


@pytest.fixture(scope="session")
def rabbitmq() -> Iterator[RabbitServer]:
    """A RabbitMQ server for the whole run. A test takes a virtual host of its own, and leaves the server alone."""
    with rabbit.running() as server:
        yield server


@pytest.fixture
def at_terminal() -> Iterator[None]:
    """Has what a test starts take SIGINT and SIGHUP as at a terminal, also where the tests run in the background."""
    before = {
        signal.SIGINT: signal.signal(signal.SIGINT, signal.default_int_handler),
        signal.SIGHUP: signal.signal(signal.SIGHUP, signal.SIG_DFL),
    }
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
