"""Duplicate clusters: candidates by sorted band hashes, verified by true Jaccard, held together by a centre.

The steps, each over arrays:

1. documents with one `norm_hash` are one: only the first of them goes on;
2. band hashes of the signatures are sorted, band by band; equal ones are a bucket, and the bucket's
   first document is compared with the others (a star, never all pairs);
3. a pair counts only once the true Jaccard similarity of its shingle sets reaches the threshold;
4. clusters are stars in the graph of verified pairs: every member reaches the threshold with its
   cluster's centre, so that a chain of near-duplicates cannot tie its ends together;
5. `choose` names the member that stands for its cluster, by provenance.

"First" is by document id everywhere, so the order of the rows changes nothing.

Memory: what is one column wide stays in memory, 13 bytes a document, beside the ids and the answer;
hashes, buckets and shingle sets lie in temporary files, and one column of hashes at a time is
sorted, in 24 bytes a document. Time is linear but for sorts of pairs.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curator.bands import (
    FIRST_BAND,
    NORM_HIGH,
    NORM_LOW,
    CorpusHashes,
    HashSort,
    Spill,
    has_equal_neighbour,
    numbers,
    read_hashes,
    sort_rows,
    starts_of_runs,
)
from curator.errors import AccountError, RecipeError
from curator.stages.minhash import shingle_sets
from curator.text import I64, U8, U32, U64, Bools, kernel, utf8_view

I32 = npt.NDArray[np.int32]
F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
Texts = Callable[[I64], pa.LargeStringArray]

VERSION: Final = "1"  # raise it when clusters change for the same signatures: cached ones are then not reused

NONE, EXACT, NEAR = 0, 1, 2
KINDS: Final = ("none", "exact", "near")

_ROUNDS: Final = 4  # each is paid for by new pairs only; the second already finds few
_SEGMENTS: Final = 32  # of the file of shingle sets; no more than four are mapped at once
_SEGMENT_BYTES: Final = (1 << 20, 32 << 20)  # at least and at most
_AROUND_BYTES: Final = 256 << 10  # a touch maps its neighbourhood too; 64 KiB were counted where 350 came
_FEW_ROWS: Final = 512  # are fetched at once where nobody knows how long they are


def probability(jaccard: float, bands: int, rows: int) -> float:
    """The chance that a pair of this similarity shares a bucket: 1 - (1 - jaccard**rows)**bands.

    The S-curve of Leskovec, Rajaraman and Ullman, Mining of Massive Datasets, section 3.4.2.
    """
    return float(1.0 - (1.0 - jaccard**rows) ** bands)


@dataclass(frozen=True)
class DedupParams:
    """How near is a duplicate, and how much work to spend on finding it.

    threshold: verified Jaccard similarity of the word shingles from which a pair is one document.
        0.75 is what FineWeb's bands aim at (Penedo et al. 2024, section 3.4): of the 5-grams of two
        texts of one length six in seven are shared, about one changed word in 35. Each changed word
        costs five shingles, so that 0.8 would already miss one in 45.
    bands, rows: 18 × 7 of 128 hashes: a pair at 0.75 meets with probability 0.92, at 0.8 with 0.99,
        at 0.5 with 0.13; 144 bytes a document.
    ngram: words in a shingle; the signatures' own.
    max_bucket: a larger bucket is compared with its first document only, never a second time.
    stars: how often the documents of a bucket that missed its centre try again among themselves.
    chunk_rows, chunk_shingles: the most that is fetched and held of texts at once.
    """

    threshold: float = 0.75
    bands: int = 18
    rows: int = 7
    ngram: int = 5
    max_bucket: int = 4096
    stars: int = 4
    chunk_rows: int = 8192
    chunk_shingles: int = 4_000_000

    def __post_init__(self) -> None:
        """Refuse settings under which dedup would silently do nothing."""
        if not 0.0 < self.threshold <= 1.0:
            raise RecipeError(f"dedup: threshold = {self.threshold} is not within (0, 1]; 0.75 is usual")
        for name in ("bands", "rows", "ngram", "max_bucket", "stars", "chunk_rows", "chunk_shingles"):
            if getattr(self, name) < 1:
                raise RecipeError(f"dedup: {name} = {getattr(self, name)} is less than 1")

    def curve(self, steps: int = 20) -> list[tuple[float, float]]:
        """The S-curve as pairs of similarity and probability of being compared."""
        return [(i / steps, probability(i / steps, self.bands, self.rows)) for i in range(steps + 1)]


@dataclass(frozen=True)
class Clusters:
    """Which documents are one, as arrays in corpus order.

    A cluster's `kind` and size are those of its members: a centre with duplicates has their kind.
    """

    cluster: I64  # [n] row of the cluster's centre; its own row for a document alone
    similarity: F32  # [n] true Jaccard with the centre; 1 for the centre itself and exact copies of it
    kind: U8  # [n] index into KINDS
    report: dict[str, int]

    def kinds(self) -> pa.DictionaryArray:
        """`kind` in words, as an Arrow column."""
        return pa.DictionaryArray.from_arrays(self.kind.astype(np.int8), pa.array(KINDS))


def find_clusters(
    batches: Iterable[pa.RecordBatch],
    ids: U64,
    texts: Texts,
    params: DedupParams | None = None,
    spill: Path | None = None,
) -> Clusters:
    """Group the corpus into clusters of exact and near duplicates.

    batches: `norm_hash`, `signature` and `n_shingles` of every document, in corpus order; null in
        each for what has no text. Only hashes are kept of them, on disk.
    ids: [n, 2] uint64, `ids.ids_array` of the documents' ids.
    texts: gives the texts of some rows (ascending, at most `chunk_rows` at once); called once a row
        at most, for rows that share a bucket with another.
    spill: folder for temporary files, the system's own by default: 16 + 8 * bands bytes a document,
        4 bytes a place in a bucket, 8 bytes a shingle of the documents that `texts` is asked for.

    Raises AccountError where ids and batches do not match, InputError where a signature is too
    short for the bands, OutputError where a temporary file cannot be written.
    """
    params = params or DedupParams()
    with ExitStack() as stack:
        files = [stack.enter_context(Spill(spill)) for _ in range(3)]
        rank = _inverse(id_order(ids))  # from here on documents are ranks
        corpus = read_hashes(files[0], batches, len(ids), params.bands, params.rows)
        first = _first_of_exact(corpus, rank)
        buckets, candidates = _buckets(files[1], corpus, first, rank, params)
        graph = _Graph(
            _Sets(files[2], candidates, corpus.shingles[candidates], texts, params), rank[candidates], len(ids), params
        )
        order = _inverse(rank)
        del rank, candidates, corpus
        nodes, capped = _link(buckets, graph, params)
        report = {
            "exact_copies": int((first != np.arange(len(first), dtype=np.uint32)).sum()),
            "hot_buckets": buckets.hot,
            "capped": capped,
            "spilled_bytes": sum(file.size for file in files),
        }
        return _clusters(order, first, nodes, graph, report)


def choose(
    clusters: Clusters, *, faultless: Bools, date: I64, dated: Bools, prob_synthetic: F64, length: I64, ids: U64
) -> I64:
    """Name the row that stands for each row's cluster, by provenance.

    Among the members without another fault (`faultless`): the earliest dated (undated after dated),
    then the lowest P(synthetic) (nan, unknown, after known), then the longest, then the smallest id.
    In a cluster where every member has a fault the same order names the best of them: dedup never
    removes a whole cluster, other rules do. All arrays are [n]; date in any unit; ids [n, 2] uint64.
    """
    survivor = clusters.cluster.copy()
    rows = np.flatnonzero(clusters.kind != NONE)
    if len(rows) == 0:
        return survivor
    prob, ids = prob_synthetic[rows], ids[rows].byteswap()
    keys = (
        ids[:, 1],
        ids[:, 0],
        -length[rows],
        np.nan_to_num(prob),
        np.isnan(prob),
        np.where(dated[rows], date[rows], 0),
        ~dated[rows],
        ~faultless[rows],
        clusters.cluster[rows],
    )
    rows = rows[np.lexsort(keys)]
    group = clusters.cluster[rows]
    starts = starts_of_runs(group)
    survivor[rows] = np.repeat(rows[starts], np.diff(np.append(starts, len(rows))))
    return survivor


def similarity_to_survivor(
    survivor: I64,
    clusters: Clusters,
    texts: Texts,
    params: DedupParams | None = None,
    shingles: I32 | None = None,
    spill: Path | None = None,
) -> F32:
    """True Jaccard of each row with the row that stands for it; 1 for itself, exact copies and documents alone.  # [n]

    `survivor` is `choose`'s answer. Where a row or its survivor is the cluster's centre, or an exact
    copy of it, the similarity is known; the texts of the others are asked for as in `find_clusters`,
    each once. `shingles` ([n], of `n_shingles`) bounds by size what is fetched at once, else it is
    512 rows. Two members of a cluster may be less alike than the threshold: each reaches it with the centre.
    """
    params = params or DedupParams()
    rows = np.arange(len(survivor))
    central = (clusters.cluster == rows) | (clusters.kind == EXACT)
    of_survivor = clusters.similarity[survivor]
    found: F32 = np.where(central[survivor], clusters.similarity, of_survivor)
    found[survivor == rows] = 1
    rows = rows[~central & ~central[survivor] & (survivor != rows)]
    wanted = np.zeros(len(survivor), np.bool_)
    wanted[rows] = wanted[survivor[rows]] = True
    fetched = numbers(wanted)
    if shingles is None:
        params, shingles = replace(params, chunk_rows=min(params.chunk_rows, _FEW_ROWS)), np.zeros(0, np.int32)
    sizes = shingles[fetched] if len(shingles) else np.zeros(len(fetched), np.int32)
    with Spill(spill) as file:
        sets = _Sets(file, fetched, sizes, texts, params)
        places = (np.searchsorted(fetched, some).astype(np.uint32) for some in (rows, survivor[rows]))
        found[rows] = sets.jaccard(*places)
    return found


def id_order(ids: U64) -> U32:
    """Rows by ascending id, compared as bytes, as SQL compares UUIDs.  # [n] uint32"""
    order = np.arange(len(ids), dtype=np.uint32)
    sort_rows(ids[:, 1].byteswap(), order)
    sort_rows(ids[order, 0].byteswap(), order)
    return order


def _inverse(order: U32) -> U32:
    """The place of each number in a permutation."""
    out = np.empty_like(order)
    out[order] = np.arange(len(order), dtype=np.uint32)
    return out


# --- Exact copies --------------------------------------------------------------------------------


def _first_of_exact(corpus: CorpusHashes, rank: U32) -> U32:
    """The first rank with the same normalised hash; a rank itself where the hash is its own or null.  # [n]"""
    first = np.arange(len(rank), dtype=np.uint32)
    halves, rows = HashSort(corpus.has_norm)(corpus.columns, NORM_HIGH)
    twins = np.zeros(len(rank), np.bool_)  # in half of the hash: few enough to sort by all of it
    twins[rows[has_equal_neighbour(halves)]] = True
    del halves, rows
    rows = numbers(twins)
    high, low = (corpus.columns.chosen(c, twins, np.empty(len(rows), np.uint64)) for c in (NORM_HIGH, NORM_LOW))
    by_hash = np.lexsort((low, high))
    high, low, ranks = high[by_hash], low[by_hash], rank[rows[by_hash]]
    new = np.ones(len(rows), np.bool_)
    new[1:] = (high[1:] != high[:-1]) | (low[1:] != low[:-1])
    if len(rows):
        starts = np.flatnonzero(new)
        first[ranks] = np.repeat(np.minimum.reduceat(ranks, starts), np.diff(np.append(starts, len(rows))))
    return first


# --- Buckets -------------------------------------------------------------------------------------


class _Buckets:
    """The buckets with at least two documents, on disk, band by band."""

    def __init__(self, spill: Spill, max_bucket: int) -> None:
        self._spill, self._max_bucket = spill, max_bucket
        self._bands: list[tuple[int, int, int]] = []  # where a band begins, buckets, documents in them
        self.hot = 0

    def append(self, sizes: U32, members: U32) -> None:
        """Add a band's buckets: how many documents each has, and the documents, bucket after bucket."""
        self._bands.append((self._spill.append(sizes), len(sizes), len(members)))
        self._spill.append(members)
        self.hot += int((sizes > self._max_bucket).sum())

    def __iter__(self) -> Iterator[tuple[U32, U32, Bools]]:
        """Of each band: the bucket and the document of each place, and which buckets are hot."""
        for begin, buckets, places in self._bands:
            sizes = self._spill.read(begin, np.empty(buckets, np.uint32))
            members = self._spill.read(begin + sizes.nbytes, np.empty(places, np.uint32))
            yield np.repeat(np.arange(buckets, dtype=np.uint32), sizes), members, sizes > self._max_bucket


def _buckets(spill: Spill, corpus: CorpusHashes, first: U32, rank: U32, params: DedupParams) -> tuple[_Buckets, U32]:
    """Sort one band after another; identical documents were folded into one before.

    Returns the buckets and the rows that share any, ascending.
    """
    unique = corpus.has_signature & (first == np.arange(len(first), dtype=np.uint32))[rank]
    sort = HashSort(unique)
    buckets, seen = _Buckets(spill, params.max_bucket), np.zeros(len(rank), np.bool_)
    for band in range(params.bands):
        hashes, rows = sort(corpus.columns, FIRST_BAND + band)
        shared = has_equal_neighbour(hashes)
        rows = rows[shared]
        seen[rows] = True
        starts = starts_of_runs(hashes[shared])
        buckets.append(np.diff(np.append(starts, len(rows))).astype(np.uint32), rank[rows])
    return buckets, numbers(seen)


def _link(buckets: _Buckets, graph: _Graph, params: DedupParams) -> tuple[_Nodes, int]:
    """Compare what shares a bucket and draw clusters, then compare again the documents that no cluster took in.

    Repeated until nothing new is found, this leaves no two centres that share a bucket and are near
    (within the limits of `params`). Returns the clusters and how many places in buckets went uncompared.
    """
    nodes = graph.drawn()
    capped = 0
    for _ in range(_ROUNDS):
        stays = np.ones(graph.documents, np.bool_)
        stays[nodes.document[nodes.centre != nodes.document]] = False
        compared = len(graph.pairs)
        capped = sum(_stars(*band, stays, graph, params) for band in buckets)
        nodes = _close(graph)
        if len(graph.pairs) == compared:
            break
    return nodes, capped


def _stars(bucket: U32, member: U32, tired: Bools, stays: Bools, graph: _Graph, params: DedupParams) -> int:
    """Compare each bucket's documents that stay with their first, then those that missed it among themselves.

    Returns in how many places a document was left because its bucket was hot or the stars ran out.
    """
    capped = 0
    bucket, member = _in_company(bucket, member, stays[member])
    for star in range(params.stars):
        if len(bucket) == 0:
            break
        centre = _lowest(bucket, member)
        others = member != centre
        bucket, member, centre = bucket[others], member[others], centre[others]
        missed = graph.similarity(_pairs(centre, member)) < params.threshold
        bucket, member = _in_company(bucket, member, missed)
        if star == 0:
            hot = tired[bucket]
            capped += int(hot.sum())
            bucket, member = bucket[~hot], member[~hot]
    return capped + len(member)


def _lowest(bucket: U32, member: U32) -> U32:
    """The first document of each place's bucket."""
    starts = starts_of_runs(bucket)
    return np.repeat(np.minimum.reduceat(member, starts), np.diff(np.append(starts, len(bucket))))


def _in_company(bucket: U32, member: U32, keep: Bools) -> tuple[U32, U32]:
    """Keep some members of the buckets, and no bucket with only one."""
    bucket, member = bucket[keep], member[keep]
    paired = has_equal_neighbour(bucket)
    return bucket[paired], member[paired]


# --- Verified pairs ------------------------------------------------------------------------------


def _pairs(u: U32, v: U32) -> U64:
    """Write pairs of documents as single numbers, the smaller document above."""
    pairs: U64 = np.minimum(u, v).astype(np.uint64)
    pairs <<= np.uint64(32)
    pairs |= np.maximum(u, v)
    return pairs


def _ends(pairs: U64) -> tuple[U32, U32]:
    return (pairs >> np.uint64(32)).astype(np.uint32), (pairs & np.uint64(0xFFFF_FFFF)).astype(np.uint32)


class _Graph:
    """Every pair that was compared, with its true Jaccard similarity."""

    def __init__(self, sets: _Sets, in_sets: U32, documents: int, params: DedupParams) -> None:
        """`in_sets`: the documents whose sets there are, in the order of the sets."""
        self._sets = sets
        self._place = np.empty(documents, np.uint32)
        self._place[in_sets] = np.arange(len(in_sets), dtype=np.uint32)
        self.documents = documents
        self.threshold = params.threshold
        self.pairs = np.empty(0, np.uint64)  # ascending
        self.similarities = np.empty(0, np.float64)
        self._drawn: tuple[int, _Nodes] | None = None

    def drawn(self) -> _Nodes:
        """The clusters, drawn anew if there are new edges."""
        edges = int(np.count_nonzero(self.similarities >= self.threshold))
        if self._drawn is None or self._drawn[0] != edges:
            self._drawn = edges, _draw(self)
        return self._drawn[1]

    def similarity(self, pairs: U64) -> F64:
        """Similarity of each pair; those not compared before are compared now. `pairs` is used up."""
        count, places = len(pairs), np.arange(len(pairs), dtype=np.uint32)
        sort_rows(pairs, places)
        starts = starts_of_runs(pairs)
        distinct = pairs[starts]
        del pairs  # the caller lets go of it too: this is where memory peaks
        self._compare(distinct)
        found = self.similarities[np.searchsorted(self.pairs, distinct)]
        out = np.empty(count, np.float64)
        out[places] = np.repeat(found, np.diff(np.append(starts, count)))
        return out

    def _compare(self, new: U64) -> None:
        """Add those of some pairs, ascending and distinct, that are not known."""
        place = np.searchsorted(self.pairs, new)
        if len(self.pairs):
            unknown = self.pairs[np.minimum(place, len(self.pairs) - 1)] != new
            new, place = new[unknown], place[unknown]
        if len(new) == 0:
            return
        u, v = _ends(new)
        found = self._sets.jaccard(self._place[u], self._place[v])
        self.pairs, self.similarities = _merged(self.pairs, self.similarities, place, new, found)

    def edges(self) -> tuple[U32, U32, F64]:
        """The pairs at or above the threshold, ascending by first and second end."""
        near = self.similarities >= self.threshold
        return *_ends(self.pairs[near]), self.similarities[near]


@kernel
def _merged(pairs: U64, values: F64, place: I64, new: U64, new_values: F64) -> tuple[U64, F64]:
    """Insert new pairs, ascending, each before the place given; in a third of `np.insert`'s time."""
    out, out_values = np.empty(len(pairs) + len(new), np.uint64), np.empty(len(pairs) + len(new), np.float64)
    at = 0
    for i in range(len(new) + 1):
        end = place[i] if i < len(new) else len(pairs)
        out[at + i : end + i] = pairs[at:end]
        out_values[at + i : end + i] = values[at:end]
        if i < len(new):
            out[end + i], out_values[end + i] = new[i], new_values[i]
        at = end
    return out, out_values


class _Sets:
    """Shingle sets of some rows, in a temporary file: each text is read once."""

    def __init__(self, spill: Spill, rows: U32, shingles: I32, texts: Texts, params: DedupParams) -> None:
        """`rows` ascending: texts are asked for as they lie in the corpus; `shingles` says how many each has."""
        self._spill = spill
        self._begins = np.zeros(len(rows) + 1, np.int64)
        for chunk in _chunks(shingles, params):
            found = texts(rows[chunk].astype(np.int64))
            if len(found) != chunk.stop - chunk.start:
                raise AccountError(f"dedup: asked for {chunk.stop - chunk.start} texts and got {len(found)}")
            ends, sets = shingle_sets(utf8_view(found), params.ngram)
            self._begins[chunk.start + 1 : chunk.stop + 1] = self._begins[chunk.start] + ends[1:]
            spill.append(sets)

    def jaccard(self, first: U32, second: U32) -> F64:
        """True Jaccard similarity of pairs, each named by its place among the rows.  # [pairs]"""
        out = np.zeros(len(first), np.float64)
        if len(first) == 0 or self._spill.size == 0:
            return out
        segment = min(max(self._spill.size // _SEGMENTS, _SEGMENT_BYTES[0]), _SEGMENT_BYTES[1]) // 8
        pairs = np.arange(len(first), dtype=np.uint32)
        segments = (self._begins // segment).astype(np.uint32)
        blocks = _pairs(segments[first], segments[second])
        sort_rows(blocks, pairs)
        memory = self._spill.map()
        sets = np.frombuffer(memory, np.uint64)
        mapped = 0
        for some in np.split(pairs, starts_of_runs(blocks)[1:]):  # pairs between two segments of the file
            out[some] = _jaccard(sets, self._begins, first[some], second[some])
            mapped += min(16 * segment, 2 * _AROUND_BYTES * len(some))
            if mapped >= 16 * segment:
                memory.madvise(mmap.MADV_DONTNEED)  # or all that was touched would stay mapped
                mapped = 0
        return out


def _chunks(shingles: I32, params: DedupParams) -> Iterator[slice]:
    """Cut rows so that no chunk of texts passes the limits, but for one row that alone does."""
    return _cut(shingles, params.chunk_shingles, params.chunk_rows)


def _cut(sizes: npt.NDArray[np.integer], most: int, most_rows: int) -> Iterator[slice]:
    """Cut rows into runs of at most `most` in size together and `most_rows`; a larger row is a run of its own."""
    total = np.cumsum(sizes, dtype=np.int64)
    at = 0
    while at < len(total):
        limit = (total[at - 1] if at else 0) + most
        end = int(np.searchsorted(total, limit, side="right"))
        end = min(max(end, at + 1), at + most_rows, len(total))
        yield slice(at, end)
        at = end


@kernel
def _jaccard(sets: U64, begins: I64, u: U32, v: U32) -> F64:
    """Merge two ascending sets for each pair; two empty ones have nothing in common."""
    out = np.zeros(len(u), np.float64)
    for pair in range(len(u)):
        i, j = begins[u[pair]], begins[v[pair]]
        i_end, j_end = begins[np.int64(u[pair]) + 1], begins[np.int64(v[pair]) + 1]
        union = i_end - i + j_end - j
        common = 0
        while i < i_end and j < j_end:
            x, y = sets[i], sets[j]
            common += x == y
            i += x <= y
            j += y <= x
        if union > 0:
            out[pair] = common / (union - common)
    return out


# --- Clusters ------------------------------------------------------------------------------------


class _Nodes(NamedTuple):
    """Documents with at least one verified near-duplicate."""

    document: U32  # [m] ascending
    centre: U32  # [m] as a document
    similarity: F64  # [m] with the centre
    components: int  # what transitive closure would have made of them
    chains: int  # of these, how many have more than one centre


def _close(graph: _Graph) -> _Nodes:
    """Make stars of the verified pairs, and compare neighbouring stars with each other's centres.

    Buckets give a star only, so two of a cluster's members may never have met. Where a verified
    pair runs between two stars, both ends are compared with the other's centre and the centres with
    each other; what passes is an edge more and the stars are drawn anew. Linear in the pairs.
    """
    nodes = graph.drawn()
    for _ in range(_ROUNDS):
        star = np.empty(graph.documents, np.uint32)
        star[nodes.document] = nodes.centre
        u, v, _similarity = graph.edges()
        cu, cv = star[u], star[v]
        apart = cu != cv
        u, v, cu, cv = u[apart], v[apart], cu[apart], cv[apart]
        ask_u, ask_v = np.concatenate([cu, u, cu]), np.concatenate([v, cv, cv])
        distinct = ask_u != ask_v
        compared = len(graph.pairs)
        graph.similarity(_pairs(ask_u[distinct], ask_v[distinct]))
        if len(graph.pairs) == compared:
            break
        nodes = graph.drawn()
    return nodes


def _draw(graph: _Graph) -> _Nodes:
    """Choose centres by number of verified neighbours, then by id; each other node joins its nearest centre."""
    u, v, similarity = graph.edges()
    linked = np.zeros(graph.documents, np.bool_)
    linked[u] = linked[v] = True
    document = numbers(linked)
    node = np.empty(graph.documents, np.uint32)
    node[document] = np.arange(len(document), dtype=np.uint32)
    u, v = node[u], node[v]
    degree = np.bincount(u, minlength=len(document)) + np.bincount(v, minlength=len(document))
    begins = np.concatenate([[0], np.cumsum(degree)])
    targets, weights = _neighbours(begins, u, v, similarity)
    centre, near = _join(begins, targets, weights, np.argsort(-degree, kind="stable"))
    return _Nodes(document, document[centre], near, *_components(begins, targets, centre))


@kernel
def _neighbours(begins: I64, u: U32, v: U32, similarity: F64) -> tuple[U32, F64]:
    """The neighbours of each node, ascending, and how near: pairs come ascending, the lower node first."""
    targets, weights = np.empty(2 * len(u), np.uint32), np.empty(2 * len(u), np.float64)
    place = begins[:-1].copy()
    for sources, others in ((v, u), (u, v)):  # every neighbour below a node before any above it
        for pair in range(len(u)):
            at = place[sources[pair]]
            place[sources[pair]] = at + 1
            targets[at], weights[at] = others[pair], similarity[pair]
    return targets, weights


@kernel
def _join(begins: I64, targets: U32, weights: F64, by_rank: I64) -> tuple[I64, F64]:
    """Greedy stars: in order of rank, a node that no centre has as neighbour becomes a centre itself."""
    count = len(by_rank)
    centre = np.full(count, -1)
    near = np.ones(count, np.float64)
    for node in by_rank:
        if centre[node] >= 0:
            continue
        centre[node] = node
        for edge in range(begins[node], begins[node + 1]):
            centre[targets[edge]] = node  # never a centre: two centres are not neighbours
    for node in range(count):
        if centre[node] == node:
            continue
        near[node] = -1.0
        for edge in range(begins[node], begins[node + 1]):
            other = targets[edge]
            if centre[other] == other and weights[edge] > near[node]:  # ascending ids: the first of equals stays
                near[node] = weights[edge]
    for node in range(count):
        if centre[node] == node:
            continue
        for edge in range(begins[node], begins[node + 1]):
            other = targets[edge]
            if centre[other] == other and weights[edge] == near[node]:
                centre[node] = other
                break
    return centre, near


@kernel
def _components(begins: I64, targets: U32, centre: I64) -> tuple[int, int]:
    """How many connected components there are, and how many of them hold several centres.

    Union-find with path halving over one array.
    """
    parent = np.arange(len(begins) - 1)
    roots = len(parent)
    for node in range(len(parent)):
        for edge in range(begins[node], begins[node + 1]):
            a, b = _root(parent, node), _root(parent, np.int64(targets[edge]))
            if a != b:
                parent[max(a, b)] = min(a, b)
                roots -= 1
    centres = np.zeros(len(parent), np.int64)
    for node in range(len(parent)):
        centres[_root(parent, node)] += centre[node] == node
    return roots, (centres > 1).sum()


@kernel
def _root(parent: I64, node: int) -> int:
    while parent[node] != node:
        parent[node] = parent[parent[node]]
        node = parent[node]
    return node


def _clusters(order: U32, first: U32, nodes: _Nodes, graph: _Graph, report: dict[str, int]) -> Clusters:
    """Bring the stars and the exact copies together, from ranks back to rows."""
    count = len(order)
    star = np.arange(count, dtype=np.uint32)
    star[nodes.document] = nodes.centre
    near = np.ones(count, np.float32)
    near[nodes.document] = nodes.similarity
    found = Clusters(np.empty(count, np.int64), np.empty(count, np.float32), np.empty(count, np.uint8), report)
    sizes = np.zeros(count, np.uint32)
    _gather(order, first, star, near, sizes, found.cluster, found.similarity, found.kind)
    stars = int((nodes.centre == nodes.document).sum())
    failed = int((graph.similarities < graph.threshold).sum())
    found.report.update(
        documents=count,
        candidates=len(graph.pairs),
        verified=len(graph.pairs) - failed,
        failed=failed,
        components=nodes.components,
        chains=nodes.chains,
        splits=stars - nodes.components,
        clusters=int((sizes > 1).sum()),
        clustered=int(sizes[sizes > 1].sum(dtype=np.int64)),
        largest=int(sizes.max(initial=0)),
    )
    return found


@kernel
def _gather(
    order: U32, first: U32, star: U32, near: F32, sizes: U32, cluster: I64, similarity: F32, kind: U8
) -> None:  # fmt: skip
    """Write the answer for every row, and every cluster's size under its centre's rank."""
    copies = np.zeros(len(order), np.bool_)  # of a document there are others
    for rank in range(len(order)):
        sizes[star[first[rank]]] += 1
        if first[rank] != rank:
            copies[first[rank]] = True
    for rank in range(len(order)):
        row, centre = order[rank], star[first[rank]]
        cluster[row] = order[centre]
        similarity[row] = near[first[rank]]
        kind[row] = EXACT if first[rank] == centre else NEAR
        if rank == centre and not copies[rank]:
            kind[row] = NEAR if sizes[rank] > 1 else NONE
