"""The page on FIFO queues, followed literally."""

import sysconfig
from pathlib import Path

from tests.acceptance.test_docs import ROOT, Reader


def test_page_of_fifo_queues_works_when_it_is_followed_literally(tmp_path, sqs):
    # so that an idle receive, for which the end of each drain waits, is a short one
    environment = {"MULLIGAN_BROKER_URL": sqs.broker_url, "MULLIGAN_SHUTDOWN_S": "6"}
    reader = Reader(tmp_path, Path(sysconfig.get_path("scripts")), environment)

    reader.follow((ROOT / "docs" / "fifo.md").read_text())

    assert reader.seen == ["console", "python", "sh", "python", "xml", "console", "console", "console"]
