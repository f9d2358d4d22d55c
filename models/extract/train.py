"""Train the judge of blocks: `python models/extract/train.py` writes extract.safetensors and config.toml beside itself.

`python benchmarks/extract.py --folds` trains five times, without one fifth of the hosts each, and measures
each page by weights that never saw its host: the only figures that card.md gives. Needs ../shared/data/raw, the extra `train` and trafilatura, the teacher of
the blocks that no person labelled.
"""

from __future__ import annotations

import hashlib
import json
import re
import tarfile
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlparse

import numpy as np
import numpy.typing as npt
import torch
import trafilatura
import zstandard
from publicsuffixlist import PublicSuffixList
from resiliparse.extract.html2text import extract_plain_text
from resiliparse.parse.encoding import bytes_to_str, detect_encoding
from resiliparse.parse.html import HTMLTree
from safetensors.numpy import save_file
from torch.nn import functional as F

from curator.blocks import Blocks, blocks
from curator.extract import F32, Features, Network, extract, features, headline, kinds
from curator.ids import file_sha256

HERE = Path(__file__).resolve().parent
RAW = HERE.parents[2] / "shared" / "data" / "raw"
SEED = 1
FOLDS = 5
HIDDEN, REACH = 48, 2
EPOCHS, PAGES_A_STEP, RATE, DECAY, DROP = 12, 8, 4e-3, 0.02, 0.3
SNIPPET_WEIGHT = 6.0  # a block with a snippet that a person chose, against 0.3 for the teacher's word
MARGIN = 0.02
SURE_CHARS = 25  # a shorter text found inside another proves nothing


@dataclass
class Page:
    """One page with its labels: snippets (`keep`, `drop`, `comments`) or the whole `expected` text."""

    name: str
    host: str
    raw: bytes
    keep: list[str] = field(default_factory=list)
    drop: list[str] = field(default_factory=list)
    comments: list[str] = field(default_factory=list)
    expected: str | None = None  # as another library reads it, to be measured against
    expected_lines: list[str] = field(default_factory=list)  # as ours does, to tell blocks by


def unpacked(archive: Path, folder: Path) -> Path:
    """Unpack a .tar.zst into `folder`."""
    with (
        archive.open("rb") as file,
        zstandard.ZstdDecompressor().stream_reader(file) as stream,
        tarfile.open(fileobj=stream, mode="r|") as tar,
    ):
        tar.extractall(folder, filter="data")
    return folder


def decoded(raw: bytes) -> str:
    """The page as a loader reads it: UTF-8 where it is, else what the page or its bytes say."""
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return bytes_to_str(raw, detect_encoding(raw, from_html_meta=True), errors="replace")


def snippet_pages(folder: Path) -> Iterator[Page]:
    """The pages of trafilatura-pages."""
    (tests,) = folder.rglob("evaldata.json")
    suffixes = PublicSuffixList()
    for url, entry in json.loads(tests.read_text("utf-8")).items():
        path = next(
            p for p in (tests.parent / "cache" / entry["file"], tests.parent / "eval" / entry["file"]) if p.exists()
        )
        host = urlparse(url).hostname or entry["file"].split("-")[0]
        domain = suffixes.privatesuffix(host) or host
        yield Page(url, domain, path.read_bytes(), entry["with"], entry["without"], entry.get("comments") or [])


def reader_pages(folder: Path) -> Iterator[Page]:
    """The pages of readability-pages."""
    for source in sorted(folder.rglob("source.html")):
        tree = HTMLTree.parse((source.parent / "expected.html").read_text("utf-8"))
        expected = extract_plain_text(tree, preserve_formatting=True, list_bullets=False, alt_texts=False)
        lines = blocks(tree, unhide=True).texts
        name = source.parent.name
        host = _canonical_host(source) or re.sub(r"-\d+$", "", name)
        yield Page(name, host, source.read_bytes(), expected=expected, expected_lines=lines)


def _canonical_host(source: Path) -> str | None:
    pattern = rb'<(?:link[^>]*rel="canonical"[^>]*href|meta[^>]*og:url"[^>]*content)="(https?://[^"]+)'
    found = re.search(pattern, source.read_bytes())
    host = urlparse(found[1].decode("ascii", "ignore")).hostname if found else None
    return PublicSuffixList().privatesuffix(host) if host else None


def all_pages() -> list[Page]:
    """Both sets, unpacked for as long as it takes to read them."""
    with tempfile.TemporaryDirectory() as scratch:
        snippets = unpacked(RAW / "trafilatura-pages.tar.zst", Path(scratch) / "snippets")
        readers = unpacked(RAW / "readability-pages.tar.zst", Path(scratch) / "readers")
        return [*snippet_pages(snippets), *reader_pages(readers)]


@dataclass
class Example:
    """A page as the network learns it: features, soft labels and weights of its blocks."""

    found: Features
    label: npt.NDArray[np.float64]
    weight: npt.NDArray[np.float64]


def _one_line(text: str) -> str:
    return " ".join(text.replace(" | ", " ").split())


def example(page: Page) -> Example | None:
    """Label a page's blocks; None where it has none."""
    html = decoded(page.raw)
    tree = HTMLTree.parse(html)
    found = blocks(tree)
    if not found.texts:
        return None
    lines = [_one_line(text) for text in found.texts]
    label, weight = (_by_expected if page.expected is not None else _by_snippets)(page, html, lines)
    _headline_stays(found, tree.title or "", label, weight)
    return Example(features(found, tree.title or ""), label, weight)


def _headline_stays(found: Blocks, title: str, label: npt.NDArray[np.float64], weight: npt.NDArray[np.float64]) -> None:
    """A reader view shows the headline elsewhere and so expects none: titles are content here, whatever it says."""
    line = headline(found.texts, title, kinds(found))
    if line >= 0 and weight[line] < SNIPPET_WEIGHT:
        label[line], weight[line] = 1, 1


Labels = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]


def _by_expected(page: Page, html: str, lines: list[str]) -> Labels:
    whole = _one_line("\n".join(page.expected_lines))
    own = {_one_line(line) for text in page.expected_lines for line in text.split("\n")}
    own |= {_one_line(text) for text in page.expected_lines}
    label = np.array([float(t in own or (len(t) >= SURE_CHARS and t in whole)) for t in lines])
    return label, np.array([0.3 + np.log1p(len(t.split())) / 4 for t in lines])


def _by_snippets(page: Page, html: str, lines: list[str]) -> Labels:
    label = np.mean([_taught(html, lines, precise) for precise in (False, True)], axis=0)
    weight = np.where((label == 0) | (label == 1), 0.3, 0.1) * [1 if len(t) >= SURE_CHARS else 0.7 for t in lines]
    for snippet in [*page.drop, *page.comments]:
        for i in _holding(lines, snippet):
            label[i], weight[i] = 0, SNIPPET_WEIGHT
    for snippet in page.keep:
        found = _holding(lines, snippet)
        best = max(found, key=lambda i: (weight[i] < SNIPPET_WEIGHT, label[i], len(lines[i])), default=None)
        if best is not None:  # a block with a snippet of either kind teaches nothing
            contradicted = weight[best] == SNIPPET_WEIGHT and label[best] == 0
            label[best], weight[best] = 1, 0 if contradicted else SNIPPET_WEIGHT
    return label, weight


def _holding(lines: list[str], snippet: str) -> list[int]:
    return [i for i, line in enumerate(lines) if _one_line(snippet) in line]


def _taught(html: str, lines: list[str], precise: bool) -> list[bool]:
    text = trafilatura.extract(html, include_comments=False, favor_precision=precise) or ""
    whole = _one_line(re.sub(r"^- |\|", " ", text, flags=re.M))
    own = {_one_line(line.lstrip("- ").replace("|", " ")) for line in text.split("\n")}
    return [t in own or (len(t) >= SURE_CHARS and t in whole) for t in lines]


class Model(torch.nn.Module):
    """The network of `curator.extract.Network`, with dropout."""

    def __init__(self, width: int) -> None:
        """Lay out the layers for so many features."""
        super().__init__()
        self.block = torch.nn.Linear(width, HIDDEN)
        self.near = torch.nn.Conv1d(HIDDEN, HIDDEN, 2 * REACH + 1, padding=REACH)
        self.like = torch.nn.Linear(HIDDEN, HIDDEN, bias=False)
        self.place = torch.nn.Linear(HIDDEN, HIDDEN, bias=False)
        self.page = torch.nn.Linear(HIDDEN, HIDDEN, bias=False)
        self.out = torch.nn.Linear(2 * HIDDEN, 1)

    def forward(self, x: torch.Tensor, like: torch.Tensor, place: torch.Tensor) -> torch.Tensor:
        """Logits.  # [n]"""
        h = F.dropout(F.relu(self.block(F.dropout(x, 0.1, self.training))), DROP, self.training)
        context = self.near(h.T[None])[0].T + self.page(h.mean(0, keepdim=True))
        context = context + self.like(_mean_of(h, like)) + self.place(_mean_of(h, place))
        both = F.dropout(torch.cat([F.relu(context), h], 1), DROP, self.training)
        return self.out(both)[:, 0]


def _mean_of(h: torch.Tensor, group: torch.Tensor) -> torch.Tensor:
    groups = int(group.max()) + 1
    sizes = torch.zeros(groups).index_add_(0, group, torch.ones(len(group))).clamp(min=1)
    return (torch.zeros(groups, HIDDEN).index_add_(0, group, h) / sizes[:, None])[group]


def trained(examples: Sequence[Example], seed: int = SEED) -> Network:
    """Train on some pages: one thread, fixed seed, the same weights every time."""
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    dice = np.random.RandomState(seed)
    every = np.vstack([e.found.x for e in examples])
    mean, scale = every.mean(0), every.std(0)
    scale = np.where(scale < 1e-4, 1, scale).astype(np.float32)
    batches = [
        (
            torch.from_numpy(np.clip((e.found.x - mean) / scale, -5, 5).astype(np.float32)),
            torch.from_numpy(e.found.like),
            torch.from_numpy(e.found.place),
            torch.from_numpy(e.label.astype(np.float32)),
            torch.from_numpy(e.weight.astype(np.float32)),
        )
        for e in examples
    ]
    model = Model(every.shape[1])
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=DECAY)
    steps = EPOCHS * -(-len(batches) // PAGES_A_STEP)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, steps)
    for _ in range(EPOCHS):
        order = dice.permutation(len(batches))
        for first in range(0, len(order), PAGES_A_STEP):
            optimizer.zero_grad()
            _loss(model, [batches[i] for i in order[first : first + PAGES_A_STEP]]).backward()
            optimizer.step()
            schedule.step()
    return Network(_weights(model, mean, scale))


def _loss(model: Model, pages: list[tuple[torch.Tensor, ...]]) -> torch.Tensor:
    """Cross-entropy; a page counts as the root of its labels' weight, so that long ones do not rule."""
    total, size = torch.zeros(()), 0.0
    for x, like, place, label, weight in pages:
        root = float(weight.sum()) ** 0.5 + 1e-6
        entropy = F.binary_cross_entropy_with_logits(model(x, like, place), label, reduction="none")
        total, size = total + (entropy * weight).sum() / root, size + root
    return total / size


def _weights(model: Model, mean: F32, scale: F32) -> dict[str, F32]:
    state = {name: value.detach().numpy() for name, value in model.state_dict().items()}
    weights = {
        "mean": mean,
        "scale": scale,
        "block": state["block.weight"].T,
        "block_bias": state["block.bias"],
        "near": state["near.weight"].transpose(2, 1, 0),
        "near_bias": state["near.bias"],
        "like": state["like.weight"].T,
        "place": state["place.weight"].T,
        "page": state["page.weight"].T,
        "out": state["out.weight"][0],
        "out_bias": state["out.bias"],
    }
    return {name: np.ascontiguousarray(value, np.float32) for name, value in weights.items()}


def folds(pages: Sequence[Page], seed: int = SEED) -> npt.NDArray[np.int64]:
    """Fold of each page; the pages of a host are never in two.  # [pages]"""
    hosts = sorted({page.host for page in pages})
    fold = dict(
        zip(np.random.RandomState(seed).permutation(hosts).tolist(), np.arange(len(hosts)) % FOLDS, strict=True)
    )
    return np.array([fold[page.host] for page in pages])


def out_of_fold(pages: Sequence[Page], seed: int = SEED) -> list[Network]:
    """For each page a network that saw no page of its host."""
    examples, fold = [example(page) for page in pages], folds(pages, seed)
    without = [
        trained([e for e, f in zip(examples, fold, strict=True) if f != k and e is not None]) for k in range(FOLDS)
    ]
    return [without[f] for f in fold]


def held_out(page: Page) -> bool:
    """One host in ten is never trained on: the floor in metrics.toml is measured on its pages."""
    return hashlib.blake2b(page.host.encode()).digest()[0] < 26


def scores(counts: npt.NDArray[np.int64]) -> tuple[float, float, float]:
    """Precision, recall and F1 over (kept must-keep, lost must-keep, kept must-drop) of some pages.  # [pages, 3]"""
    tp, fn, fp = counts.sum(0).tolist()
    return tp / max(1, tp + fp), tp / max(1, tp + fn), 2 * tp / max(1, 2 * tp + fp + fn)


def snippets(page: Page, text: str) -> tuple[int, int, int]:
    """Must-keep snippets kept and lost, and must-drop ones kept, in the text made of a page."""
    kept = sum(snippet in text for snippet in page.keep)
    return kept, len(page.keep) - kept, sum(snippet in text for snippet in page.drop)


def word_f1(text: str, expected: str) -> float:
    """F1 of two bags of words."""
    found, wanted = (Counter(re.findall(r"\w+", t.lower())) for t in (text, expected))
    return 2 * (found & wanted).total() / max(1, found.total() + wanted.total())


def measured(pages: Sequence[Page]) -> dict[str, float]:
    """F1 of the extraction that ships on some pages."""
    texts = [extract(html, HTMLTree.parse(html)).text for html in (decoded(page.raw) for page in pages)]
    both = list(zip(pages, texts, strict=True))
    return {
        "snippet_f1": scores(np.array([snippets(p, t) for p, t in both if p.expected is None]))[2],
        "word_f1": float(np.mean([word_f1(t, p.expected) for p, t in both if p.expected is not None])),
    }


def main() -> None:
    """Train on every page but those held out, write the weights, and pin floors by those held out."""
    pages = all_pages()
    examples = [e for page in pages if not held_out(page) and (e := example(page)) is not None]
    path = HERE / "extract.safetensors"
    save_file(trained(examples).weights, path)
    path.chmod(0o644)
    (HERE / "config.toml").write_text(
        "# Written by train.py; extraction loads the file only when its sha256 is this one.\n"
        f'file = "{path.name}"\nsha256 = "{file_sha256(path)}"\n',
        "utf-8",
    )
    pin([page for page in pages if held_out(page)])


def pin(pages: Sequence[Page]) -> None:
    """Write the figures of these pages, less a margin, as floors."""
    figures = measured(pages)
    print(f"{len(pages)} pages held out: {figures}")
    lines = [f"{name} = {value - MARGIN:.3f}" for name, value in figures.items()]
    head = f"# Floors, written by train.py: figures of {len(pages)} pages of hosts never trained on, less {MARGIN}."
    (HERE / "metrics.toml").write_text("\n".join([head, "[floors]", *lines, ""]), "utf-8")


if __name__ == "__main__":
    main()
