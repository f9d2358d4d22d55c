"""The proof holds out what it says, trains on equal budgets, and its figures tell a good mixture from a bad one."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from curator.commands.prove import prove_command
from curator.curation import Rows
from curator.errors import AccountError, InputError
from curator.ids import doc_id
from curator.prove import Proof, Request, prove
from curator.proving.documents import documents
from curator.proving.heldout import hold_out
from curator.proving.pools import Pool, pools
from curator.proving.questions import Questions, questions
from curator.proving.training import draw, in_order
from curator.proving.verdict import verdict
from curator.proxy import Tokens
from curator.shards import write_json
from curator.stages.exact import ExactHash
from curator.workspace import Workspace
from tests.conftest import ROOT

SAMPLE = ROOT / "data" / "sample" / "corpus.parquet"
SHARDS = 3


def sample_rows(human: int, machine: int, chars: int = 500) -> list[dict[str, Any]]:
    """Dated news, and replies of an assistant, of the sample corpus."""
    table = pq.read_table(SAMPLE, columns=["id", "text", "source", "declared_origin"]).to_pylist()
    made: list[dict[str, Any]] = []
    for origin, count in (("human", human), ("synthetic", machine)):
        some = [r for r in table if r["declared_origin"] == origin and r["text"] and len(r["text"]) > 300][:count]
        made += [
            {"id": r["id"], "text": r["text"][:chars], "source": r["source"], "human": origin == "human"} for r in some
        ]
    return made


def write_run(root: Path, rows: Sequence[dict[str, Any]]) -> Path:
    """A finished run's files of what `prove` reads: human rows are in the mixture once and trusted, or as a row says."""
    ids = [doc_id(row["source"], str(row["id"])) for row in rows]
    texts = pa.array([row["text"] for row in rows], pa.large_string())
    copies = [row.get("copies", int(row["human"])) for row in rows]
    exact = ExactHash().open()(pa.record_batch({"text": texts}))
    read = pa.table({"doc_id": pa.array(ids, pa.uuid()), "text": texts})
    ledger = pa.table(
        {
            "doc_id": pa.array(ids, pa.uuid()),
            "source": [row["source"] for row in rows],
            "quarantine": pa.array([row.get("quarantine") for row in rows], pa.string()),
            "outcome": [
                row.get("outcome", "curated" if n else "left_out") for row, n in zip(rows, copies, strict=True)
            ],
            "n_words": [len(row["text"].split()) for row in rows],
            "cluster": pa.array([row.get("cluster", one) for row, one in zip(rows, ids, strict=True)], pa.uuid()),
            "weight": pa.array([float(n) if n else None for n in copies], pa.float64()),
            "origin_trusted": [row.get("trusted", row["human"]) for row in rows],
            "reference": [row.get("reference", False) for row in rows],
            "prob_document": [row.get("prob", 0.01 if row["human"] else 0.99) for row in rows],
            "norm_hash": exact["norm_hash"],
        }
    )
    drawn = np.array(copies) > 0
    mixture = read.append_column("weight", ledger["weight"])
    for shard, part in enumerate(np.array_split(np.arange(len(rows)), SHARDS)):
        for folder, table in (("documents", read), ("ledger", ledger), ("mixture", mixture)):
            kept = part[drawn[part]] if folder == "mixture" else part
            (root / folder).mkdir(parents=True, exist_ok=True)
            if len(kept):
                pq.write_table(table.take(kept), root / folder / f"{shard:06d}.parquet", row_group_size=100)
    write_json(root / "run.json", {"recipe": {"name": "test"}})
    write_json(root / "manifest.json", {"fingerprint": Workspace(root).run_id})
    return root


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    return sample_rows(700, 700)


@pytest.fixture(scope="module")
def run(rows: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("run"), rows)


@pytest.fixture(scope="module")
def proof(run: Path) -> Proof:
    return prove(Request(run, seeds=2))


def test_a_mixture_of_human_text_is_told_from_a_random_sample(run: Path, proof: Proof) -> None:
    """The random sample is half machine text: its model must be more surprised, and the interval must say so."""
    mixture, random, reference = proof.summary
    assert [mixture["arm"], random["arm"], reference["arm"]] == ["mixture", "random", "reference"]
    assert proof.ratios["perplexity"]["high"] < 1
    assert mixture["perplexity"] < random["perplexity"]
    assert mixture["perplexity"] == pytest.approx(reference["perplexity"], rel=0.05)
    assert mixture["of_reference"] == 1
    assert 0.3 < random["of_reference"] < 0.7
    assert "less surprised" in proof.verdict
    for row in proof.summary:
        assert row["perplexity_after"] > row["perplexity"]
        assert 0 < row["tail_recall"] < 1


def test_budgets_are_equal_and_written_down(run: Path, proof: Proof) -> None:
    longest = max(row["tokens"] / row["documents"] for row in proof.figures)
    assert all(proof.setting["budget_tokens"] - 10 * longest < row["tokens"] <= proof.setting["budget_tokens"] for row in proof.figures)  # fmt: skip
    written = json.loads((run / "prove" / "prove.json").read_bytes())
    assert written == json.loads(json.dumps(proof.report()))
    assert written["held_out"]["documents"] > 100
    assert (run / "prove" / "prove.png").read_bytes().startswith(b"\x89PNG")


def test_figures_do_not_depend_on_the_order_of_rows(rows: list[dict[str, Any]], proof: Proof, tmp_path: Path) -> None:
    shuffled = [rows[i] for i in np.random.default_rng(1).permutation(len(rows))]
    assert prove(Request(write_run(tmp_path, shuffled), seeds=2)).report() == proof.report()


def test_what_is_held_out_is_in_no_training_set_nor_are_its_duplicates(
    rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    twins = [row | {"id": f"{row['id']}-twin", "human": False, "cluster": doc_id(row["source"], str(row["id"])), "copies": 1} for row in rows[:400]]  # fmt: skip
    run = documents(write_run(tmp_path, [*rows, *twins]))
    held = hold_out(run, None)
    texts = set(held.texts)
    assert 50 < len(texts) == len(held.texts) < 250
    for pool in pools(run, held):
        assert not texts & set(pool.texts(pool.rows).to_pylist()), pool.name
    left = {pool.name: len(pool.rows) for pool in pools(run, held)}
    assert left["reference"] == 700 - len(texts)
    assert held.taken.sum() > len(texts)  # twins of it too


def test_copies_of_the_mixture_are_drawn_as_often_as_the_ledger_says(tmp_path: Path) -> None:
    pool = Pool(
        "mixture", Rows(tmp_path, (), "text"), np.arange(4), np.arange(8, dtype=np.uint64).reshape(4, 2),
        np.full(4, 100), np.array([1, 2, 3, 4]), np.zeros(4, np.bool_),
    )  # fmt: skip
    assert np.bincount(in_order(pool, 0)).tolist() == [1, 2, 3, 4]
    once = replace(pool, copies=np.ones(4, np.int64))
    order = in_order(pool, 0)
    firsts = [int(row) for i, row in enumerate(order) if row not in order[:i]]
    assert sorted(firsts) == sorted(in_order(once, 0).tolist())
    assert any(in_order(once, 0).tolist() != in_order(once, seed).tolist() for seed in range(1, 9))


def test_the_snapshot_is_the_reference_and_no_part_of_the_random_sample(
    rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    marked = [row | {"reference": row["human"] and i % 2 == 0} for i, row in enumerate(rows)]
    run = documents(write_run(tmp_path, marked))
    assert run.kind == "snapshot"
    assert int(run.reference.sum()) == 350
    found = {pool.name: pool for pool in pools(run, hold_out(run, None))}
    assert not found["random"].reference.any()
    assert found["reference"].reference.all()
    assert len(found["random"].rows) == 1050
    assert not found["crawl part"].reference.any()  # the mixture without what the snapshot adds to it
    assert set(found["crawl part"].rows) < set(found["mixture"].rows)
    few = [row | {"reference": row["human"], "copies": int(row["human"] or i > 1300)} for i, row in enumerate(rows)]
    run = documents(write_run(tmp_path / "few", few))
    assert [pool.name for pool in pools(run, hold_out(run, None))] == ["mixture", "random", "reference"]


def test_likely_human_text_is_the_last_resort_and_says_what_it_cannot_show(
    rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    found = prove(Request(write_run(tmp_path, [row | {"trusted": False} for row in rows]), seeds=1, words=15_000))
    assert found.setting["reference"] == "likely human"
    assert any("the detector that shaped the mixture" in note for note in found.notes)
    assert found.summary[0]["perplexity_sd"] is None


def test_text_that_a_rule_drops_is_not_held_out(rows: list[dict[str, Any]], tmp_path: Path) -> None:
    dropped = [row | {"outcome": "dropped", "copies": 0} if i % 3 == 0 else row for i, row in enumerate(rows)]
    run = documents(write_run(tmp_path, dropped))
    assert run.kind == "dated"
    assert int(run.reference.sum()) == sum(row["human"] and i % 3 > 0 for i, row in enumerate(rows))
    assert len(pools(run, hold_out(run, None))[1].rows) > int(run.reference.sum())  # the random sample has them


def test_own_text_is_held_out_with_its_copies_in_the_run(rows: list[dict[str, Any]], run: Path, tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    own = [row["text"].upper() for row in rows[:60]]  # the same words
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in [*own, own[0]]))
    read = documents(run)
    held = hold_out(read, path)
    assert len(held.texts) == 60
    assert int(held.taken.sum()) >= 60
    assert not {text.lower() for text in held.texts} & {
        text.lower() for pool in pools(read, held) for text in pool.texts(pool.rows).to_pylist()
    }
    few = [row | {"trusted": False, "prob": None} for row in rows]
    made = prove(Request(write_run(tmp_path / "few", few), path, seeds=1, words=10_000))
    assert [row["arm"] for row in made.summary] == ["mixture", "random"]
    assert "the run has too little human text to train on it alone" in made.notes


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda root: (root / "manifest.json").unlink(), "is not finished"),
        (lambda root: [path.unlink() for path in (root / "documents").iterdir()], "holds no texts any more"),
        (lambda root: (root / "mixture" / "000000.parquet").unlink(), "does not hold the documents"),
    ],
)
def test_a_spoilt_run_is_refused(run: Path, tmp_path: Path, spoil: Any, message: str) -> None:
    import shutil

    root = Path(shutil.copytree(run, tmp_path / "copy"))
    spoil(root)
    with pytest.raises((InputError, AccountError), match=message):
        prove(Request(root))


def test_too_little_human_text_is_refused_in_one_line(tmp_path: Path) -> None:
    root = write_run(tmp_path, sample_rows(250, 200, 300))
    done = CliRunner().invoke(prove_command, [str(root)])
    assert isinstance(done.exception, InputError)
    assert "250 documents of human text" in str(done.exception)
    assert "\n" not in str(done.exception)


def test_rare_words_are_counted_over_all_sets_and_long_enough(run: Path) -> None:
    read = documents(run)
    held = hold_out(read, None)
    sets = draw(pools(read, held), 1, 20_000)
    asked = questions(held, sets)
    assert asked.band == 3  # 30 of 20,000, never below 3
    every = {one.tobytes() for ids in sets.ids.values() for one in ids}
    assert asked.counted == len(every)
    assert 0 < asked.rare.sum() < len(asked.rare) / 3
    assert asked.sizes[:, 0].sum() == len(asked.tokens.ids)
    assert asked.sizes[:, 1].sum() == asked.rare.sum()


def test_perplexity_weighs_sources_alike() -> None:
    tokens = Tokens(np.arange(1, 7, dtype=np.int32), np.array([1, 3, 6]))
    asked = Questions(
        tokens, np.array([0, 0, 1]), 2, np.array([1, 0, 0, 0, 0, 1], bool), np.array([5], np.uint64), 3, 10
    )
    surprise = asked.by_document(np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]))
    assert surprise.tolist() == [[1, 1], [5, 0], [15, 6]]
    found = asked.log_perplexity(surprise)
    assert found.tolist() == [[(6 / 3 + 15 / 3) / 2, 7 / 2]]
    weight = asked.resamples()
    assert weight[:, :2].sum(axis=1).tolist() == [2] * len(weight)
    assert (weight[:, 2] == 1).all()
    assert asked.log_perplexity(surprise, np.array([[2, 0, 1]]))[0].tolist() == [(1 + 5) / 2, (2 + 6) / 3]


SUMMARY = [{"arm": "mixture", "perplexity": 90.0}, {"arm": "random", "perplexity": 100.0}]


@pytest.mark.parametrize(
    ("ratio", "says"),
    [
        ((0.9, 0.88, 0.92), "is 10.0 % less surprised by held-out human text than a random sample's (perplexity 90.0 against 100.0; 95 % interval 8.0 to 12.0 %)"),
        ((1.1, 1.05, 1.15), "does not help here: its model is 10.0 % more surprised"),
        ((0.99, 0.97, 1.01), "makes no difference that can be told here"),
    ],
)  # fmt: skip
def test_the_verdict_says_plainly_what_the_figures_show(ratio: tuple[float, float, float], says: str) -> None:
    found = dict(zip(("ratio", "low", "high"), ratio, strict=True))
    assert says in verdict(SUMMARY, {"perplexity": found})
    rare = {"ratio": 1.2, "low": 1.1, "high": 1.3}
    crawl = {"ratio": 0.95, "low": 0.94, "high": 0.96}
    alone = verdict(SUMMARY, {"perplexity": found, "perplexity_without_snapshot": crawl})
    assert "without the snapshot's documents it is 5.0 % less surprised" in alone
    assert verdict(SUMMARY, {"perplexity": found, "rare_word_perplexity": rare}).endswith("on rare words it is 20.0 % more surprised.")  # fmt: skip


def test_the_command_prints_a_table_and_the_verdict(run: Path) -> None:
    done = CliRunner().invoke(prove_command, [str(run), "--seeds", "1", "--words", "20000"], catch_exceptions=False)
    assert done.exit_code == 0
    assert "trained on" in done.output
    assert "less surprised" in done.output
    again = CliRunner().invoke(prove_command, [str(run), "--seeds", "1", "--words", "20000", "--json"])
    assert json.loads(again.stdout)["seeds"] == 1


def test_a_run_of_the_product_is_proved_from_its_own_files(tmp_path: Path) -> None:
    """Through `filter_corpus`, the snapshot given as a reference."""
    from curator.progress import Silent
    from curator.recipe import from_dict
    from curator.run import Request as Run
    from curator.run import filter_corpus

    made = sample_rows(900, 400, 400)
    human, crawl = made[:450], made[450:]
    for name, some in (("snapshot", human), ("crawl", crawl)):
        table = pa.table({key: [row[key] for row in some] for key in ("id", "text", "source")})
        pq.write_table(table, tmp_path / f"{name}.parquet")
    stages: dict[str, Any] = {"text_stats": {}, "exact": {}}
    uncapped = {"max_synthetic": 1.0}  # no stage here measures origin
    recipe = from_dict({"stages": stages, "rules": {"too_short": "n_words < 5"}, "mixture": uncapped})
    filter_corpus(
        Run((str(tmp_path / "crawl.parquet"),), tmp_path / "out", recipe, workers=1, reference=(str(tmp_path / "snapshot.parquet"),)),
        Silent(),
    )  # fmt: skip
    found = prove(Request(tmp_path / "out", seeds=1))
    assert found.setting["reference"] == "snapshot"
    assert found.summary[1]["of_reference"] == 0
    assert uuid.UUID(bytes=documents(tmp_path / "out").ids[0].tobytes())
