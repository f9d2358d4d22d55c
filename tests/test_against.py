"""What earlier runs hold, found by their stored hashes and signatures: against brute force over the signatures."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curator.against import BandIndex, Earlier, Repeats, _Sorted, acceptance, find_repeats
from curator.bands import band_hashes, signature_values
from curator.dedup import DedupParams
from curator.errors import AccountError, InputError, OutputError
from tests.test_dedup import Corpus, families, words

MADE_BY = "exact 1, minhash 1"


class Run:
    """A corpus with all that its run would have stored, and which rows' signatures were asked for."""

    def __init__(self, texts: list[str | None], kept: npt.NDArray[np.bool_] | None = None) -> None:
        self.stored = Corpus(texts).batches() or Corpus([None]).batches()[:0]
        self.kept = np.ones(len(texts), np.bool_) if kept is None else kept
        self.table = pa.Table.from_batches(Corpus([*texts, None]).batches(10**6)).slice(0, len(texts))
        self.asked: list[npt.NDArray[np.int64]] = []

    def column(self, name: str) -> pa.Array:
        return self.table[name].combine_chunks()

    def signatures(self, rows: npt.NDArray[np.int64]) -> pa.FixedSizeListArray:
        self.asked.append(rows)
        return self.column("signature").take(pa.array(rows))

    def index(self, path: Path, params: DedupParams | None = None, made_by: str = MADE_BY) -> BandIndex:
        BandIndex.write(path, self.stored, self.kept, made_by, params)
        return BandIndex.open(path)

    def earlier(self, path: Path, params: DedupParams | None = None) -> Earlier:
        return Earlier(self.index(path, params), self.signatures)

    def repeats(self, earlier: list[Earlier], params: DedupParams | None = None, **options: Any) -> Repeats:
        options = {"made_by": MADE_BY} | options
        return find_repeats(self.stored, len(self.kept), self.signatures, earlier, params=params, **options)


def expected(new: Run, old: list[Run], params: DedupParams) -> list[tuple[int, int, np.float32, bool]]:
    """By definition: the first run with the same words, else the best agreement of those that share a band."""
    norms = [run.column("norm_hash").to_pylist() for run in (new, *old)]
    values = [signature_values(run.column("signature")) for run in (new, *old)]
    known = [run.column("signature").is_valid().to_numpy(zero_copy_only=False) for run in (new, *old)]
    bands = [band_hashes(run.column("signature"), params.bands, params.rows) for run in (new, *old)]
    out = []
    for i, norm in enumerate(norms[0]):
        places = [(r, j) for r, run in enumerate(old) for j in np.flatnonzero(run.kept).tolist()]
        copies = [(r, j) for r, j in places if norm is not None and norms[r + 1][j] == norm]
        near = [
            (-np.float32((values[0][i] == values[r + 1][j]).mean()), r, j)
            for r, j in places
            if known[0][i] and known[r + 1][j] and (bands[0][:, i] == bands[r + 1][:, j]).any()
        ]
        near = [one for one in near if -one[0] >= params.threshold]
        if copies:
            out.append((*copies[0], np.float32(1), True))
        elif near:
            out.append((min(near)[1], min(near)[2], -min(near)[0], False))
        else:
            out.append((-1, -1, np.float32(0), False))
    return out


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 3), st.sampled_from([(18, 7), (64, 2)]), st.sampled_from([0.5, 0.75, 1.0]))
def test_against_brute_force(
    tmp_path_factory: pytest.TempPathFactory, seed: int, runs: int, shape: tuple[int, int], threshold: float
) -> None:
    """Documents of common families dealt out to some earlier runs, which kept a part of them, and a new one."""
    params = DedupParams(threshold=threshold, bands=shape[0], rows=shape[1], chunk_rows=3)
    rng = np.random.default_rng(seed)
    texts = families(seed, 4, 5)
    dealt = rng.integers(0, runs + 1, len(texts))
    parts = [[t for t, d in zip(texts, dealt, strict=True) if d == r] for r in range(runs + 1)]
    new, *old = (Run(part, rng.random(len(part)) < 0.8) for part in parts)
    folder = tmp_path_factory.mktemp("runs")
    found = new.repeats([run.earlier(folder / str(r), params) for r, run in enumerate(old)], params)
    got = list(zip(found.run.tolist(), found.row.tolist(), found.similarity, found.exact.tolist(), strict=True))
    assert got == expected(new, old, params)
    assert found.report["exact"] == found.exact.sum()
    assert found.report["exact"] + found.report["near"] == (found.run >= 0).sum()
    for run in (new, *old):
        asked = np.concatenate([np.empty(0, np.int64), *run.asked])
        assert (np.diff(asked) > 0).all()  # each signature once, as it lies in the run
        assert max(map(len, run.asked), default=0) <= 3


@settings(deadline=None)
@given(
    st.lists(st.integers(0, 12), max_size=40), st.lists(st.integers(0, 12), max_size=40), st.integers(1, 9),
    st.integers(1, 4),
)  # fmt: skip
def test_hashes_meet_across_windows(
    tmp_path_factory: pytest.TempPathFactory, here: list[int], there: list[int], window: int, most: int
) -> None:
    path = tmp_path_factory.mktemp("sorted") / "file"
    rows = np.arange(len(there), dtype=np.uint32)[::-1] * 7
    path.write_bytes(np.array(sorted(there), np.uint64).tobytes() + rows.tobytes())
    file = _Sorted(path, len(there), 0, 8 * len(there))
    hashes = np.array(sorted(here), np.uint64)
    which, places, found, left_out = file.meet(hashes, 10**9, window)
    pairs = {(i, j) for i, a in enumerate(sorted(here)) for j, b in enumerate(sorted(there)) if a == b}
    assert set(zip(which.tolist(), places.tolist(), strict=True)) == pairs
    assert (len(which), left_out) == (len(pairs), 0)
    assert (found == rows[places]).all()
    fewer, *_, left_out = file.meet(hashes, most, window)
    assert len(fewer) + left_out == len(pairs)


def test_a_hot_bucket_of_an_earlier_run_is_cut_and_said(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    base = words(rng, 200)
    copies: list[str | None] = [" ".join([*base[:190], *words(rng, 10)]) for _ in range(50)]
    old, new = Run(copies), Run([" ".join(base)])
    found = new.repeats([old.earlier(tmp_path / "a")])
    assert found.run.tolist() == [0]
    assert found.report["left_out"] > 0
    assert found.report["candidates"] <= 18 * 8


def test_what_a_run_dropped_is_not_held_against_the_new_corpus(tmp_path: Path) -> None:
    texts: list[str | None] = ["seven words that both of the corpora hold", "and these words as well, as it happens"]
    old, new = Run(texts, np.array([True, False])), Run(texts)
    assert new.repeats([old.earlier(tmp_path / "a")]).run.tolist() == [0, -1]


def test_the_file_is_small_and_its_bytes_depend_on_the_input_alone(tmp_path: Path) -> None:
    run = Run(families(3, 30, 10))
    run.index(tmp_path / "a")
    run.index(tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert (tmp_path / "a").stat().st_size < 4096 + 16 + 18 * 8 + len(run.kept) * (20 + 18 * 12)


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def _other(path: Path) -> None:
    path.write_bytes(b"PAR1" + path.read_bytes())


@pytest.mark.parametrize("harm", [_cut, _other, Path.unlink])
def test_a_damaged_index_is_named(tmp_path: Path, harm: Callable[[Path], None]) -> None:
    path = tmp_path / "the-index"
    Run(["five words are enough here"]).index(path)
    harm(path)
    with pytest.raises(InputError, match=r"the-index.*run that corpus again"):
        BandIndex.open(path)


def test_runs_that_measured_otherwise_are_refused(tmp_path: Path) -> None:
    run = Run(["five words are enough here"])
    with pytest.raises(InputError, match="18 bands of 7 rows, this run 9 of 14"):
        run.repeats([run.earlier(tmp_path / "a")], DedupParams(bands=9, rows=14))
    with pytest.raises(InputError, match="made by exact 1, minhash 1, this run's are made by another"):
        run.repeats([run.earlier(tmp_path / "a")], made_by="another")


def test_signatures_that_do_not_come_are_missed(tmp_path: Path) -> None:
    run = Run(["five words are enough here and one"])
    other = Run(["five words are enough here and one more"])
    params = DedupParams(bands=126, rows=1, threshold=0.5)
    silent = dataclasses.replace(run.earlier(tmp_path / "a", params), signatures=lambda rows: run.signatures(rows)[:0])
    with pytest.raises(AccountError, match="asked for 1 signatures and got 0"):
        other.repeats([silent], params)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="file"):
        Run(["a"]).index(tmp_path / "file" / "index")


def test_acceptance_is_what_signatures_do() -> None:
    """Shares of equal values in real signatures of pairs with a known Jaccard similarity."""
    rng = np.random.default_rng(5)
    texts: list[str | None] = []
    for _ in range(400):
        common = words(rng, 172)
        texts += [" ".join(common + words(rng, 28)) for _ in range(2)]
    values = signature_values(Run(texts).column("signature"))
    agree = (values[::2] == values[1::2]).mean(axis=1)
    true = 168 / (2 * 196 - 168)  # shingles: 168 of 196 in common
    expected = acceptance(true, 0.75)
    assert abs(agree.mean() - true) < 4 * (true * (1 - true) / 128 / 400) ** 0.5
    assert abs((agree >= 0.75).mean() - expected) < 4 * (expected * (1 - expected) / 400) ** 0.5
    assert [round(acceptance(j, 0.75), 2) for j in (0.63, 0.7, 0.75, 0.8, 1)] == [0, 0.13, 0.55, 0.93, 1]
