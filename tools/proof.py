"""Runs the long proofs (make prove SIZE=full) and keeps what they told, with commit and date, in docs/proof.json."""

import sys

import figures

KEPT = figures.ROOT / "docs" / "proof.json"


if __name__ == "__main__":
    sys.exit(figures.run(sys.argv[1:], KEPT))
