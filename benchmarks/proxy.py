"""How fast the proxy model is fitted, asked and sampled on one core, and how surprised it is beside other smoothings.

Without peers it measures the product's own model alone; with nltk installed, its interpolated Kneser-Ney (one discount of
0.1 for all counts, on the same tokens) is asked about the first held-out documents: it is plain Python.

python benchmarks/proxy.py ../shared/data/detect/train/imdb_reviews.parquet ... [--tokens 480000] [--nltk 20]
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from curator import proxy
from curator.ids import text_hash

HELD_OUT = 0.1
REPEATS = 3


def human_texts(paths: Sequence[Path]) -> list[str]:
    """Every different human text, in the order of its hash."""
    texts: set[str] = set()
    for path in paths:
        names = pq.read_schema(path).names
        table = pq.read_table(path, columns=[n for n in ("text", "label") if n in names])
        labels = table["label"].to_pylist() if "label" in names else ["human"] * table.num_rows
        texts |= {t for t, label in zip(table["text"].to_pylist(), labels, strict=True) if t and label == "human"}
    return sorted(texts, key=lambda text: text_hash(text.encode("utf-8", "replace")))


def best(work: Callable[[], Any]) -> tuple[float, Any]:
    """Least processor time of several runs, after one that compiles."""
    made = work()
    times = []
    for _ in range(REPEATS):
        began = time.process_time()
        made = work()
        times.append(time.process_time() - began)
    return min(times), made


def own(train: proxy.Tokens, test: proxy.Tokens, vocabulary: int) -> list[dict[str, Any]]:
    rows = []
    for order in (1, 2, 3, 4, 5):
        fit_s, model = best(lambda order=order: proxy.fit(train, vocabulary, order))
        ask_s, perplexity = best(lambda model=model: model.perplexity(test))
        draw_s, drawn = best(lambda model=model: model.sample(2_000, seed=0))
        rows.append(
            {
                "model": "curator.proxy", "order": order, "perplexity": perplexity, "fit_s": fit_s,
                "asked_tokens_per_s": len(test.ids) / ask_s, "sampled_tokens_per_s": len(drawn.ids) / draw_s,
                "perplexity_of_own_draw": model.perplexity(drawn),
            }
        )  # fmt: skip
    return rows


def nltk_rows(train: proxy.Tokens, test: proxy.Tokens, vocabulary: int, order: int = 3) -> list[dict[str, Any]]:
    from nltk.lm import KneserNeyInterpolated, Vocabulary
    from nltk.util import ngrams

    def padded(tokens: proxy.Tokens) -> list[list[str]]:
        firsts = tokens.ends - tokens.sizes
        return [
            [str(proxy.END)] * (order - 1) + list(map(str, tokens.ids[a:b]))
            for a, b in zip(firsts, tokens.ends, strict=True)
        ]

    began = time.process_time()
    model = KneserNeyInterpolated(order, vocabulary=Vocabulary(map(str, range(vocabulary)), unk_cutoff=1))
    model.fit([[gram for n in range(1, order + 1) for gram in ngrams(one, n)] for one in padded(train)])
    fit_s = time.process_time() - began
    began = time.process_time()
    surprise = [
        -np.log(max(model.score(one[i], one[i - order + 1 : i]), 1e-300))
        for one in padded(test)
        for i in range(order - 1, len(one))
    ]
    return [
        {
            "model": "nltk KneserNeyInterpolated", "order": order, "perplexity": float(np.exp(np.mean(surprise))),
            "fit_s": fit_s, "asked_tokens_per_s": len(test.ids) / (time.process_time() - began),
        }
    ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("texts", type=Path, nargs="+")
    parser.add_argument("--tokens", type=int, default=480_000)
    parser.add_argument("--nltk", type=int, default=0, help="held-out documents that nltk is asked about")
    parser.add_argument("-o", "--out", type=Path)
    options = parser.parse_args()
    texts = human_texts(options.texts)[:20_000]
    tokenizer = proxy.learn_tokenizer(texts[:2_000])
    vocabulary = tokenizer.get_vocab_size()
    encode_s, tokens = best(lambda: proxy.encode(tokenizer, texts[: min(4_000, len(texts))]))
    print(f"encoded {len(tokens.ids):,} tokens, {len(tokens.ids) / encode_s:,.0f} a second of processor time")
    held = max(1, int(HELD_OUT * len(tokens)))
    train = tokens.take(np.arange(held, len(tokens)))
    train = train.take(np.arange(int(np.searchsorted(train.ends, options.tokens, side="right"))))
    rows = own(train, tokens.take(np.arange(held)), vocabulary)
    if options.nltk and importlib.util.find_spec("nltk"):
        few = tokens.take(np.arange(options.nltk))
        rows += nltk_rows(train, few, vocabulary)
        rows.append({"model": "curator.proxy, the same documents", "order": 3, "perplexity": proxy.fit(train, vocabulary, 3).perplexity(few)})  # fmt: skip
    for row in rows:
        print(json.dumps({k: round(v, 3) if isinstance(v, float) else v for k, v in row.items()}))
    print(f"trained on {len(train.ids):,} tokens of {len(train):,} documents, {held:,} held out")
    if options.out:
        options.out.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
