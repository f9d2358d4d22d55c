"""Documents as the conductor knows them, with what a test says of them; the rest is blank."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import numpy as np
import pyarrow as pa

from curator.curation import Judged


def column(n: int, *values: str | None) -> pa.ChunkedArray:
    """These values again and again, as the conductor holds names."""
    some = itertools.islice(itertools.cycle(values), n)
    return pa.chunked_array([pa.array(list(some), pa.string()).dictionary_encode()])


def judged(n: int, **given: Any) -> Judged:
    """English text of one source, 200 words each, undated, without a fault; what is neither given nor named here is None."""
    known = {
        "source": column(n, "s"), "host": column(n, None), "language": column(n, "en"), "declared_origin": column(n, None),
        "date_us": np.full(n, np.iinfo(np.int64).min), "readable": np.ones(n, bool), "broken": np.zeros(n, bool),
        "faultless": np.ones(n, bool), "trusted": np.zeros(n, bool), "reference": np.zeros(n, bool),
        "n_words": np.full(n, 200), "text_bytes": np.full(n, 1_200), "ids": np.zeros((n, 2), np.uint64), "rules": (),
    }  # fmt: skip
    return Judged(**{f.name: (known | given).get(f.name) for f in dataclasses.fields(Judged)})
