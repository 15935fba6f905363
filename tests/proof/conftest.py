"""Proofs are made on the applications of the acceptance tests: the promises of there, in longer runs."""

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
