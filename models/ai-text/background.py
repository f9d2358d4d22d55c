"""Write background.parquet: human texts of many kinds as bags of hashed n-grams, for whoever brings a new generator.

    python models/ai-text/background.py --data ../shared/data

An expert learnt from a user's human texts alone takes every other kind of human text for machine-written; beside
these it does not.  Freely licensed sets only, from the part of the split that the heads never saw, and no text: which
of 2^18 buckets its n-grams fall into, in ascending order, and its style rates.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from train import CAPS, FREE, HERE, LICENCES, load, usable_rows, weights

from curator import learn
from curator.ids import file_sha256

TEXTS = 600


def main() -> None:
    """Choose texts by weight, so that no domain dominates, and write their bags."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    args = parser.parse_args()
    corpus = load(args.data)
    free = np.isin(corpus.dataset, [name for name in CAPS if LICENCES[name] in FREE])
    pool = corpus.take((corpus.part == "tune") & (corpus.label == 0) & free)
    found = learn.grams(pool.text)
    fit = np.flatnonzero(usable_rows(pool, found))
    chosen = fit[learn.spread(weights(pool)[fit], TEXTS)]
    path = HERE / learn.BACKGROUND
    learn.write_background(learn.taken(found, chosen), pool.domain[chosen], path)
    pin(HERE / "config.toml", path)


def pin(config: Path, path: Path) -> None:
    """Put the file's sha256 into config.toml, in place of the one before."""
    lines = [line for line in config.read_text("utf-8").splitlines() if not line.startswith(f'"{path.name}"')]
    lines.insert(lines.index("[sha256]") + 1, f'"{path.name}" = "{file_sha256(path)}"')
    config.write_text("\n".join(lines) + "\n", "utf-8")


if __name__ == "__main__":
    main()
