"""`curator calibrate`: scores of text that is known to be human, kept without the text, to hold a corpus's scores against.

A series of corpora is only comparable while one detector scored it and trusted human text keeps its scores: the file
names its detector, and an older file can be compared with.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curator.calibration import F64, LEAST, moved
from curator.curation import hosts
from curator.errors import InputError, RecipeError
from curator.origin import CALIBRATION, FORMAT, detector, measures_origin
from curator.readers import corpus
from curator.readers.columns import Columns
from curator.readers.documents import Reader
from curator.recipe import Recipe
from curator.schema import DOCUMENTS
from curator.shards import writing
from curator.sources import find
from curator.stages import Stage

NEEDED: Final = ("text_stats", "language", "ngram", "embed", "surprisal", "ai_text")
DRIFTED: Final = 0.2  # standard deviations: what is called a small effect (Cohen 1988, section 2.2.4)
UNLIKELY: Final = 0.001


@dataclass(frozen=True)
class Calibrated:
    """What a calibration file was made of."""

    path: Path
    texts: int  # read
    scored: int  # of these, judged by the detector
    first: str | None  # earliest and latest date, where texts have one
    last: str | None
    detector: str
    alarm: str | None = None  # why scores must not be compared with the older file's, where they must not

    def row(self) -> dict[str, Any]:
        """The result as one row of a table."""
        return {
            "file": str(self.path), "texts": self.texts, "scored": self.scored, "first": self.first, "last": self.last,
            "detector": self.detector[:12], "alarm": self.alarm,
        }  # fmt: skip


def calibrate(
    human: Sequence[str], recipe: Recipe, out: Path, columns: Columns | None = None, source: str | None = None,
    compare: Path | None = None,
) -> Calibrated:  # fmt: skip
    """Score trusted human text with a recipe's detector and write the calibration file.

    human: Parquet files or folders of them, with the columns of a corpus.  compare: an older calibration file of the
    same snapshot, or of the same kind of text.

    Raises `RecipeError` where the recipe scores no origin, `InputError` where there is too little to score.
    """
    stages = scoring(recipe)
    old = None if compare is None else read_any(compare)
    found = list(_scored(human, stages, columns or Columns(), source))
    texts = sum(count for count, _ in found)
    table = pa.concat_tables([rows for _, rows in found]) if found else CALIBRATION.empty_table()
    if table.num_rows < LEAST:
        raise InputError(
            f"only {table.num_rows} of {texts} texts could be judged, {LEAST} are needed: the detector judges English prose of "
            "60 words and more; give more of it"
        )
    dates = [
        None if value is None else value.date().isoformat() for value in pc.min_max(table["date"]).as_py().values()
    ]
    said = {
        "format": FORMAT, "detector": detector(recipe.stages), "texts": str(texts), "scored": str(table.num_rows),
        "first": dates[0] or "", "last": dates[1] or "", "recipe": recipe.name,
    }  # fmt: skip
    with writing(out) as temporary:
        pq.write_table(table.replace_schema_metadata(said), temporary, compression="zstd")
    alarm = None if old is None else drift(old, table, said["detector"])
    return Calibrated(out, texts, table.num_rows, dates[0], dates[1], said["detector"], alarm)


def scoring(recipe: Recipe) -> tuple[Stage, ...]:
    """The stages of a recipe that score origin, in order."""
    if not measures_origin(recipe.stages):
        raise RecipeError(
            f"recipe {recipe.name} has no stage ai_text, so there is no score to calibrate; use another with -r"
        )
    return tuple(stage for stage in recipe.stages if stage.name in NEEDED)


def _scored(
    human: Sequence[str], stages: Sequence[Stage], columns: Columns, source: str | None
) -> Iterator[tuple[int, pa.Table]]:
    """How many documents were read, and the scores of those that were judged, batch by batch."""
    sources = list(find(human, source).sources)
    if other := [s.name for s in sources if s.format != "parquet"]:
        raise InputError(
            f"{other[0]} is not Parquet; `curator ingest {human[0]} -o DIR` makes Parquet of it, then name DIR"
        )
    known = corpus(sources, columns)
    measures = [(stage, stage.open()) for stage in stages]
    for chunk in known.chunks:
        for batch in Reader(chunk, known.extra).batches():
            held = {name: batch[name] for name in DOCUMENTS.names}
            for stage, measure in measures:
                added = measure(pa.RecordBatch.from_pydict({name: held[name] for name in stage.needs.names}))
                held |= dict(zip(added.schema.names, added.columns, strict=True))
            yield batch.num_rows, _rows(held)


def _rows(held: Mapping[str, pa.Array]) -> pa.Table:
    columns = {name: held[name] for name in CALIBRATION.names if name != "host"}
    columns["host"] = hosts(held["url"])
    table = pa.table({name: columns[name] for name in CALIBRATION.names})
    return table.filter(pc.is_valid(held["prob_synthetic"])).cast(CALIBRATION)


def read_any(path: Path) -> tuple[pa.Table, str]:
    """Scores of a calibration file, and the fingerprint of the detector that made them."""
    try:
        table = pq.read_table(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(
            f"{path} is no calibration file; `curator calibrate --human FILE -o {path}` makes one"
        ) from error
    said = {k.decode(): v.decode() for k, v in (table.schema.metadata or {}).items()}
    if said.get("format") != FORMAT:
        raise InputError(f"{path} is no calibration file; `curator calibrate --human FILE -o {path}` makes one")
    return table, said["detector"]


def drift(old: tuple[pa.Table, str], now: pa.Table, made_by: str) -> str | None:
    """Why scores of trusted human text cannot be compared with an older file's; None where they can."""
    table, detector_ = old
    if detector_ != made_by:
        return (
            f"the older file was scored by detector {detector_[:12]}, this one by {made_by[:12]}: two detectors never stand in "
            "one series; score the whole series again with one of them"
        )
    effect, p = moved(_logits(table), _logits(now))
    if p < UNLIKELY and abs(effect) >= DRIFTED:
        return (
            f"scores of trusted human text moved by {effect:+.2f} standard deviations (Kolmogorov–Smirnov p = {p:.1g}, "
            f"{table.num_rows:,} texts then, {now.num_rows:,} now): the text or how it is read has changed, and shares measured "
            "against one file do not continue those of the other"
        )
    return None


def _logits(table: pa.Table) -> F64:
    return np.asarray(table["ai_logit"].to_numpy(), np.float64)
