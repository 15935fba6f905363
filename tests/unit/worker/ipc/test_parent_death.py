"""A child that dies with its parent, and one that has taken that back."""

import subprocess
import sys

import pytest

PARENT = """
import os, sys
from mulligan.worker.ipc.parent_death import die_with_parent, outlive_parent

ready, signalled = os.pipe()
if os.fork() == 0:
    die_with_parent()
    {more}
    os.write(signalled, b"x")
    os.read(0, 1)            # until the test has seen the parent end
    os.write(1, b"child")
    os._exit(0)
os.read(ready, 1)
os.write(1, b"parent ")
os._exit(0)
"""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the kernel has no such signal")


@pytest.mark.parametrize(("more", "told"), [("pass", b"parent "), ("outlive_parent()", b"parent child")])
def test_child_outlives_its_parent_only_when_it_has_taken_the_signal_back(more, told):
    with subprocess.Popen(
        [sys.executable, "-c", PARENT.format(more=more)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdin is not None
        assert parent.stdout is not None
        parent.wait(60)

        parent.stdin.close()
        said = parent.stdout.read()

    assert said == told
