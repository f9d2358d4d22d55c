"""Exports are read back by the loaders they are for, where these are installed, and by readers written here from the formats."""

from __future__ import annotations

import io
import itertools
import json
import signal
import struct
import subprocess
import sys
import tarfile
import time
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from tokenizers import Tokenizer

from curator.errors import InputError, OutputError
from curator.loader import STANDARD, CuratedDataset
from curator.loading.export import export_mds, export_megatron, export_webdataset
from tests.conftest import ROOT
from tests.test_loader import texts, write_run
from tests.test_loading_packing import DOCUMENTS, write_tokenizer


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    weights = [2.0 if i == 7 else 1.0 for i in range(DOCUMENTS)]
    return write_run(tmp_path_factory.mktemp("exported") / "out", [DOCUMENTS], weights)


def dataset(run: Path) -> CuratedDataset:
    return CuratedDataset(run, seed=4, columns=["votes", "date"])


def read_tars(folder: Path) -> list[dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for path in sorted(folder.glob("*.tar")):
        with tarfile.open(path) as tar:
            for member in tar:
                raw = tar.extractfile(member)
                assert raw is not None
                key, kind = member.name.split(".")
                found.setdefault(key, {})[kind] = raw.read()
    return [{"text": one["txt"].decode(), **json.loads(one["json"])} for _, one in sorted(found.items())]


def test_webdataset_holds_every_sample_in_order(run: Path, tmp_path: Path) -> None:
    assert export_webdataset(dataset(run), tmp_path / "wds", documents=40) == DOCUMENTS + 1
    assert len(list((tmp_path / "wds").iterdir())) == 4
    samples = [sample | {"date": str(sample["date"])} for sample in dataset(run)]
    assert read_tars(tmp_path / "wds") == samples


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # it leaves its files open
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_webdataset_reads_what_is_written(run: Path, tmp_path: Path) -> None:
    webdataset = pytest.importorskip("webdataset")
    export_webdataset(dataset(run), tmp_path / "wds", documents=40)
    shards = [str(path) for path in sorted((tmp_path / "wds").iterdir())]
    read = list(webdataset.WebDataset(shards, shardshuffle=False).decode())
    assert [sample["txt"] for sample in read] == texts(dataset(run))
    assert [sample["json"]["doc_id"] for sample in read] == [sample["doc_id"] for sample in dataset(run)]


def read_mds(folder: Path) -> list[dict[str, Any]]:
    """Read MDS as its documentation says: how many, where each begins, the config, then sizes and values of each."""
    found = []
    for shard in json.loads((folder / "index.json").read_text())["shards"]:
        raw = (folder / shard["raw_data"]["basename"]).read_bytes()
        assert len(raw) == shard["raw_data"]["bytes"] <= shard["size_limit"]
        (n,) = struct.unpack_from("<I", raw)
        assert n == shard["samples"]
        places = np.frombuffer(raw, "<u4", n + 1, 4)
        config = json.loads(raw[4 + 4 * (n + 1) : places[0]])
        assert config.items() <= shard.items()
        for begin, end in itertools.pairwise(places):
            file = io.BytesIO(raw[begin:end])
            free = [size is None for size in config["column_sizes"]]
            sizes = iter(np.frombuffer(file.read(4 * sum(free)), "<u4").tolist())
            values = [file.read(next(sizes) if none else 8) for none in free]
            found.append(
                {
                    name: raw_.decode() if kind == "str" else struct.unpack("<d", raw_)[0]
                    for name, kind, raw_ in zip(config["column_names"], config["column_encodings"], values, strict=True)
                }
            )
    return found


def test_mds_holds_every_sample_in_order(run: Path, tmp_path: Path) -> None:
    assert export_mds(dataset(run), tmp_path / "mds", limit=4000) == DOCUMENTS + 1
    assert len(list((tmp_path / "mds").glob("shard.*.mds"))) > 3
    found = read_mds(tmp_path / "mds")
    for read, sample in zip(found, dataset(run), strict=True):
        assert read.keys() == {*STANDARD, "votes", "date"}
        assert (read["text"], read["doc_id"], read["weight"]) == (sample["text"], sample["doc_id"], sample["weight"])
        assert read["stratum"] == (sample["stratum"] or "")
        assert np.isnan(read["prob_synthetic"]) == (sample["prob_synthetic"] is None)
        assert json.loads(read["votes"] or "null") == sample["votes"]


def test_streaming_reads_what_is_written(run: Path, tmp_path: Path) -> None:
    streaming = pytest.importorskip("streaming", reason="mosaicml-streaming pins what the project's own pins exclude")
    export_mds(dataset(run), tmp_path / "mds", limit=4000)
    read = streaming.LocalDataset(str(tmp_path / "mds"))
    assert [read[i]["text"] for i in range(len(read))] == texts(dataset(run))


def read_megatron(prefix: Path) -> list[list[int]]:
    """Read an indexed dataset as megatron/core/datasets/indexed_dataset.py describes it."""
    raw = prefix.with_suffix(".idx").read_bytes()
    assert raw[:9] == b"MMIDIDX\x00\x00"
    version, code, n, bounds = struct.unpack_from("<QBQQ", raw, 9)
    assert version == 1 and bounds == n + 1
    kind = {4: np.int32, 8: np.uint16}[code]
    sizes = np.frombuffer(raw, "<i4", n, 34)
    starts = np.frombuffer(raw, "<i8", n, 34 + 4 * n)
    assert np.frombuffer(raw, "<i8", n + 1, 34 + 12 * n).tolist() == list(range(n + 1))
    assert len(raw) == 34 + 12 * n + 8 * (n + 1)
    tokens = prefix.with_suffix(".bin").read_bytes()
    assert len(tokens) == sizes.sum() * np.dtype(kind).itemsize
    return [np.frombuffer(tokens, kind, s, at).tolist() for s, at in zip(sizes, starts, strict=True)]


def test_megatron_holds_every_document_with_its_id(run: Path, tmp_path: Path) -> None:
    tokenizer = write_tokenizer(tmp_path / "tokenizer.json", truncate=1)
    tokens = export_megatron(dataset(run), tmp_path / "megatron", tokenizer, end="<end>")
    found = read_megatron(tmp_path / "megatron" / "text")
    assert tokens == sum(map(len, found)) == 4 * (DOCUMENTS + 1)
    reading = Tokenizer.from_file(str(tokenizer))
    reading.no_truncation()
    reading.no_padding()
    assert found == [[*reading.encode(text).ids, 1] for text in texts(dataset(run))]
    side = pq.read_table(tmp_path / "megatron" / "text.ids.parquet").to_pylist()
    assert side == [
        {"doc_id": uuid.UUID(sample["doc_id"]), "source": sample["source"], "tokens": 4} for sample in dataset(run)
    ]


def test_a_large_vocabulary_takes_four_bytes(run: Path, tmp_path: Path) -> None:
    tokenizer = json.loads(write_tokenizer(tmp_path / "small.json").read_text("utf-8"))
    tokenizer["model"]["vocab"] |= {f"word{i}": 1000 + i for i in range(70_000)}
    (tmp_path / "large.json").write_text(json.dumps(tokenizer))
    export_megatron(dataset(run), tmp_path / "small", tmp_path / "small.json")
    export_megatron(dataset(run), tmp_path / "large", tmp_path / "large.json")
    assert read_megatron(tmp_path / "small" / "text") == read_megatron(tmp_path / "large" / "text")
    sizes = [(tmp_path / name / "text.bin").stat().st_size for name in ("small", "large")]
    assert sizes[1] == 2 * sizes[0]


@pytest.mark.parametrize("export", [export_webdataset, export_mds])
def test_the_same_bytes_and_no_overwriting(run: Path, tmp_path: Path, export: Any) -> None:
    for name in ("one", "two"):
        export(dataset(run), tmp_path / name)
    files = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert files
    assert all((tmp_path / "one" / n).read_bytes() == (tmp_path / "two" / n).read_bytes() for n in files)
    with pytest.raises(OutputError, match="one is there already"):
        export(dataset(run), tmp_path / "one")


def test_an_export_that_fails_leaves_nothing(run: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no token"):
        export_megatron(dataset(run), tmp_path / "at", write_tokenizer(tmp_path / "t.json"), end="<none>")
    broken = write_run(tmp_path / "broken", [20, 20])
    path = broken / "mixture" / "000001.parquet"
    raw = bytearray(path.read_bytes())
    raw[4:1500] = bytes(1496)
    reading = CuratedDataset(broken, shuffle=False)
    path.write_bytes(raw)
    with pytest.raises(InputError, match="cannot be read"):
        export_webdataset(reading, tmp_path / "at")
    assert not list(tmp_path.glob("at*"))


def slowly(run: str, folder: str) -> None:
    """Export as ever, but a sample now and then."""

    class Slow(CuratedDataset):
        def __iter__(self) -> Any:
            for sample in super().__iter__():
                time.sleep(0.02)
                yield sample

    export_webdataset(Slow(run, seed=4, columns=["votes", "date"]), folder, documents=20)


def test_an_export_that_is_killed_is_not_there_and_made_again_whole(run: Path, tmp_path: Path) -> None:
    code = f"from tests.test_loading_export import slowly; slowly({str(run)!r}, {str(tmp_path / 'at')!r})"
    killed = subprocess.Popen([sys.executable, "-W", "ignore", "-c", code], cwd=ROOT)
    while not list(tmp_path.glob("at.tmp/*.tar")):
        assert killed.poll() is None
        time.sleep(0.005)
    killed.send_signal(signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL and not (tmp_path / "at").exists()
    for name in ("at", "straight"):
        export_webdataset(dataset(run), tmp_path / name, documents=20)
    files = sorted(path.name for path in (tmp_path / "straight").iterdir())
    assert sorted(path.name for path in (tmp_path / "at").iterdir()) == files
    assert all((tmp_path / "at" / n).read_bytes() == (tmp_path / "straight" / n).read_bytes() for n in files)
    assert not (tmp_path / "at.tmp").exists()


def test_an_empty_mixture_is_exported_empty(tmp_path: Path) -> None:
    empty = CuratedDataset(write_run(tmp_path / "out", []))
    assert export_webdataset(empty, tmp_path / "wds") == export_mds(empty, tmp_path / "mds") == 0
    assert export_megatron(empty, tmp_path / "meg", write_tokenizer(tmp_path / "t.json")) == 0
    assert read_megatron(tmp_path / "meg" / "text") == read_mds(tmp_path / "mds") == []
