"""Prove a mixture: train small models on it, on a random sample of its input and on human text, and ask human text which it expects.

All models see equally many tokens and one tokenizer. They are asked about human text that was taken out of every training
set with all its duplicates. Where a snapshot is part of the mixture, the mixture without it (its crawl part) is trained on
too: what the snapshot adds is not the curation's merit. Two kinds of model exist: an interpolated Kneser–Ney model
(`curator.proxy`, seconds) and a small transformer (`curator.proxy_neural`, for a GPU).

What is measured, per model:

- perplexity: exp of the mean surprise of a held-out token; each source of held-out text counts alike, sources of fewer
  than 20 held-out documents together as one.
- rare-word perplexity: the same over the tokens of rare words, all sources together. A word is rare when it stands in 1 to
  30 of 20,000 documents of the training sets (the upper end scaled to how many there are, at least 3) and is longer than a token.
- one generation: the model draws as many tokens as it was trained on, and a second model is trained on half of its documents
  and as many tokens of what was drawn: both perplexities again.
- tail-word recall: part of the held-out text's rare words that stand in what the model drew.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curator import proxy, uuids
from curator.curation import Rows, Shard
from curator.errors import AccountError, InputError
from curator.ids import unit_hash
from curator.progress import Progress, Silent
from curator.proxy import Tokens, joined
from curator.readers.columns import Columns
from curator.score import open_lines
from curator.shards import write_json, writing
from curator.stages.exact import ExactHash
from curator.tables import need, percent
from curator.workspace import finished

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]
Bools = npt.NDArray[np.bool_]

LEAST: Final = 300  # reference documents without which nothing is held out
LEAST_HELD_OUT: Final = 50  # documents of one's own text, and of any training set
HELD_OUT: Final = 0.2  # of the reference
MOST_HELD_OUT: Final = 2_000
LIKELY: Final = 0.1  # P(a model wrote it) below which a document counts as likely human
TRAINED: Final = 0.8  # of the smallest training set, so that each seed draws other documents
MOST_CHARS: Final = 20_000  # of one document: a book would be the whole budget
MOST_WORDS: Final = 3_500  # that so many characters hold
CRAWL_PART: Final = 0.5  # of the smallest set's words, from which the mixture without the snapshot is trained on
TOKENIZER_CHARS: Final = 1_500_000  # of each training set, to learn the tokens from
RARE: Final = 30  # documents a rare word stands in at most,
RARE_OF: Final = 20_000  # of so many
SMALL_SOURCE: Final = 20
RESAMPLES: Final = 1_000
ARMS: Final = ("mixture", "random", "crawl part", "reference")
WORDS: Final = 1_000_000  # of a training set, where the user names no other budget

REFERENCES: Final = {
    "snapshot": "the snapshot given by --reference",
    "dated": "documents dated before models wrote for everybody, without those that a rule drops",
    "likely human": f"documents that are likely human (prob_document below {LIKELY}), without those that a rule drops",
    "own": "text of one's own, given by --heldout",
}
_LIKELY_NOTE: Final = (
    "the held-out text was chosen by the detector that shaped the mixture: human text that it misjudges is missing from "
    "both, so this cannot show that loss; give a snapshot to `curator filter --reference`, or text with --heldout"
)


class Model(Protocol):
    """What is asked of a model of either kind."""

    def log_prob(self, tokens: Tokens) -> F64:
        """Natural logarithm of each token's probability.  # [tokens]"""

    def sample(self, documents: int, seed: int, most_tokens: int = 1024) -> Tokens:
        """Draw documents; the first ten of twenty are those of ten."""


Fit = Callable[[Tokens, int, int], Model]  # (tokens, vocabulary, seed)


@dataclass(frozen=True)
class Request:
    """What to prove.  words: budget of a training set at most; 0 for `WORDS`."""

    out: Path
    heldout: Path | None = None
    seeds: int = 3
    words: int = 0
    model: str = "ngram"


# --- What a run holds ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Documents:
    """A run's documents as its ledger tells of them.  Arrays are [docs], in the order of its files."""

    root: Path
    ids: U64  # [docs, 2]
    cluster_ids: U64  # [docs, 2] id of the centre of its duplicates, or its own
    cluster: I64  # number of its duplicate cluster
    source: npt.NDArray[np.object_]
    words: I64
    copies: I64  # in the mixture; 0 outside
    readable: Bools
    snapshot: Bools
    kind: str  # which reference there is
    reference: Bools
    norm_hash: pa.Array | None

    def first_of_cluster(self, chosen: Bools) -> Bools:
        """Of each cluster of duplicates the chosen document with the lowest id."""
        rows = np.flatnonzero(chosen)
        rows = rows[np.lexsort((self.ids[rows, 1], self.ids[rows, 0], self.cluster[rows]))]
        first = np.zeros(len(chosen), np.bool_)
        first[rows[np.unique(self.cluster[rows], return_index=True)[1]]] = True
        return first

    def sharing(self, chosen: Bools) -> Bools:
        """Every document that lies in one cluster with a chosen one."""
        return np.asarray(np.isin(self.cluster, self.cluster[chosen]))


_COLUMNS: Final = (
    "doc_id", "source", "quarantine", "outcome", "n_words", "cluster", "weight", "prob_document", "origin_trusted",
    "reference", "norm_hash",
)  # fmt: skip


def documents(root: Path) -> Documents:
    """Read what is needed of a finished run's ledger.

    Raises `InputError` for a run that is not finished, or whose recipe counted no words.
    """
    finished(root)
    paths = sorted((root / "ledger").glob("*.parquet"))
    need(
        paths and any((root / "documents").glob("*.parquet")),
        f"{root} holds no texts any more; run `curator filter` again",
    )
    names = pq.read_schema(paths[0]).names
    need("n_words" in names, f"{root}: its recipe counted no words; add [stages.text_stats] and run it again")
    table = pa.concat_tables([pq.read_table(path, columns=[n for n in _COLUMNS if n in names]) for path in paths])
    ids = _plain(table["doc_id"])
    cluster_ids = _keys(pc.coalesce(_plain(table["cluster"]), ids))
    words = np.minimum(pc.fill_null(table["n_words"], 0).to_numpy(), MOST_WORDS).astype(np.int64)
    readable = pc.is_null(table["quarantine"]).to_numpy() & (words > 0)
    snapshot = _true(table, "reference") & readable
    kind, reference = _reference(table, snapshot, readable)
    return Documents(
        root=root,
        ids=_keys(ids),
        cluster_ids=cluster_ids,
        cluster=np.unique(cluster_ids, axis=0, return_inverse=True)[1].reshape(-1).astype(np.int64),
        source=np.array(table["source"].cast(pa.string()).to_pylist(), np.object_),
        words=words,
        copies=np.rint(pc.fill_null(table["weight"], 0.0).to_numpy()).astype(np.int64),
        readable=readable,
        snapshot=snapshot,
        kind=kind,
        reference=reference,
        norm_hash=_plain(table["norm_hash"]) if "norm_hash" in names else None,
    )


def _reference(table: pa.Table, snapshot: Bools, readable: Bools) -> tuple[str, Bools]:
    """Which human text there is, and which documents it is: a snapshot whatever its size, dated text from `LEAST` documents on."""
    faultless = readable & pc.is_in(table["outcome"], pa.array(["curated", "left_out", "duplicate"])).to_numpy()
    dated = _true(table, "origin_trusted") & faultless
    if snapshot.any():
        return "snapshot", snapshot
    if dated.sum() >= LEAST or "prob_document" not in table.column_names:
        return "dated", dated
    return "likely human", faultless & pc.fill_null(pc.less(table["prob_document"], LIKELY), False).to_numpy()


def _true(table: pa.Table, name: str) -> Bools:
    if name not in table.column_names:
        return np.zeros(table.num_rows, np.bool_)
    return np.asarray(pc.fill_null(table[name], False).to_numpy())


def _plain(column: pa.ChunkedArray) -> pa.Array:
    """16-byte values without the dress of a UUID."""
    return pa.concat_arrays([getattr(chunk, "storage", chunk) for chunk in column.chunks])


def _keys(column: pa.Array) -> U64:
    """16-byte values, none null, as numbers.  # [n, 2]"""
    raw = np.frombuffer(column.buffers()[1], "<u8")
    return raw[2 * column.offset : 2 * (column.offset + len(column))].reshape(-1, 2)


# --- What is held out, and what is trained on ------------------------------------------------------


@dataclass(frozen=True)
class HeldOut:
    """Human text that no model sees.  taken: [docs of the run] documents that no training set may hold."""

    texts: list[str]
    source: npt.NDArray[np.object_]
    taken: Bools
    kind: str


@dataclass(frozen=True)
class Pool:
    """Documents to draw a training set from.  Arrays are [documents]."""

    name: str
    texts: Rows
    rows: I64  # place of each text in its folder, ascending
    ids: U64
    words: I64
    copies: I64
    reference: Bools

    @property
    def total(self) -> int:
        """Words of all copies."""
        return int((self.words * self.copies).sum())


def hold_out(run: Documents, own: Path | None) -> HeldOut:
    """A hashed fifth of the reference, at most `MOST_HELD_OUT` documents, one of each cluster; or a file of one's own.

    Raises `InputError` when there is too little human text.
    """
    if own is not None:
        return _own(run, own)
    unique = run.first_of_cluster(run.reference)
    need(
        int(unique.sum()) >= LEAST,
        f"{int(unique.sum()):,} documents of human text ({REFERENCES[run.kind]}), {LEAST} are needed; run `curator filter` with "
        "--reference SNAPSHOT, or give human text with --heldout FILE",
    )
    share = min(HELD_OUT, MOST_HELD_OUT / int(unique.sum()))
    chosen = unique & (unit_hash(run.cluster_ids, 0, "prove:heldout") < share)
    rows = np.flatnonzero(chosen)
    rows = rows[np.lexsort((run.ids[rows, 1], run.ids[rows, 0]))]
    texts = _fetched(Rows(run.root / "documents", _shards(run.root / "documents"), "text"), rows)
    return HeldOut(texts, run.source[rows], run.sharing(chosen), run.kind)


def _own(run: Documents, path: Path) -> HeldOut:
    """Texts of a Parquet or JSON-lines file; what has the same words in the run, with its duplicates, is taken."""
    texts = sorted({line.text for line in open_lines(str(path), (), Columns()) if line.text and line.text.strip()})
    need(len(texts) >= LEAST_HELD_OUT, f"{path} holds {len(texts)} different texts, {LEAST_HELD_OUT} are needed")
    if run.norm_hash is None:
        raise InputError("its recipe hashed no texts, so copies of --heldout cannot be found; add [stages.exact]")
    measured = ExactHash().open()(pa.record_batch({"text": pa.array(texts, pa.large_string())}))
    norm = measured.column("norm_hash")
    same = pc.is_in(run.norm_hash, getattr(norm, "storage", norm).drop_null()).to_numpy(zero_copy_only=False)
    order = unit_hash(_keys(_hashes(measured)), 0, "prove:heldout").argsort(kind="stable")[:MOST_HELD_OUT]
    return HeldOut(
        [texts[i][:MOST_CHARS] for i in order], np.full(len(order), path.name, np.object_), run.sharing(same), "own"
    )


def _hashes(measured: pa.RecordBatch) -> pa.Array:
    column = measured.column("text_hash")
    return getattr(column, "storage", column)


def pools(run: Documents, held: HeldOut) -> list[Pool]:
    """The documents of each arm without what is held out; no reference where the run has too little of it.

    random: every readable document but the snapshot, duplicates and faults too: what one would train on without curation.
    """
    drawn = run.copies > 0
    read = Rows(run.root / "documents", _shards(run.root / "documents"), "text")
    mixed = Rows(run.root / "mixture", _shards(run.root / "mixture"), "text")
    place = _places(run, drawn)
    once = np.ones(len(drawn), np.int64)
    found = [
        _pool("mixture", run, mixed, drawn & run.readable & ~held.taken, place, run.copies),
        _pool("random", run, read, run.readable & ~run.snapshot & ~held.taken, None, once),
        _pool("crawl part", run, mixed, drawn & run.readable & ~run.snapshot & ~held.taken, place, run.copies),
        _pool("reference", run, read, run.first_of_cluster(run.reference & ~held.taken), None, once),
    ]
    if held.kind == "own" and len(found[-1].rows) < LEAST:
        found.pop()
    crawl = found.pop(2)
    enough = CRAWL_PART * min(pool.total for pool in found)  # less would make every model's budget small
    if (drawn & run.snapshot).any() and crawl.total >= enough and len(crawl.rows) >= LEAST_HELD_OUT:
        found.insert(2, crawl)
    for pool in found:
        need(
            len(pool.rows) >= LEAST_HELD_OUT,
            f"the {pool.name} holds {len(pool.rows)} documents without what is held out, {LEAST_HELD_OUT} are needed",
        )
    return found


def _places(run: Documents, drawn: Bools) -> I64:
    """Row of each drawn document among those of the mixture's files; -1 for the others.  # [docs]"""
    paths = sorted((run.root / "mixture").glob("*.parquet"))
    held = [uuids.words(pq.read_table(path, columns=["doc_id"])["doc_id"]) for path in paths]
    ids = np.concatenate([np.zeros((0, 2), np.uint64), *held])
    rows, order = np.flatnonzero(drawn), np.lexsort(ids.T)
    rows = rows[np.lexsort(run.ids[rows].T)]
    if not np.array_equal(run.ids[rows], ids[order]):
        raise AccountError(
            f"{run.root}/mixture does not hold the documents its ledger names; `curator verify` says more"
        )
    place = np.full(len(drawn), -1, np.int64)
    place[rows] = order
    return place


def _pool(name: str, run: Documents, texts: Rows, chosen: Bools, place: I64 | None, copies: I64) -> Pool:
    rows = np.flatnonzero(chosen)
    if place is not None:
        rows = rows[np.argsort(place[rows])]
    at = rows if place is None else place[rows]
    return Pool(name, texts, at, run.ids[rows], run.words[rows], copies[rows], run.reference[rows])


def _shards(folder: Path) -> list[Shard]:
    found: list[Shard] = []
    first = 0
    for path in sorted(folder.glob("*.parquet")):
        rows = pq.read_metadata(path).num_rows
        found.append(Shard(path.name, first, rows))
        first += rows
    return found


def _fetched(texts: Rows, rows: I64) -> list[str]:
    """Texts of rows in any order, the beginning of long ones."""
    order = np.argsort(rows, kind="stable")
    found = [(text or "")[:MOST_CHARS] for text in texts(rows[order]).to_pylist()]
    return [found[i] for i in np.argsort(order, kind="stable")]


# --- Training sets ---------------------------------------------------------------------------------


def in_order(pool: Pool, seed: int) -> I64:
    """Positions in a pool, as often as each has copies, by a keyed hash.

    The key is the same for all pools: what two of them share comes at one place in both, and chance parts them less.
    """
    at = np.repeat(np.arange(len(pool.rows)), pool.copies)
    nth = np.arange(len(at)) - np.repeat(np.cumsum(pool.copies) - pool.copies, pool.copies)
    ids = pool.ids[at].copy()
    ids[:, 1] ^= nth.astype(np.uint64)
    return np.asarray(at[np.lexsort((ids[:, 1], ids[:, 0], unit_hash(ids, seed, "prove:train")))])


def _within(order: I64, sizes: I64, budget: float) -> I64:
    """The first documents of an order that a budget holds."""
    return order[: int(np.searchsorted(np.cumsum(sizes[order]), budget, side="right"))]


@dataclass(frozen=True)
class Sets:
    """Training sets of all arms and seeds, in tokens."""

    tokenizer: Any
    tokens: dict[str, Tokens]  # [drawn documents] of each pool
    ids: dict[str, U64]  # [drawn documents, 2]
    orders: dict[tuple[str, int], I64]  # positions in these, by arm and seed
    reference: dict[str, Bools]  # [drawn documents]
    budget: int

    def train(self, arm: str, seed: int) -> Tokens:
        """What an arm's model is trained on."""
        tokens = self.tokens[arm]
        return tokens.take(self._chosen(arm, seed))

    def _chosen(self, arm: str, seed: int) -> I64:
        return _within(self.orders[arm, seed], self.tokens[arm].sizes, self.budget)

    def of_reference(self, arm: str, seed: int) -> float:
        """Part of its tokens that are the reference's."""
        chosen = self._chosen(arm, seed)
        sizes = self.tokens[arm].sizes[chosen]
        return float(sizes[self.reference[arm][chosen]].sum() / sizes.sum())


def draw(found: Sequence[Pool], seeds: int, most_words: int) -> Sets:
    """Draw equally many words for each arm and seed, learn the tokens of all arms' text, and cut to equally many tokens."""
    words = min(most_words, TRAINED * min(pool.total for pool in found))
    drawn: dict[tuple[str, int], I64] = {
        (pool.name, seed): _within(in_order(pool, seed), pool.words, words) for pool in found for seed in range(seeds)
    }
    used = {pool.name: np.unique(np.concatenate([drawn[pool.name, seed] for seed in range(seeds)])) for pool in found}
    texts = {pool.name: _fetched(pool.texts, pool.rows[used[pool.name]]) for pool in found}
    orders = {key: np.searchsorted(used[key[0]], order) for key, order in drawn.items()}
    lessons = [text for pool in found for text in _lesson(texts[pool.name], orders[pool.name, 0])]
    tokenizer = proxy.learn_tokenizer(lessons)
    tokens = {name: proxy.encode(tokenizer, some) for name, some in texts.items()}
    return Sets(
        tokenizer=tokenizer,
        tokens=tokens,
        ids={pool.name: pool.ids[used[pool.name]] for pool in found},
        orders=orders,
        reference={pool.name: pool.reference[used[pool.name]] for pool in found},
        budget=min(int(tokens[name].sizes[order].sum()) for (name, _), order in orders.items()),
    )


def _lesson(texts: Sequence[str], order: I64) -> Iterator[str]:
    """An arm's part of the text that the tokens are learned from."""
    left = TOKENIZER_CHARS
    for place in order:
        yield texts[place]
        left -= len(texts[place])
        if left <= 0:
            return


# --- What is asked of a model ----------------------------------------------------------------------


@dataclass(frozen=True)
class Questions:
    """The held-out text in tokens, and which of them belong to rare words."""

    tokens: Tokens
    group: I64  # [docs] source of each document, small ones together
    sources: int
    rare: Bools  # [tokens]
    rare_words: U64  # hashes of the rare words it holds
    band: int  # documents a rare word stands in at most
    counted: int  # of so many documents

    @property
    def sizes(self) -> F64:
        """Tokens of each document, and those of rare words.  # [docs, 2]"""
        return self.by_document(np.ones(len(self.rare)))

    def by_document(self, values: F64) -> F64:
        """Sums over each document's tokens, and over those of rare words.  # [docs, 2]"""
        both = np.stack([values, np.where(self.rare, values, 0.0)], axis=1)
        return np.asarray(np.add.reduceat(both, self.tokens.ends - self.tokens.sizes, axis=0))

    def log_perplexity(self, surprise: F64, weight: F64 | None = None) -> F64:
        """Mean surprise of a token and of a rare word's token; nan without any.

        surprise: [docs, 2].  weight: [resamples, docs] how often each document counts.  Returns [resamples, 2].
        """
        weight = np.ones((1, len(self.group))) if weight is None else weight
        each = [self._mean(surprise[:, 0], 0, weight, self.group == g) for g in np.unique(self.group)]
        everywhere = np.ones(len(self.group), np.bool_)
        return np.stack([np.mean(each, axis=0), self._mean(surprise[:, 1], 1, weight, everywhere)], axis=1)

    def _mean(self, surprise: F64, column: int, weight: F64, chosen: Bools) -> F64:
        part = weight[:, chosen]
        with np.errstate(invalid="ignore"):
            return np.asarray((part * surprise[chosen]).sum(axis=1) / (part * self.sizes[chosen, column]).sum(axis=1))

    def resamples(self) -> F64:
        """How often each document counts in each resample of the documents, source by source.  # [resamples, docs]"""
        rng = np.random.default_rng(0)
        weight = np.zeros((RESAMPLES, len(self.group)))
        for g in np.unique(self.group):
            inside = np.flatnonzero(self.group == g)
            weight[:, inside] = rng.multinomial(len(inside), np.full(len(inside), 1 / len(inside)), RESAMPLES)
        return weight


def questions(held: HeldOut, sets: Sets) -> Questions:
    """Put the held-out text into tokens and find the rare words in it."""
    tokens = proxy.encode(sets.tokenizer, held.texts)
    found = proxy.words(sets.tokenizer, tokens)
    known, band, counted = _rare_words(sets)
    rare = np.isin(found.names, known) & (found.pieces > 1)
    names, group, sizes = np.unique(held.source.astype(np.str_), return_inverse=True, return_counts=True)
    group = np.where(sizes[group] < SMALL_SOURCE, -1, group).astype(np.int64)
    return Questions(tokens, group, len(names), rare, np.unique(found.names[rare]), band, counted)


def _rare_words(sets: Sets) -> tuple[U64, int, int]:
    """Words that stand in few of the documents drawn for any arm, each document counted once."""
    every = joined(list(sets.tokens.values()))
    _, once = np.unique(np.concatenate(list(sets.ids.values())), axis=0, return_index=True)
    every = every.take(np.sort(once))
    band = max(3, round(RARE * min(1.0, len(every) / RARE_OF)))
    known, counts = proxy.documents_with(proxy.words(sets.tokenizer, every).names, every.ends)
    return known[counts <= band], band, len(every)


@dataclass(frozen=True)
class Answers:
    """What one arm's models answered with one seed.  Arrays are [docs, 2] surprise: all tokens, those of rare words."""

    arm: str
    seed: int
    tokens: int
    documents: int
    of_reference: float
    trained: F64
    after: F64  # one generation later
    recall: float


def ask(fit: Fit, sets: Sets, asked: Questions, arm: str, seed: int, progress: Progress) -> Answers:
    """Train on an arm's text, let the model write as much, train again on half of either."""
    train = sets.train(arm, seed)
    vocabulary = sets.tokenizer.get_vocab_size()
    model = fit(train, vocabulary, seed)
    trained = asked.by_document(-model.log_prob(asked.tokens))
    progress.advance(1)
    written = generated(model, len(train.ids), seed, int(train.sizes.max()))
    words = np.unique(proxy.words(sets.tokenizer, written).names)
    half = len(train.ids) / 2
    again = fit(joined([_first_tokens(train, half), _first_tokens(written, half)]), vocabulary, seed)
    progress.advance(1)
    return Answers(
        arm=arm,
        seed=seed,
        tokens=len(train.ids),
        documents=len(train),
        of_reference=sets.of_reference(arm, seed),
        trained=trained,
        after=asked.by_document(-again.log_prob(asked.tokens)),
        recall=float(np.isin(asked.rare_words, words).mean()) if len(asked.rare_words) else float("nan"),
    )


def generated(model: Model, budget: int, seed: int, most_tokens: int) -> Tokens:
    """As many documents of a model as make up a budget of tokens."""
    count = 64
    while len((drawn := model.sample(count, seed, most_tokens)).ids) < budget:
        count = max(count + 64, int(1.1 * count * budget / len(drawn.ids)))
    return _first_tokens(drawn, budget)


def _first_tokens(tokens: Tokens, budget: float) -> Tokens:
    return tokens.take(_within(np.arange(len(tokens)), tokens.sizes, budget))


# --- Figures ---------------------------------------------------------------------------------------

MEASURES: Final = (
    "perplexity",
    "rare_word_perplexity",
    "perplexity_after",
    "rare_word_perplexity_after",
    "tail_recall",
)


@dataclass(frozen=True)
class Proof:
    """What came out.  figures: one row an arm and seed.  summary: one row an arm.  ratios: mixture to random, by measure."""

    setting: dict[str, Any]
    figures: list[dict[str, Any]]
    summary: list[dict[str, Any]]
    ratios: dict[str, dict[str, float]]
    verdict: str
    notes: list[str] = field(default_factory=list)

    def report(self) -> dict[str, Any]:
        """Everything, as it is written to prove.json."""
        return {
            **self.setting, "verdict": self.verdict, "notes": self.notes, "summary": self.summary, "ratios": self.ratios,
            "figures": self.figures,
        }  # fmt: skip

    def table(self) -> list[dict[str, Any]]:
        """One row an arm for a terminal: means over the seeds with their standard deviations."""
        said = {
            "perplexity": "perplexity", "rare_word_perplexity": "rare words", "perplexity_after": "a generation on",
            "rare_word_perplexity_after": "rare words then", "tail_recall": "tail recall",
        }  # fmt: skip
        return [
            {"trained on": row["arm"], "tokens": row["tokens"], "of reference": percent(row["of_reference"])}
            | {short: _with_spread(row[name], row[f"{name}_sd"]) for name, short in said.items()}
            for row in self.summary
        ]


def _with_spread(mean: float | None, spread: float | None) -> str:
    if mean is None:
        return "unknown"
    digits = 1 if mean >= 10 else 3
    return f"{mean:,.{digits}f}" + ("" if spread is None else f" ± {spread:,.{digits}f}")


def prove(request: Request, progress: Progress | None = None, fit: Fit | None = None) -> Proof:
    """Train the models of a finished run and write OUT/prove/prove.json and prove.png.

    fit: how to train one model; by default as `request.model` says.

    Raises `InputError` where the run or its human text does not suffice.
    """
    progress = progress or Silent()
    run = documents(request.out)
    held = hold_out(run, request.heldout)
    found = pools(run, held)
    progress.say(f"held out: {len(held.texts):,} documents: {REFERENCES[held.kind]}")
    sets = draw(found, request.seeds, request.words or WORDS)
    asked = questions(held, sets)
    progress.begin("prove", 2 * len(found) * request.seeds, 0, "models")
    train = fit or _fit(request.model)
    answers = [ask(train, sets, asked, pool.name, seed, progress) for seed in range(request.seeds) for pool in found]
    progress.end()
    made = _proof(request, run, held, sets, asked, answers)
    write_json(request.out / "prove" / "prove.json", made.report())
    with writing(request.out / "prove" / "prove.png") as temporary:
        temporary.write_bytes(picture(made))
    return made


def _fit(kind: str) -> Fit:
    if kind == "transformer":
        from curator import proxy_neural

        return proxy_neural.fit
    return lambda tokens, vocabulary, _: proxy.fit(tokens, vocabulary)


def _proof(
    request: Request, run: Documents, held: HeldOut, sets: Sets, asked: Questions, answers: Sequence[Answers]
) -> Proof:
    figures = [_figures(asked, one) for one in answers]
    summary = [
        _summary([row for row in figures if row["arm"] == arm]) for arm in ARMS if any(r["arm"] == arm for r in figures)
    ]
    ratios = _ratios(asked, answers)
    setting = {
        "model": request.model,
        "vocabulary": sets.tokenizer.get_vocab_size(),
        "reference": run.kind,
        "reference_is": REFERENCES[run.kind],
        "held_out": {
            "from": REFERENCES[held.kind],
            "documents": len(held.texts),
            "tokens": len(asked.tokens.ids),
            "sources": asked.sources,
            "taken_from_training": int(held.taken.sum()),
        },
        "rare_words": {
            "in_documents_at_most": asked.band,
            "of_documents": asked.counted,
            "held_out_words": len(asked.rare_words),
            "held_out_tokens": int(asked.rare.sum()),
        },
        "budget_tokens": sets.budget,
        "seeds": request.seeds,
    }
    return Proof(setting, figures, summary, ratios, verdict(summary, ratios), _notes(run, held, summary))


def _figures(asked: Questions, one: Answers) -> dict[str, Any]:
    before, after = (np.exp(asked.log_perplexity(values)[0]) for values in (one.trained, one.after))
    values = dict(zip(MEASURES, (*before, *after, one.recall), strict=True))
    return {
        "arm": one.arm,
        "seed": one.seed,
        "tokens": one.tokens,
        "documents": one.documents,
        "of_reference": one.of_reference,
    } | {name: _known(value) for name, value in values.items()}


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _summary(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    made: dict[str, Any] = {"arm": rows[0]["arm"], "tokens": round(np.mean([row["tokens"] for row in rows]))}
    made["of_reference"] = float(np.mean([row["of_reference"] for row in rows]))
    for name in MEASURES:
        values = [row[name] for row in rows if row[name] is not None]
        made[name] = float(np.mean(values)) if values else None
        made[f"{name}_sd"] = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return made


def _ratios(asked: Questions, answers: Sequence[Answers]) -> dict[str, dict[str, float]]:
    """Perplexity of the mixture's model over the random sample's, with a 95 % bootstrap interval over held-out documents."""
    weight = asked.resamples()
    made: dict[str, dict[str, float]] = {}
    for part, names in (("trained", MEASURES[:2]), ("after", MEASURES[2:4])):
        made |= dict(zip(names, _ratio(asked, answers, part, "mixture", weight), strict=True))
    if any(one.arm == "crawl part" for one in answers):
        crawl = _ratio(asked, answers, "trained", "crawl part", weight)
        made |= {f"{name}_without_snapshot": found for name, found in zip(MEASURES[:2], crawl, strict=True)}
    return {name: found for name, found in made.items() if found}


def _ratio(asked: Questions, answers: Sequence[Answers], part: str, arm: str, weight: F64) -> list[dict[str, float]]:
    """An arm to the random sample: all tokens, and those of rare words; empty where there are none."""
    own, random = (np.mean([getattr(one, part) for one in answers if one.arm == a], axis=0) for a in (arm, "random"))
    point = np.exp(asked.log_perplexity(own) - asked.log_perplexity(random))[0]
    drawn = np.exp(asked.log_perplexity(own, weight) - asked.log_perplexity(random, weight))
    found: list[dict[str, float]] = []
    for column in range(2):
        if np.isnan(point[column]):
            found.append({})
            continue
        low, high = np.nanquantile(drawn[:, column], (0.025, 0.975))
        found.append({"ratio": float(point[column]), "low": float(low), "high": float(high)})
    return found


def verdict(summary: Sequence[Mapping[str, Any]], ratios: Mapping[str, Mapping[str, float]]) -> str:
    """One sentence on what the figures show."""
    mixture, random = (row["perplexity"] for row in summary[:2])
    found = ratios["perplexity"]
    against = f"perplexity {mixture:,.1f} against {random:,.1f}"
    ends = sorted(abs(100 * (1 - found[end])) for end in ("low", "high"))
    change = f"{abs(100 * (1 - found['ratio'])):.1f} %"
    behind = f"({against}; 95 % interval {ends[0]:.1f} to {ends[1]:.1f} %)"
    rest = _of_rare_words(ratios.get("rare_word_perplexity")) + _without(ratios.get("perplexity_without_snapshot"))
    whose = "surprised by held-out human text than a random sample's"
    if found["high"] < 1:
        return f"The mixture's model is {change} less {whose} {behind}{rest}."
    if found["low"] > 1:
        return f"The mixture does not help here: its model is {change} more {whose} {behind}{rest}."
    return (
        f"The mixture makes no difference that can be told here: {against}, ratio {found['ratio']:.3f} (95 % interval "
        f"{found['low']:.3f} to {found['high']:.3f}){rest}."
    )


def _of_rare_words(found: Mapping[str, float] | None) -> str:
    if found is None:
        return ""
    if found["low"] <= 1 <= found["high"]:
        return "; on rare words no difference can be told"
    return f"; on rare words it is {100 * abs(1 - found['ratio']):.1f} % {'less' if found['ratio'] < 1 else 'more'} surprised"


def _without(found: Mapping[str, float] | None) -> str:
    if found is None:
        return ""
    if found["low"] <= 1 <= found["high"]:
        return "; without the snapshot's documents no difference can be told"
    change = f"{abs(100 * (1 - found['ratio'])):.1f} % {'less' if found['ratio'] < 1 else 'more'}"
    return f"; without the snapshot's documents it is {change} surprised than the random sample's"


def _notes(run: Documents, held: HeldOut, summary: Sequence[Mapping[str, Any]]) -> list[str]:
    notes = [f"held-out text: {REFERENCES[held.kind]}"]
    if held.kind == "likely human":
        notes.append(_LIKELY_NOTE)
    shares = {row["arm"]: row["of_reference"] for row in summary}
    if run.kind != "likely human":
        notes.append(
            f"of the mixture's tokens {100 * shares['mixture']:.0f} % are of the reference, of the random sample's "
            f"{100 * shares['random']:.0f} %"
        )
    if shares["mixture"] > 0 and run.kind == "snapshot" and "crawl part" not in shares:
        notes.append("the mixture holds too little but the snapshot to train on its crawl part alone")
    if "reference" not in shares:
        notes.append("the run has too little human text to train on it alone")
    return notes


# --- The picture -----------------------------------------------------------------------------------

_COLOURS: Final = {"mixture": "#1b6e8c", "random": "#c8553d", "crawl part": "#6fb1a0", "reference": "#6b7280"}
_STYLE: Final[dict[Any, Any]] = {
    "font.size": 10, "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "axes.axisbelow": True,
    "axes.grid.axis": "y", "grid.color": "#e5e7eb", "axes.edgecolor": "#9ca3af", "axes.titlesize": 10,
    "axes.titlelocation": "left", "text.parse_math": False, "legend.frameon": False,
}  # fmt: skip


def picture(made: Proof) -> bytes:
    """Both perplexities before and after one generation, and the tail words that each model still writes, as a PNG."""
    import io

    import matplotlib

    with matplotlib.rc_context(), warnings.catch_warnings():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        from matplotlib.figure import Figure

        figure = Figure(figsize=(10.5, 3.8), layout="constrained", dpi=120)
        left, middle, right = figure.subplots(1, 3)
        _lines(left, made, "perplexity", "Held-out human text, perplexity")
        _lines(middle, made, "rare_word_perplexity", "Its rare words, perplexity")
        _recall(right, made)
        handles, names = left.get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=len(names), title="model trained on")
        out = io.BytesIO()
        figure.savefig(out, format="png", metadata={"Software": None})
    return out.getvalue()


def _lines(axes: Any, made: Proof, name: str, title: str) -> None:
    """One arm a line, from the model of real text to the one a generation on; a dot a seed."""
    for row in made.summary:
        means = [row[name], row[f"{name}_after"]]
        if None in means:
            continue
        colour, arm = _COLOURS[row["arm"]], row["arm"]
        line = "--" if arm == "reference" else "-"  # the mixture's may lie under it
        axes.plot([0, 1], means, line, color=colour, linewidth=2, label=_SAID[arm])
        for x, key in enumerate((name, f"{name}_after")):
            seeds = [one[key] for one in made.figures if one["arm"] == arm]
            axes.plot([x] * len(seeds), seeds, "o", color=colour, markersize=4, alpha=0.6)
    axes.set_xticks([0, 1], ["real text", "a generation on"])
    axes.set_xlim(-0.35, 1.35)
    axes.set_title(title)


_SAID: Final = {
    "mixture": "mixture", "random": "random sample of the input", "crawl part": "mixture without the snapshot",
    "reference": "reference",
}  # fmt: skip


def _recall(axes: Any, made: Proof) -> None:
    rows = [row for row in made.summary if row["tail_recall"] is not None]
    axes.bar(
        range(len(rows)), [100 * row["tail_recall"] for row in rows], 0.6, color=[_COLOURS[r["arm"]] for r in rows]
    )
    for i, row in enumerate(rows):
        axes.annotate(f"{100 * row['tail_recall']:.1f} %", (i, 100 * row["tail_recall"]), (0, 3), textcoords="offset points", ha="center", fontsize=9)  # fmt: skip
    axes.set_xticks(range(len(rows)), [row["arm"].replace(" ", "\n") for row in rows])
    axes.set_title("Tail words it still writes, %")
