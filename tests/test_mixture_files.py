"""The mixture's Parquet opens in `datasets` without being told its columns, however it is asked for, and in DuckDB."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curator.errors import RecipeError
from curator.ledger import batch, ledger_schema, mixture_schema
from curator.progress import Silent
from curator.run import redecide_run
from curator.schema import field
from curator.shards import alike, write_parquet
from tests.conftest import Finished

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of datasets, not of ours
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]
ROWS = 700
IDS = [uuid.UUID(int=i * 0x9E3779B97F4A7C15 + 1) for i in range(ROWS)]


@pytest.fixture(scope="module")
def mixture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two files as the ledger writes them."""
    root = tmp_path_factory.mktemp("run")
    schema, _ = mixture_schema(ledger_schema(pa.schema([field("quality", pa.float32(), "")])), pa.schema([]))
    raw = pa.array([one.bytes for one in IDS], pa.binary(16))
    given: dict[str, pa.Array] = {
        "doc_id": raw,
        "cluster": pa.ExtensionArray.from_storage(pa.uuid(), raw),
        "text": pa.array([f"text {i}" for i in range(ROWS)], pa.large_string()),
        "weight": pa.array(np.arange(ROWS) % 3 + 1.0),
    }
    columns = {f.name: given.get(f.name, pa.nulls(ROWS, f.type)) for f in schema}
    for name in ("source", "record_id"):
        columns[name] = pa.array([name] * ROWS)
    whole = batch(schema, columns)
    for number, part in enumerate((whole.slice(0, 400), whole.slice(400))):
        write_parquet(root, root / "mixture" / f"{number:06}.parquet", schema, alike([part]), "k")
    return root / "mixture"


@pytest.mark.parametrize("streaming", [True, False])
@pytest.mark.parametrize("asked", ["data_files", "data_dir"])
def test_datasets_reads_it(mixture: Path, tmp_path: Path, asked: str, streaming: bool) -> None:
    datasets = pytest.importorskip("datasets")
    how: dict[str, Any] = {"data_dir": str(mixture)}
    if asked == "data_files":
        how = {"data_files": [str(path) for path in sorted(mixture.iterdir())]}
    data = datasets.load_dataset("parquet", split="train", streaming=streaming, cache_dir=str(tmp_path), **how)
    rows = list(data)
    assert {row["doc_id"]: row["text"] for row in rows} == {str(one): f"text {i}" for i, one in enumerate(IDS)}
    assert all(row["cluster"] == row["doc_id"] for row in rows)


def test_lz4_where_the_recipe_says_so(finished_run: Finished, tmp_path: Path) -> None:
    redecide_run(finished_run.out, ["mixture.compression=lz4"], tmp_path / "out", Silent())
    for path in sorted((tmp_path / "out/mixture").iterdir()):
        footer, before = pq.read_metadata(path), pq.read_table(finished_run.out / "mixture" / path.name)
        assert {footer.row_group(0).column(i).compression for i in range(footer.num_columns)} == {"LZ4"}
        assert pq.read_table(path).equals(before)
    with pytest.raises(RecipeError, match=r"mixture\.compression = 'gzip' is none of: zstd, lz4"):
        redecide_run(finished_run.out, ["mixture.compression=gzip"], tmp_path / "no", Silent())


def test_duckdb_takes_the_ids_for_uuids(mixture: Path) -> None:
    with duckdb.connect() as con:
        files = f"read_parquet('{mixture}/*.parquet')"
        con.execute("create table documents as select unnest(?::uuid[]) as doc_id", [[str(one) for one in IDS]])
        assert con.sql(f"select count(*) from {files} join documents using (doc_id)").fetchall() == [(ROWS,)]
        assert con.sql(f"select text from {files} where doc_id = '{IDS[5]}'::uuid").fetchall() == [("text 5",)]
        assert con.sql(f"select text from {files} where doc_id = '{IDS[5]}'").fetchall() == [("text 5",)]
