"""The cheap path to origin on one core: documents a second of the whole stage, and what each step of it costs.

python benchmarks/cheap_path.py ../shared/data

The documents are the first 350 words of human and machine texts of the training sets that are as long.
"""

from __future__ import annotations

import argparse
import re
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from curator.kernels import kernel
from curator.stages import ngram
from curator.stages.traces import Traces
from curator.style import PREFIX, fold, tables, utf8

SETS = ("news_2016_2017", "nltk_human", "blog_authorship", "biscope", "alpaca_eval_outputs", "arena_hard_answers")
WORDS = 350
EACH = 400
ROUNDS = 7
STEPS = ("fold", "split into tokens", "hash 1- to 3-grams", "add their weights", "style rates", "style network")


def documents(data: Path) -> list[str]:
    """The first `WORDS` words of the first `EACH` texts of each set that have as many."""
    opening = re.compile(rf"(?:\S+\s+){{{WORDS - 1}}}\S+")
    found: list[str] = []
    for name in SETS:
        texts = pq.read_table(data / f"detect/train/{name}.parquet", columns=["text"])["text"].to_pylist()
        found += [match[0] for text in texts if text and (match := opening.match(text.lstrip()))][:EACH]
    return found


@kernel
def steps(data: Any, offsets: Any, table: Any, lower: Any, kind: Any, weights: Any, net: Any, last: int) -> float:
    """Take every document through the first `last` steps; return a sum, so that none is optimised away."""
    codes = np.empty(PREFIX + 8, np.int32)
    starts, stops = np.empty(PREFIX + 8, np.int32), np.empty(PREFIX + 8, np.int32)
    hashes, buckets = np.empty(PREFIX + 8, np.uint64), np.empty(3 * (PREFIX + 8), np.int32)
    seen, rates = np.empty(3 * 1024, np.int64), np.empty(ngram.STYLES)
    total = 0.0
    for row in range(offsets.size - 1):
        n = fold(data, offsets[row], offsets[row + 1], table, kind, codes)
        m = ngram.split_tokens(codes, n, lower, kind, starts, stops, hashes) if last > 1 else 0
        k = ngram.word_buckets(hashes, m, buckets) if last > 2 else 0
        total += ngram.evidence(weights, buckets, k) if last > 3 else n + m + k
        if last > 4:
            total += ngram.style_rates(codes, m, kind, lower, starts, stops, hashes, seen, rates)
        if last > 5:
            total += ngram.style_logit(rates, net[0], net[1], net[2], net[3], net[4], net[5])
    return total


def seconds(call: Callable[[], object]) -> float:
    """Median CPU-seconds of a call, compiled before."""
    call()
    spent = []
    for _ in range(ROUNDS):
        began = time.process_time()
        call()
        spent.append(time.process_time() - began)
    return statistics.median(spent)


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    texts = documents(parser.parse_args().data)
    column = pa.array(texts, pa.large_string())
    batch = pa.RecordBatch.from_arrays([column], ["text"])
    print(f"{len(texts)} documents of {WORDS} words, {column.nbytes / len(texts):.0f} bytes each; median of {ROUNDS}\n")
    print("| stage | documents per CPU-second | microseconds a document |\n|---|---|---|")
    for stage in (ngram.CheapOrigin(), Traces()):
        measure = stage.open()
        spent = seconds(lambda measure=measure: measure(batch)) / len(texts)  # type: ignore[misc]
        print(f"| {stage.name} | {1 / spent:,.0f} | {spent * 1e6:.1f} |")
    cheap = ngram.Cheap.of(ngram.ai_text_tensors("cheap.safetensors"))
    data, offsets = utf8(column)
    t = tables()
    print("\n| step of ngram | microseconds a document |\n|---|---|")
    before = 0.0
    for last, name in enumerate(STEPS, 1):
        spent = seconds(lambda n=last: steps(data, offsets, t.fold, t.lower, t.kind, cheap.table, cheap.net, n))  # type: ignore[misc]
        print(f"| {name} | {(spent / len(texts) - before) * 1e6:.1f} |")
        before = spent / len(texts)


if __name__ == "__main__":
    main()
