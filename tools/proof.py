"""Runs the long proofs (make prove SIZE=full), keeps their figures, with commit and date, in docs/data/proof.json."""

import sys

import figures

KEPT = figures.ROOT / "docs" / "data" / "proof.json"


if __name__ == "__main__":
    sys.exit(figures.run(sys.argv[1:], KEPT))
