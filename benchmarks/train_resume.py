"""A small transformer trained on a finished run: never stopped, killed and resumed, resumed with other workers; the same losses.

    python benchmarks/train_resume.py [--run demo-out] [--steps 300]

Documents come from CuratedDataset, through torch's DataLoader where there are workers, are packed into sequences by a
byte-level BPE learnt from the run, and attention is kept within a document by the spans. Three trainings of as many
steps: one goes through, one is killed (SIGKILL) in the middle of an epoch, between two checkpoints, and started again,
one is killed as well and goes on with another number of workers. A checkpoint holds model, optimiser, random numbers and
where the loader stands, and is read with `weights_only=True`. Losses are compared as they are, to the last bit.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import nn
from torch.nn import functional

from curator.loader import CuratedDataset
from curator.loading.packing import PackedDataset

ROOT = Path(__file__).parent.parent
LENGTH, BATCH, WIDTH, HEADS, LAYERS = 96, 16, 64, 4, 2
END = "<|end|>"


class Fed:
    """A dataset whose documents come through torch's worker processes, one by one, so in the order of none."""

    def __init__(self, dataset: CuratedDataset, workers: int) -> None:
        self.dataset, self.workers = dataset, workers
        self._taken = 0

    def __iter__(self) -> Iterator[dict[str, Any]]:
        epoch = self.dataset.epoch
        first = iter(self.dataset)
        while not self.workers or self.dataset.state_dict()["position"] % self.workers:
            sample = next(first, None)  # until it is the first worker's turn
            if sample is None:
                return
            yield sample
        # a generator of its own: DataLoader draws from torch's at its start, and the model's dropout would be another
        own = {"batch_size": None, "num_workers": self.workers, "generator": torch.Generator()}
        data: Any = torch.utils.data.DataLoader(self.dataset.as_torch(), **own)  # type: ignore[arg-type]
        for sample in data:
            self._taken += 1
            yield sample
        self._taken = 0
        self.dataset.set_epoch(epoch + 1)

    def state_dict(self) -> dict[str, Any]:
        return self.dataset.state_dict(self._taken)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.dataset.load_state_dict(state)
        self._taken = 0

    def set_epoch(self, epoch: int) -> None:
        self.dataset.set_epoch(epoch)

    def share(self) -> tuple[int, int]:
        return self.dataset.share()


class Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.before, self.after = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.mix, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.think = nn.Sequential(nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH), nn.Dropout(0.1))

    def forward(self, x: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
        batch, length, _ = x.shape
        parts = self.mix(self.before(x)).view(batch, length, 3, HEADS, -1).permute(2, 0, 3, 1, 4)
        found = functional.scaled_dot_product_attention(*parts, attn_mask=seen[:, None])
        x = x + self.out(found.transpose(1, 2).reshape(batch, length, WIDTH))
        return x + self.think(self.after(x))


class Transformer(nn.Module):
    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        self.tokens, self.places = nn.Embedding(vocabulary, WIDTH), nn.Embedding(LENGTH, WIDTH)
        self.layers = nn.ModuleList(Layer() for _ in range(LAYERS))
        self.last = nn.LayerNorm(WIDTH)
        for table in (self.tokens, self.places):
            nn.init.normal_(table.weight, std=0.02)  # tokens are the output too: at 1 the first losses would be forty

    def forward(self, ids: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
        x = self.tokens(ids) + self.places(torch.arange(LENGTH))
        for layer in self.layers:
            x = layer(x, seen)
        return self.last(x) @ self.tokens.weight.T


def loss_of(model: Transformer, sequences: list[dict[str, Any]]) -> torch.Tensor:
    """Mean loss of the next token, each token seeing those before it in its own document only."""
    ids = torch.tensor([sequence["input_ids"].tolist() for sequence in sequences])
    document = torch.zeros(ids.shape, dtype=torch.long)
    for row, sequence in enumerate(sequences):
        for number, span in enumerate(sequence["spans"]):
            document[row, span.start : span.end] = number
    same = document[:, :, None] == document[:, None]
    found = model(ids, same & torch.ones(LENGTH, LENGTH, dtype=torch.bool).tril())
    inside = document[:, 1:] == document[:, :-1]
    return functional.cross_entropy(found[:, :-1][inside], ids[:, 1:][inside])


def train(out: Path, folder: Path, steps: int, every: int, workers: int, pause: float) -> None:
    """Train to so many steps, going on from the last checkpoint if there is one; a line a step in losses.txt."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    torch.use_deterministic_algorithms(True)
    tokenizer = folder.parent / "tokenizer.json"
    packed = PackedDataset(Fed(CuratedDataset(out, seed=5), workers), tokenizer, LENGTH, separator=END)  # type: ignore[arg-type]
    model = Transformer(Tokenizer.from_file(str(tokenizer)).get_vocab_size())
    optimiser = torch.optim.AdamW(model.parameters(), 3e-3)
    kept, step, told = folder / "checkpoint.pt", 0, 0
    if kept.exists():
        saved = torch.load(kept, weights_only=True)
        model.load_state_dict(saved["model"])
        optimiser.load_state_dict(saved["optimiser"])
        torch.set_rng_state(saved["random"])
        packed.load_state_dict(json.loads(saved["loader"]))
        step, told = saved["step"], saved["told"]
    with (folder / "losses.txt").open("ab") as losses:
        losses.truncate(told)  # steps after the checkpoint are done again
        sequences = itertools.chain.from_iterable(itertools.repeat(packed))  # epoch after epoch
        while step < steps:
            loss = loss_of(model, list(itertools.islice(sequences, BATCH)))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            step += 1
            losses.write(f"{loss.item().hex()} {packed.state_dict()['source']['epoch']}\n".encode())
            losses.flush()
            if step % every == 0:
                state = {
                    "model": model.state_dict(),
                    "optimiser": optimiser.state_dict(),
                    "random": torch.get_rng_state(),
                }
                place = {"loader": json.dumps(packed.state_dict()), "step": step, "told": losses.tell()}
                torch.save(state | place, kept.with_suffix(".tmp"))
                os.replace(kept.with_suffix(".tmp"), kept)
            time.sleep(pause)


def learn_tokenizer(out: Path, path: Path) -> None:
    """A byte-level BPE of 2,000 tokens from the first documents of the run."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    texts = (sample["text"][:5000] for sample in itertools.islice(CuratedDataset(out, shuffle=False), 1000))
    tokenizer.train_from_iterator(
        texts, trainers.BpeTrainer(vocab_size=2000, special_tokens=[END], show_progress=False)
    )
    tokenizer.save(str(path))


def started(out: Path, folder: Path, steps: int, every: int, workers: int, pause: float = 0) -> subprocess.Popen[bytes]:
    folder.mkdir(exist_ok=True)
    called = [str(out), str(folder), *map(str, (steps, every, workers, pause))]
    settings = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    return subprocess.Popen([sys.executable, "-W", "ignore", __file__, "--train", *called], env=os.environ | settings)


def through(out: Path, folder: Path, steps: int, every: int, workers: int) -> None:
    if code := started(out, folder, steps, every, workers).wait():
        raise SystemExit(f"training in {folder} ended with {code}")


def killed(out: Path, folder: Path, steps: int, every: int, workers: int, after: int) -> int:
    """Train until so many steps are told and no checkpoint holds the last, kill, and return how many were told."""
    running = started(out, folder, steps, every, workers, pause=0.02)
    while len(told := losses_of(folder)) < after or len(told) % every == 0:
        if running.poll() is not None:
            raise SystemExit(f"training in {folder} ended before it could be killed")
        time.sleep(0.002)
    running.send_signal(signal.SIGKILL)
    running.wait()
    return len(losses_of(folder))


def losses_of(folder: Path) -> list[tuple[float, int]]:
    """Loss of every step, and the epoch that the loader stood in after it."""
    path = folder / "losses.txt"
    lines = path.read_text().split("\n")[:-1] if path.exists() else []
    return [(float.fromhex(line.split()[0]), int(line.split()[1])) for line in lines]


def compared(
    out: Path, scratch: Path, steps: int, every: int, after: int, workers: tuple[int, int] = (0, 2)
) -> dict[str, list[tuple[float, int]]]:
    """All three trainings; name -> losses, the name of one that was killed telling after how many steps."""
    learn_tokenizer(out, scratch / "tokenizer.json")
    through(out, scratch / "through", steps, every, workers[0])
    found = {"never stopped": losses_of(scratch / "through")}
    for name, later in (("resumed", workers[0]), ("other-workers", workers[1])):
        told = killed(out, scratch / name, steps, every, workers[0], after)
        through(out, scratch / name, steps, every, later)
        label = f"killed at step {told}, resumed at {told // every * every} with {later} workers"
        found[label] = losses_of(scratch / name)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", type=Path, default=ROOT / "demo-out", help="finished run to train on")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--every", type=int, default=40, help="steps between two checkpoints")
    parser.add_argument("--told", type=int, default=50, help="steps between two lines of the table")
    parser.add_argument("--train", nargs=6, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.train:
        out, folder, *numbers, pause = asked.train
        train(Path(out), Path(folder), *map(int, numbers), float(pause))
        return
    with tempfile.TemporaryDirectory() as scratch:
        found = compared(asked.run, Path(scratch), asked.steps, asked.every, asked.steps // 2 + asked.every // 3)
    print("\n".join(told(found, asked.told)))


def told(found: Mapping[str, list[tuple[float, int]]], every: int) -> Iterator[str]:
    """A table of losses, every so many steps, and how many of all steps have the loss of the training never stopped."""
    whole = next(iter(found.values()))
    yield "| step | epoch | " + " | ".join(found) + " |"
    yield "|---" * (2 + len(found)) + "|"
    for step in sorted({1, *range(every, len(whole) + 1, every)}):
        losses = [f"{losses[step - 1][0]:.9f}" for losses in found.values()]
        yield f"| {step} | {whole[step - 1][1]} | {' | '.join(losses)} |"
    equal = [sum(a == b for a, b in zip(whole, losses, strict=True)) for losses in found.values()]
    yield "| equal to the bit | | " + " | ".join(f"{same} of {len(whole)}" for same in equal) + " |"


if __name__ == "__main__":
    main()
