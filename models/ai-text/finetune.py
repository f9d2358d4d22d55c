"""Fine-tune the encoder's transformer layers for origin, and measure it beside the frozen form.

    python models/ai-text/finetune.py pack --data ../shared/data -o .gpu/pack      # on a CPU: texts and the base in fp16
    python models/ai-text/finetune.py run .gpu/pack -o OUT                          # where the GPU is; a CPU does it slowly
    python models/ai-text/finetune.py join OUT/delta-*.safetensors -o delta.safetensors

`run` checks the machine, trains on all domains, then anew without each domain and generator family asked for, and
prints frozen and fine-tuned encoders side by side, alone and fused with the cheap path.  Embeddings stay frozen: what
ships is the difference of the transformer layers to the base, in fp16.  Nothing here has been run on a GPU yet.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from curator import learn
from curator.retrain import auroc, tpr_at
from curator.stages.embed import EARLY
from curator.style import fold_text

Floats = npt.NDArray[np.float64]
SEED: Final = learn.SEED
MAX_TOKENS: Final = 256
PIECE_BYTES: Final = 15 << 20  # what comes back from a borrowed machine, a file
AUXILIARY: Final = 0.1  # weight of the generator, attack and domain heads' losses beside that of the origin
HARD: Final = 3.0  # weight of the tenth of human texts that the cheap path finds most machine-like
ATTACKED: Final = 0.35  # share of training texts that are attacked anew in each epoch
GENERATORS: Final = 64  # most frequent ones that have a class of their own; the others share one
HEAD: Final = "head."


# --- Attacks ---------------------------------------------------------------------------------------


def typos(text: str, dice: random.Random) -> str:
    """Swap, drop or double one letter in fifty."""
    letters = list(text)
    for i in range(len(letters) - 1):
        if letters[i].isalpha() and dice.random() < 0.02:
            kind = dice.randrange(3)
            if kind == 0:
                letters[i], letters[i + 1] = letters[i + 1], letters[i]
            else:
                letters[i] *= 2 * (kind - 1)
    return "".join(letters)


def case(text: str, dice: random.Random) -> str:
    """Put all or one word in ten in another case."""
    if dice.random() < 0.3:
        return text.lower()
    return " ".join(word.swapcase() if dice.random() < 0.1 else word for word in text.split(" "))


def articles(text: str, dice: random.Random) -> str:
    """Delete half of the articles."""
    return re.sub(r"\b(?:[Aa]n?|[Tt]he) ", lambda found: "" if dice.random() < 0.5 else found[0], text)


_LIKE: Final = dict(zip("aceopxyABCEHKMOPTX", "асеорхуАВСЕНКМОРТХ", strict=True))


def homoglyphs(text: str, dice: random.Random) -> str:
    """Write one Latin letter in ten in Cyrillic ones of the same look."""
    return "".join(_LIKE.get(c, c) if dice.random() < 0.1 else c for c in text)


def whitespace(text: str, dice: random.Random) -> str:
    """Make one space in ten two, a line break, or a space of no width beside it."""
    return re.sub(" ", lambda _: dice.choice(["  ", "\n", " \u200b"]) if dice.random() < 0.1 else " ", text)


ATTACKS: Final[tuple[Callable[[str, random.Random], str], ...]] = (typos, case, articles, homoglyphs, whitespace)


def attacked(texts: Sequence[str], seed: int) -> tuple[list[str], npt.NDArray[np.int64]]:
    """Attack a share of texts, then fold all as serving does; return them and which attack, 0 for none."""
    dice = random.Random(seed)
    kinds = [1 + dice.randrange(len(ATTACKS)) if dice.random() < ATTACKED else 0 for _ in texts]
    made = [ATTACKS[kind - 1](text, dice) if kind else text for text, kind in zip(texts, kinds, strict=True)]
    return [fold_text(text) for text in made], np.array(kinds, np.int64)


# --- The model -------------------------------------------------------------------------------------


class Origin(nn.Module):
    """A transformer with two heads for origin (early layers' moments, mean of the last layer) and three beside."""

    def __init__(self, trunk: Any, generators: int, domains: int) -> None:
        """Put heads on any encoder that returns its hidden states; its input embeddings are frozen."""
        super().__init__()
        width = int(trunk.config.hidden_size)
        self.trunk, self.states = trunk, min(EARLY, int(trunk.config.num_hidden_layers) + 1)
        for name, value in trunk.named_parameters():
            value.requires_grad_("embed" not in name)
        early = 2 * self.states * width
        self.norm = nn.LayerNorm(early)
        self.early, self.mean = nn.Linear(early, 1), nn.Linear(width, 1)
        self.generator, self.attack = nn.Linear(early + width, generators), nn.Linear(early + width, 1 + len(ATTACKS))
        self.domain = nn.Linear(early + width, domains)

    def forward(self, ids: Any, mask: Any) -> tuple[Any, Any, Any]:
        """Logits of origin [n], features [n, early + width] of the other heads, early moments [n, early] in float32."""
        found = self.trunk(input_ids=ids, attention_mask=mask, output_hidden_states=True).hidden_states
        weight = mask.unsqueeze(-1).float()
        parts = [part for state in found[: self.states] for part in _moments(state.float(), weight)]
        moments, mean = torch.cat(parts, 1), _moments(found[-1].float(), weight)[0]
        features = torch.cat([self.norm(moments), mean], 1)
        early = features[:, : moments.shape[1]]
        return (self.early(early) + self.mean(mean))[:, 0], features, moments


def _moments(state: Any, weight: Any) -> tuple[Any, Any]:
    count = weight.sum(1)
    mean = (state * weight).sum(1) / count
    return mean, (((state - mean.unsqueeze(1)) ** 2 * weight).sum(1) / count).clamp_min(1e-12).sqrt()


def load_trunk(folder: Path) -> tuple[Any, Any]:
    """Load a base encoder and its tokenizer from local safetensors; nothing is downloaded, no code of theirs runs."""
    from transformers import AutoModel, AutoTokenizer

    only = {"local_files_only": True, "trust_remote_code": False}
    trunk = AutoModel.from_pretrained(folder, use_safetensors=True, dtype=torch.float32, **only)
    return trunk, AutoTokenizer.from_pretrained(folder, **only)


def batches(
    texts: Sequence[str], tokenizer: Any, size: int, order: npt.NDArray[np.int64]
) -> Iterator[tuple[Any, Any, Any]]:
    """Rows, token ids and masks of batches of like length, the batches in a random order."""
    chunks = [order[at : at + 50 * size] for at in range(0, len(order), 50 * size)]
    for chunk in chunks:
        chunk = chunk[np.argsort([len(texts[row]) for row in chunk], kind="stable")]
        starts = np.random.default_rng(int(chunk[0])).permutation(np.arange(0, len(chunk), size))
        for at in starts:
            rows = chunk[at : at + size]
            made = tokenizer(
                [texts[row] for row in rows], truncation=True, max_length=MAX_TOKENS, padding=True, return_tensors="pt"
            )
            yield rows, made["input_ids"], made["attention_mask"]


# --- Texts -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Pack:
    """Texts of the training sets with labels and split; arrays are [n]."""

    text: list[str]
    label: Floats
    dataset: npt.NDArray[np.str_]
    domain: npt.NDArray[np.str_]
    generator: npt.NDArray[np.str_]
    part: npt.NDArray[np.str_]


def pack(data: Path, out: Path, size: int) -> None:
    """Write texts.parquet and base/ (the default encoder, its weights in fp16) for a machine that has neither."""
    from train import load, usable_rows, weights

    from curator.stages.embed import default_folder

    corpus = load(data)
    fit = np.flatnonzero(usable_rows(corpus, learn.grams(corpus.text)))
    chosen = corpus.take(fit[learn.spread(weights(corpus)[fit], size)])
    columns = {name: getattr(chosen, name) for name in ("text", "label", "dataset", "domain", "generator", "part")}
    out.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), out / "texts.parquet", compression="zstd", compression_level=19)
    shutil.copytree(default_folder(), out / "base", dirs_exist_ok=True)
    for path in (out / "base").rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    weight_file = out / "base/model.safetensors"
    half = {name: v.half() if v.is_floating_point() else v for name, v in load_file(weight_file).items()}
    save_file(half, weight_file, metadata={"format": "pt"})
    total = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    print(f"{len(chosen.text):,} texts; {total / 2**20:.1f} MiB in {out}")


def read_pack(path: Path) -> Pack:
    """Read texts.parquet."""
    table = pq.read_table(path).to_pydict()
    names = (np.array(table[name], np.str_) for name in ("dataset", "domain", "generator", "part"))
    return Pack(table["text"], np.array(table["label"], np.float64), *names)


# --- Training and measuring ------------------------------------------------------------------------


@dataclass(frozen=True)
class Settings:
    """How long and how fast: a fold stops at its steps, epochs or minutes, whichever comes first."""

    epochs: int = 3
    steps: int = 1_000_000
    minutes: float = 60.0
    batch: int = 64
    rate: float = 5e-5
    head_rate: float = 1e-3


def device() -> str:
    """The GPU if torch finds one."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def fine_tune(
    model: Origin, tokenizer: Any, texts: Pack, fit: npt.NDArray[np.int64], hard: Floats, how: Settings
) -> int:
    """Train on the rows of `fit`, weighed by `hard` [n] and by cells; return the steps taken."""
    where = device()
    model.to(where).train()
    trunk = [value for value in model.trunk.parameters() if value.requires_grad]
    heads = [value for name, value in model.named_parameters() if not name.startswith("trunk.")]
    groups = [{"params": trunk, "lr": how.rate}, {"params": heads, "lr": how.head_rate}]
    optimiser = torch.optim.AdamW(groups, weight_decay=0.01)
    total = min(how.steps, how.epochs * -(-len(fit) // how.batch))
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, [how.rate, how.head_rate], total_steps=max(total, 2) + 1, pct_start=0.1
    )
    cells = np.zeros(len(texts.text))
    cells[fit] = learn.cell_weights(texts.domain[fit], texts.label[fit]) * hard[fit]
    goals = [_codes(texts.generator, model.generator.out_features), _codes(texts.domain, model.domain.out_features)]
    began, step = time.monotonic(), 0
    for epoch in range(how.epochs):
        shown, kinds = attacked([texts.text[row] for row in fit], SEED + epoch)
        order = np.random.default_rng(SEED + epoch).permutation(len(fit))
        for at, ids, mask in batches(shown, tokenizer, how.batch, order):
            if step >= total or time.monotonic() - began > 60 * how.minutes:
                return step
            rows = fit[at]
            optimiser.zero_grad(set_to_none=True)
            with torch.autocast(where, torch.bfloat16, enabled=where == "cuda"):
                logit, features, _ = model(ids.to(where), mask.to(where))
                loss = _loss(
                    model, logit, features, texts.label[rows], cells[rows], kinds[at], [g[rows] for g in goals]
                )
            loss.backward()
            nn.utils.clip_grad_norm_(trunk + heads, 1.0)
            optimiser.step()
            schedule.step()
            step += 1
    return step


def _codes(names: npt.NDArray[np.str_], most: int) -> npt.NDArray[np.int64]:
    """Number names by how frequent they are, the rarest together."""
    found, place, count = np.unique(names, return_inverse=True, return_counts=True)
    rank = np.empty(len(found), np.int64)
    rank[np.argsort(-count, kind="stable")] = np.arange(len(found))
    return np.minimum(rank, most - 1)[place]


def _loss(model: Origin, logit: Any, features: Any, label: Any, weight: Any, attack: Any, goals: Any) -> Any:
    where = logit.device
    y, w = (torch.tensor(v, dtype=torch.float32, device=where) for v in (label, weight))
    loss = (nn.functional.binary_cross_entropy_with_logits(logit.float(), y, reduction="none") * w).mean()
    for head, goal in ((model.attack, attack), (model.generator, goals[0]), (model.domain, goals[1])):
        loss = loss + AUXILIARY * nn.functional.cross_entropy(head(features).float(), torch.tensor(goal, device=where))
    return loss


def judged(model: Origin, tokenizer: Any, texts: Sequence[str], size: int) -> tuple[Floats, npt.NDArray[np.float32]]:
    """Logits [n] and early moments [n, early] of folded texts, in the precision that serves: float32."""
    where = device()
    model.to(where).eval()
    logit = np.zeros(len(texts))
    moments = np.zeros((len(texts), model.early.in_features), np.float32)
    with torch.inference_mode():
        for rows, ids, mask in batches(texts, tokenizer, size, np.arange(len(texts))):
            found, _, moment = model(ids.to(where), mask.to(where))
            logit[rows], moments[rows] = found.float().cpu().numpy(), moment.float().cpu().numpy()
    return logit, moments


def fold(texts: Pack, base: Path, left_out: npt.NDArray[np.bool_], how: Settings) -> tuple[dict[str, Any], Origin]:
    """Train without the rows left out and measure all forms on them, or on the held-out part where none is."""
    fit, tune = (np.flatnonzero((texts.part == part) & ~left_out) for part in ("train", "tune"))
    found = learn.grams(texts.text)
    weight = learn.cell_weights(texts.domain, texts.label)
    cheap = learn.cheap_logits(found, learn.served(learn.learn_cheap(found, texts.label, weight, fit, tune)))[:, 2]
    human = cheap[fit][texts.label[fit] == 0]
    hard = np.where((texts.label == 0) & (cheap > np.quantile(human, 0.9)), HARD, 1.0)
    torch.manual_seed(SEED)
    trunk, tokenizer = load_trunk(base)
    model = Origin(trunk, GENERATORS, len(np.unique(texts.domain)))
    shown = [fold_text(text) for text in texts.text]
    _, moments = judged(model, tokenizer, shown, how.batch)
    head = learn.learn_head(moments[fit], texts.label[fit], weight[fit])
    began = time.monotonic()
    steps = fine_tune(model, tokenizer, texts, fit, hard, how)
    seconds = time.monotonic() - began
    forms = {
        "cheap": cheap,
        "frozen": moments.astype(np.float64) @ head["weight"].astype(np.float64) + head["constant"][0],
        "tuned": judged(model, tokenizer, shown, how.batch)[0],
    }
    for name in ("frozen", "tuned"):
        both = np.column_stack([cheap, forms[name]])
        line = learn.logistic(both[tune], texts.label[tune], weight[tune])
        forms[f"{name} fused"] = both @ line[:2] + line[2]
    held = texts.part == "test"
    figures = {name: _measured(logit, texts, left_out, held, tune) for name, logit in forms.items()}
    return {"steps": steps, "seconds": seconds, "texts": len(fit), "forms": figures}, model


def _measured(
    logit: Floats,
    texts: Pack,
    left_out: npt.NDArray[np.bool_],
    held: npt.NDArray[np.bool_],
    tune: npt.NDArray[np.int64],
) -> dict[str, float]:
    """AUROC, TPR at a true 1 % and 0.1 %, and the real FPR at the threshold of 1 % on the domains known.

    A label that the rows left out lack is taken from the held-out part.
    """
    of = left_out if left_out.any() else held
    sides = []
    for value in (0.0, 1.0):
        side = of & (texts.label == value)
        sides.append(side if side.any() else held & ~left_out & (texts.label == value))
    human, machine = sides
    ones = np.ones(len(logit))
    known = logit[tune][texts.label[tune] == 0]
    return {
        "auroc": auroc(texts.label[human | machine], logit[human | machine], ones[human | machine]),
        "tpr_at_1": tpr_at(logit, human, machine, ones, 0.01),
        "tpr_at_01": tpr_at(logit, human, machine, ones, 0.001),
        "fpr_at_nominal_1": float((logit[human] > np.quantile(known, 0.99)).mean()),
    }


# --- What is written -------------------------------------------------------------------------------


def difference(model: Origin, base: Path) -> dict[str, Any]:
    """What fine-tuning changed, in fp16: the transformer's layers less the base's, and the heads of origin whole."""
    before = load_trunk(base)[0].state_dict()
    after = {name: value.detach().cpu() for name, value in model.trunk.state_dict().items()}
    trained = {name for name, value in model.trunk.named_parameters() if value.requires_grad}
    made = {name: (after[name] - before[name]).half().contiguous() for name in sorted(trained)}
    heads = {
        name: value for name, value in model.state_dict().items() if name.split(".")[0] in ("norm", "early", "mean")
    }
    return made | {HEAD + name: value.detach().cpu().half().contiguous() for name, value in heads.items()}


def applied(base: Path, delta: dict[str, Any]) -> Origin:
    """The fine-tuned model of a base and a difference."""
    trunk, _ = load_trunk(base)
    changed = {name: value.float() for name, value in delta.items() if not name.startswith(HEAD)}
    state = trunk.state_dict()
    trunk.load_state_dict({name: value + changed[name] if name in changed else value for name, value in state.items()})
    model = Origin(trunk, 1, 1)
    heads = {name.removeprefix(HEAD): value.float() for name, value in delta.items() if name.startswith(HEAD)}
    model.load_state_dict(heads, strict=False)
    return model.eval()


def save_pieces(tensors: dict[str, Any], out: Path, most: int = PIECE_BYTES) -> list[Path]:
    """Write tensors into files of at most `most` bytes each (a larger tensor alone in its own)."""
    pieces: list[dict[str, Any]] = [{}]
    size = 0
    for name, value in tensors.items():
        bytes_ = value.numel() * value.element_size()
        if pieces[-1] and size + bytes_ > most:
            pieces.append({})
            size = 0
        pieces[-1][name] = value
        size += bytes_
    paths = [out / f"delta-{number:02d}.safetensors" for number in range(len(pieces))]
    for piece, path in zip(pieces, paths, strict=True):
        save_file(piece, path)
    return paths


def join(pieces: Sequence[Path], out: Path) -> None:
    """Put pieces together again."""
    made: dict[str, Any] = {}
    for path in pieces:
        with safe_open(path, "pt") as file:
            made |= {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # not a dictionary
    save_file(made, out)


def table(name: str, figures: dict[str, Any]) -> str:
    """One fold's forms, a line each."""
    names = ("auroc", "tpr_at_1", "tpr_at_01", "fpr_at_nominal_1")
    lines = [f"{name}: {figures['texts']:,} texts, {figures['steps']:,} steps, {figures['seconds']:.0f} s"]
    lines += [f"  {'':14}" + "".join(f"{column:>18}" for column in names)]
    lines += [
        f"  {form:14}" + "".join(f"{v[column]:18.4f}" for column in names) for form, v in figures["forms"].items()
    ]
    return "\n".join(lines)


def run(folder: Path, out: Path, domains: Sequence[str], generators: Sequence[str], how: Settings, ship: bool) -> None:
    """Check, train on everything (`ship`), then without each domain and generator family; write figures as they come."""
    texts = read_pack(folder / "texts.parquet")
    out.mkdir(parents=True, exist_ok=True)
    print(
        f"{device()}, torch {torch.__version__}; {len(texts.text):,} texts, parts {np.unique(texts.part)}", flush=True
    )
    of_machine = texts.label == 1
    low = np.char.lower(texts.generator)
    folds = {"all": np.zeros(len(texts.text), bool)} if ship else {}
    folds |= {f"without {name}": np.isin(texts.dataset, name.split("+")) for name in domains}
    folds |= {f"without {name}": of_machine & (np.char.find(low, name) >= 0) for name in generators}
    made: dict[str, Any] = {}
    for name, left_out in folds.items():
        if name != "all" and not left_out.any():
            print(f"{name}: nothing to leave out", flush=True)
            continue
        made[name], model = fold(texts, folder / "base", left_out, how)
        print(table(name, made[name]), flush=True)
        (out / "figures.json").write_text(json.dumps(made, indent=1), "utf-8")
        if name == "all":
            save_pieces(difference(model, folder / "base"), out)


def main() -> None:
    """Arguments in, one call."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    packing = verbs.add_parser("pack")
    packing.add_argument("--data", type=Path, default=Path("../shared/data"))
    packing.add_argument("--texts", type=int, default=30_000)
    running = verbs.add_parser("run")
    running.add_argument("pack", type=Path)
    running.add_argument("--domains", nargs="*", default=[], help="sets to leave out, several at once joined by +")
    running.add_argument("--generators", nargs="*", default=[], help="families to leave out, by a part of their names")
    running.add_argument("--no-ship", action="store_true", help="only the folds, not the model trained on everything")
    for name, kind in (("epochs", int), ("steps", int), ("minutes", float), ("batch", int), ("rate", float)):
        running.add_argument(f"--{name}", type=kind, default=getattr(Settings, name))
    joining = verbs.add_parser("join")
    joining.add_argument("pieces", type=Path, nargs="+")
    for verb in (packing, running, joining):
        verb.add_argument("-o", "--out", type=Path, required=True)
    args = parser.parse_args()
    if args.verb == "pack":
        pack(args.data, args.out, args.texts)
    elif args.verb == "join":
        join(args.pieces, args.out)
    else:
        how = Settings(args.epochs, args.steps, args.minutes, args.batch, args.rate)
        run(args.pack, args.out, args.domains, args.generators, how, not args.no_ship)


if __name__ == "__main__":
    main()
