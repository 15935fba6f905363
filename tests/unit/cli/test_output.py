import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios

import pytest

from mulligan.cli.output import table

ROWS = [
    ["uid", "dead for", "last error"],
    ["018bcfe56800-00112233", "3 min", "RuntimeError: cannot load order; caused by KeyError: 'sku'"],
    ["018bcfe56801-44556677", "12 s", ""],
]


def test_table_is_as_wide_as_its_cells_where_no_person_looks():
    assert table(ROWS, right=(1,)) == (
        "uid                    dead for  last error\n"
        "018bcfe56800-00112233     3 min  RuntimeError: cannot load order; caused by KeyError: 'sku'\n"
        "018bcfe56801-44556677      12 s"
    )


def test_table_folds_its_last_column_below_itself_when_the_terminal_is_narrow():
    assert table(ROWS, right=(1,), columns=60) == (
        "uid                    dead for  last error\n"
        "018bcfe56800-00112233     3 min  RuntimeError: cannot load\n"
        "                                 order; caused by KeyError:\n"
        "                                 'sku'\n"
        "018bcfe56801-44556677      12 s"
    )


def test_table_becomes_a_block_a_row_when_the_terminal_is_too_narrow_for_its_columns():
    assert table(ROWS, right=(1,), columns=40) == (
        "018bcfe56800-00112233\n"
        "  dead for    3 min\n"
        "  last error  RuntimeError: cannot load\n"
        "              order; caused by KeyError:\n"
        "              'sku'\n"
        "018bcfe56801-44556677\n"
        "  dead for    12 s"
    )


def test_table_of_numbers_at_the_end_becomes_blocks_and_cuts_none():
    rows = [["queue", "ready"], ["orders", "1,234,567"]]

    assert table(rows, right=(1,), columns=17) == "queue       ready\norders  1,234,567"
    assert table(rows, right=(1,), columns=16) == "orders\n  ready  1,234,567"


def test_table_keeps_words_whole_when_a_line_is_shorter_than_one():
    rows = [["name", "value"], ["url", "https://sqs.eu-west-1.amazonaws.com/123456789012/orders"]]

    assert "https://sqs.eu-west-1.amazonaws.com/123456789012/orders" in table(rows, columns=30)


def test_table_of_nothing_but_a_head_is_the_head():
    assert table([["uid", "last error"]], columns=5) == "uid  last error"


@pytest.mark.parametrize("command", [["status"], ["tasks"], ["settings"]], ids=" ".join)
def test_no_line_is_wider_than_a_terminal_of_60_columns(mulligan, application, command):
    mulligan("setup")
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 60, 0, 0))
    environment = {name: item for name, item in os.environ.items() if name not in ("COLUMNS", "LINES")}

    with subprocess.Popen(
        [sys.executable, "-m", "mulligan", *command], cwd=application, stdin=subprocess.DEVNULL, stdout=theirs,
        env=environment | {"NO_COLOR": "1"},
    ) as process:  # fmt: skip
        os.close(theirs)
        shown = b""
        try:
            while part := os.read(ours, 65536):
                shown += part
        except OSError:  # what the end of a terminal is
            pass
    os.close(ours)

    lines = shown.decode().splitlines()
    assert process.returncode == 0
    assert len(lines) > 1
    assert max(map(len, lines)) <= 60
