"""One name, one thing: modules of sibling packages share a name only for a reason that stands here."""

from collections import defaultdict
from pathlib import Path

import mulligan

PACKAGE = Path(mulligan.__file__).parent

REASONS = {
    ("", "base"): "the seam of brokers, the seam of ledgers, and the class that users derive tasks from",
    ("", "memory"): "the implementation in memory of the seam that its package is",
    ("", "open"): "from a URL to the implementation, for the seam that its package is",
    ("", "sqlite"): "the ledger in a file, and the file",
    ("", "url"): "what every URL has, and what the URL of a file has",
    ("brokers", "broker"): "the implementation of the seam that its package is",
    ("brokers", "codec"): "from the service's form of a message to a delivery, and back",
    ("brokers", "error"): "from the service's errors to those of the seam",
    ("brokers", "provision"): "the queues that the service has to have",
}
"""By the parent of the sibling packages and the name: why it is the same word for each."""


def shared(modules):
    """The names that modules of sibling packages share, as (parent, name). modules: paths below the package."""
    found = defaultdict(set)
    for module in modules:
        if len(module.parts) > 1 and module.stem not in ("__init__", "__main__"):
            found["/".join(module.parts[:-2]), module.stem].add(module.parent)
    return {key for key, folders in found.items() if len(folders) > 1}


def test_modules_of_sibling_packages_share_a_name_for_a_reason_only():
    modules = [path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py") if "template" not in path.parts]

    assert shared(modules) == REASONS.keys()


def test_two_modules_of_one_name_are_seen_beside_each_other_and_not_above_each_other():
    modules = [
        Path(one) for one in ("a/x.py", "b/x.py", "a/c/x.py", "a/y.py", "a/c/y.py", "a/__init__.py", "b/__init__.py")
    ]

    assert shared(modules) == {("", "x")}
