"""What an earlier run kept is a duplicate in a later one, whose texts are not read for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curator import account
from curator.errors import InputError
from curator.progress import Silent
from curator.recipe import from_dict
from curator.run import Request, filter_corpus, redecide_run
from tests.corpus import prose
from tests.test_run import CHEAP


def curated(texts: list[str], out: Path, *against: Path, first: int = 0, **changes: Any) -> dict[str, dict[str, Any]]:
    path = out.with_suffix(".parquet")
    pq.write_table(pa.table({"text": texts, "id": [f"{out.name}{n}" for n in range(first, first + len(texts))]}), path)
    recipe = from_dict(CHEAP | changes)
    filter_corpus(Request((str(path),), out, recipe, workers=1, against=against), Silent())
    return ledger(out)


def ledger(out: Path) -> dict[str, dict[str, Any]]:
    rows = pq.read_table(out / "ledger").to_pylist()
    return {row["record_id"]: row for row in rows}


def changed(text: str) -> str:
    words = text.split()
    words[len(words) // 2] = "otherwise"
    return " ".join(words)


LONG = [prose(n, 40) for n in range(12)]


def test_a_month_is_curated_against_the_months_before(tmp_path: Path) -> None:
    may = curated([LONG[0], LONG[1], LONG[2], "too short"], tmp_path / "may")
    june = curated([LONG[3], LONG[0], changed(LONG[1]), "too short", LONG[3]], tmp_path / "june", tmp_path / "may")
    assert [june[f"june{n}"]["outcome"] for n in range(5)] == [
        "curated",
        "duplicate",
        "duplicate",
        "dropped",
        "duplicate",
    ]
    copy, near, again = june["june1"], june["june2"], june["june4"]
    assert copy["survivor"] == may["may0"]["doc_id"] and copy["survivor_similarity"] == 1
    assert near["survivor"] == may["may1"]["doc_id"] and 0.75 <= near["survivor_similarity"] < 1
    assert copy["earlier_run"] == near["earlier_run"] and copy["earlier_run"] and copy["reasons"] == ["duplicate"]
    assert again["survivor"] == june["june0"]["doc_id"] and again["earlier_run"] is None
    assert june["june3"]["earlier_run"] is None  # what an earlier run dropped it does not hold
    july = curated([LONG[3], LONG[0], LONG[5]], tmp_path / "july", tmp_path / "may", tmp_path / "june")
    assert [july[f"july{n}"]["outcome"] for n in range(3)] == ["duplicate", "duplicate", "curated"]
    assert july["july0"]["survivor"] == june["june0"]["doc_id"]
    assert not any(check.wrong for check in account.verify(tmp_path / "july"))


def test_of_a_cluster_what_is_new_survives(tmp_path: Path) -> None:
    curated([LONG[0]], tmp_path / "may")
    nearer, farther = LONG[0].split(), LONG[0].split()
    for n in range(
        len(nearer) // 24
    ):  # of twelve shingles about one in each half differs: 0.83, and 0.69 from end to end
        farther[24 * n + 7] = "otherwise"
        if n % 2:
            nearer[24 * n + 7] = "otherwise"
    june = curated([" ".join(nearer), " ".join(farther)], tmp_path / "june", tmp_path / "may")
    assert june["june0"]["outcome"] == "duplicate" and june["june0"]["earlier_run"]
    assert june["june1"]["outcome"] == "curated"


def test_a_redecided_run_needs_no_earlier_run(tmp_path: Path) -> None:
    curated([LONG[0], LONG[1]], tmp_path / "may")
    curated([LONG[0], changed(LONG[1]), LONG[2]], tmp_path / "june", tmp_path / "may")
    (tmp_path / "may").rename(tmp_path / "gone")
    redecide_run(tmp_path / "june", ["dedup.threshold=0.999"], tmp_path / "strict", Silent())
    assert [row["outcome"] for row in ledger(tmp_path / "strict").values()] == ["duplicate", "curated", "curated"]


def test_what_cannot_be_compared_is_refused(tmp_path: Path) -> None:
    curated([LONG[0]], tmp_path / "may")
    with pytest.raises(InputError, match="bands"):
        curated([LONG[0]], tmp_path / "a", tmp_path / "may", dedup={"bands": 9, "rows": 14})
    stages = CHEAP["stages"] | {"minhash": {"seed": 2}}  # type: ignore[operator]
    with pytest.raises(InputError, match="made by"):
        curated([LONG[0]], tmp_path / "b", tmp_path / "may", stages=stages)
    (tmp_path / "may" / "kept.index").unlink()
    with pytest.raises(InputError, match=r"holds no kept\.index"):
        curated([LONG[0]], tmp_path / "c", tmp_path / "may")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="is not a folder that"):
        curated([LONG[0]], tmp_path / "d", tmp_path / "empty")
