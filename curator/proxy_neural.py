"""A small transformer in the place of the n-gram model: what a mixture teaches a neural model, on a GPU in minutes.

A decoder as in Radford et al. 2019 (GPT-2: normalisation before each part, learned positions, tied embeddings). Each
document stands alone behind an end token. A document longer than the context is read in windows that lie half over one
another, and a token is scored, and drawn, in the first window that has at least half a context before it: what is drawn
follows exactly the probabilities that are scored.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from curator.proxy import END, Tokens

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]

_NO_TARGET: Final = -100


@dataclass(frozen=True)
class Size:
    """Shape of a model, and how long it learns."""

    layers: int
    heads: int
    width: int
    context: int
    batch_tokens: int
    seen_tokens: int  # in training, over all passes
    most_passes: int
    rate: float = 1e-3
    dropout: float = 0.1
    writers: int = 64  # documents drawn side by side


SMALL: Final = Size(layers=4, heads=4, width=192, context=128, batch_tokens=4_096, seen_tokens=1_000_000, most_passes=4)
LARGE: Final = Size(
    layers=8, heads=8, width=512, context=512, batch_tokens=65_536, seen_tokens=14_000_000, most_passes=12, writers=512
)  # 27 million parameters with 4,096 tokens


def fit(tokens: Tokens, vocabulary: int, seed: int, size: Size | None = None) -> NeuralModel:
    """Train a model: `LARGE` on a GPU, `SMALL` (three million parameters) elsewhere."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    size = size or (LARGE if device.type == "cuda" else SMALL)
    with _seeded(seed):
        network = Network(vocabulary, size).to(device)
        _train(network, tokens, size, np.random.default_rng(seed), device)
    return NeuralModel(network.eval(), size, device)


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """The same weights and the same dropout for a seed, whatever was drawn before; others' draws go on undisturbed."""
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(seed)
        yield


# --- The network -----------------------------------------------------------------------------------

Past = list[tuple[Tensor, Tensor]]  # keys and values of each layer, [batch, heads, positions, width / heads]


class Block(nn.Module):
    """Attention to what came before, then a layer of its own for each position."""

    def __init__(self, size: Size) -> None:
        """Make the weights."""
        super().__init__()
        self.heads, self.dropout = size.heads, size.dropout
        self.before, self.between = nn.LayerNorm(size.width), nn.LayerNorm(size.width)
        self.into, self.out = nn.Linear(size.width, 3 * size.width), nn.Linear(size.width, size.width)
        self.up, self.down = nn.Linear(size.width, 4 * size.width), nn.Linear(4 * size.width, size.width)

    def forward(self, x: Tensor, past: tuple[Tensor, Tensor] | None) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """x: [batch, positions, width]; with a past, one position that follows it."""
        split = self.into(self.before(x)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        query, key, value = split.unbind(0)
        if past is not None:
            key, value = torch.cat([past[0], key], 2), torch.cat([past[1], value], 2)
        dropout = self.dropout if self.training else 0.0
        seen = functional.scaled_dot_product_attention(query, key, value, is_causal=past is None, dropout_p=dropout)
        x = x + functional.dropout(self.out(seen.transpose(1, 2).flatten(2)), self.dropout, self.training)
        deep = self.down(functional.gelu(self.up(self.between(x))))
        return x + functional.dropout(deep, self.dropout, self.training), (key, value)


class Network(nn.Module):
    """Logits of the next token at every position."""

    def __init__(self, vocabulary: int, size: Size) -> None:
        """Make the weights; those that add to the stream start smaller, as there are many (GPT-2)."""
        super().__init__()
        self.tokens, self.positions = nn.Embedding(vocabulary, size.width), nn.Embedding(size.context, size.width)
        self.blocks = nn.ModuleList(Block(size) for _ in range(size.layers))
        self.last = nn.LayerNorm(size.width)
        for name, weight in self.named_parameters():
            if weight.dim() == 2:
                adds = name.endswith(("out.weight", "down.weight"))
                nn.init.normal_(weight, std=0.02 / math.sqrt(2 * size.layers) if adds else 0.02)

    def forward(self, ids: Tensor, past: Past | None = None) -> tuple[Tensor, Past]:
        """ids: [batch, positions] int64; with a past, one position.  Returns logits [batch, positions, vocabulary]."""
        first = 0 if past is None else past[0][0].shape[2]
        x = self.tokens(ids) + self.positions.weight[first : first + ids.shape[1]]
        held: Past = []
        for layer, block in enumerate(self.blocks):
            x, now = block(x, None if past is None else past[layer])
            held.append(now)
        return functional.linear(self.last(x), self.tokens.weight), held


# --- Training --------------------------------------------------------------------------------------


def _windows(tokens: Tokens, context: int, step: int) -> tuple[I64, I64]:
    """Where windows begin, and how many tokens each predicts, one document at a time.  # [windows] each"""
    sizes = tokens.sizes
    count = 1 + np.maximum(0, -(-(sizes - context) // step))
    document = np.repeat(np.arange(len(sizes)), count)
    nth = np.arange(len(document)) - np.repeat(np.cumsum(count) - count, count)
    start = nth * step
    return (tokens.ends - sizes)[document] + start, np.minimum(context, sizes[document] - start)


def _batch(tokens: Tokens, first: I64, length: I64, device: torch.device) -> tuple[Tensor, Tensor]:
    """Inputs and targets of windows, the shorter ones filled up.  # [windows, positions] each"""
    at = first[:, None] + np.arange(int(length.max()))
    real = np.arange(at.shape[1]) < length[:, None]
    ids = tokens.ids[np.minimum(at, len(tokens.ids) - 1)].astype(np.int64)
    before = np.where(at > 0, tokens.ids[np.clip(at - 1, 0, len(tokens.ids) - 1)], END)  # behind an end token, or at 0
    inputs = np.where(real, before, END).astype(np.int64)
    return torch.from_numpy(inputs).to(device), torch.from_numpy(np.where(real, ids, _NO_TARGET)).to(device)


def _train(network: Network, tokens: Tokens, size: Size, rng: np.random.Generator, device: torch.device) -> None:
    """AdamW with a short warm-up and a cosine down to a tenth, windows in a new order on each pass."""
    first, length = _windows(tokens, size.context, size.context)
    rows = max(1, size.batch_tokens // size.context)
    passes = min(size.most_passes, max(1, round(size.seen_tokens / len(tokens.ids))))
    steps = passes * -(-len(first) // rows)
    matrices = [p for p in network.parameters() if p.dim() == 2]
    others = [p for p in network.parameters() if p.dim() < 2]
    optimiser = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}], size.rate, (0.9, 0.95)
    )
    warm = max(1, steps // 20)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda s: min(1.0, (s + 1) / warm) * (0.55 + 0.45 * math.cos(math.pi * min(1.0, s / steps)))
    )
    network.train()
    for _ in range(passes):
        order = rng.permutation(len(first))
        for some in np.split(order, range(rows, len(order), rows)):
            inputs, targets = _batch(tokens, first[some], length[some], device)
            with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
                logits, _ = network(inputs)
                loss = functional.cross_entropy(
                    logits.flatten(0, 1).float(), targets.flatten(), ignore_index=_NO_TARGET
                )
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimiser.step()
            schedule.step()


# --- The trained model -----------------------------------------------------------------------------


@dataclass(frozen=True)
class NeuralModel:
    """What `curator.proxy.NgramModel` answers, from a transformer."""

    network: Network
    size: Size
    device: torch.device

    @property
    def parameters(self) -> int:
        """How many weights."""
        return sum(p.numel() for p in self.network.parameters())

    @torch.no_grad()
    def log_prob(self, tokens: Tokens) -> F64:
        """Natural logarithm of each token's probability, given what its window holds before it.  # [tokens]"""
        step = self.size.context // 2
        first, length = _windows(tokens, self.size.context, step)
        out = np.empty(len(tokens.ids))
        rows = max(1, self.size.batch_tokens // self.size.context)
        begins = np.isin(first, tokens.ends - tokens.sizes)
        for some in np.split(np.arange(len(first)), range(rows, len(first), rows)):
            inputs, targets = _batch(tokens, first[some], length[some], self.device)
            logits, _ = self.network(inputs)
            flat = functional.cross_entropy(
                logits.flatten(0, 1).float(), targets.flatten(), ignore_index=_NO_TARGET, reduction="none"
            )
            surprise = flat.view(targets.shape).double().cpu().numpy()
            for row, window in enumerate(some):
                known = 0 if begins[window] else self.size.context - step  # scored by the window before
                start, end = first[window] + known, first[window] + length[window]
                out[start:end] = -surprise[row, known : length[window]]
        return out

    @torch.no_grad()
    def sample(self, documents: int, seed: int, most_tokens: int = 1024) -> Tokens:
        """Draw documents at temperature 1; each depends on its number and the seed alone, on one device.

        A document that does not end by itself is ended after `most_tokens` tokens.
        """
        parts: list[I64] = []
        sizes: list[int] = []
        for group in range(-(-documents // self.size.writers)):
            written = self._written(np.random.default_rng((seed, group)), most_tokens)
            for row in written[: documents - group * self.size.writers]:
                ended = int(np.argmax(row == END)) + 1  # the last column is
                parts.append(row[:ended])
                sizes.append(ended)
        ids = np.concatenate(parts).astype(np.int32) if parts else np.empty(0, np.int32)
        return Tokens(ids, np.cumsum(sizes, dtype=np.int64))

    def _written(self, rng: np.random.Generator, most_tokens: int) -> I64:
        """A group of documents side by side; what stands behind an end token means nothing.  # [writers, most_tokens]"""
        context, step = self.size.context, self.size.context // 2
        text = torch.full((self.size.writers, most_tokens + 1), END, dtype=torch.int64, device=self.device)
        done = torch.zeros(self.size.writers, dtype=torch.bool, device=self.device)
        past: Past | None = None
        start = 0
        for at in range(most_tokens - 1):  # the last token is an end token
            if at - start == context:  # the window is full: the next begins half a context later
                start, past = start + step, None
            ids = text[:, start : at + 1] if past is None else text[:, at : at + 1]
            logits, past = self.network(ids, past)
            text[:, at + 1] = _picked(logits[:, -1], torch.from_numpy(rng.random(len(text))).to(self.device))
            done |= text[:, at + 1] == END
            if bool(done.all()):
                break
        found: Any = text[:, 1:].cpu().numpy()
        return np.asarray(found, np.int64)


def _picked(logits: Tensor, unit: Tensor) -> Tensor:
    """The token at which each row's summed probabilities pass a number in [0, 1).  # [rows]"""
    summed = torch.softmax(logits.double(), -1).cumsum(-1)
    place = torch.searchsorted(summed, (unit * summed[:, -1])[:, None], right=True)
    return place[:, 0].clamp(max=logits.shape[-1] - 1)
