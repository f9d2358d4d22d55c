"""Which origin detector judges: the shipped one, or a folder that `curator train ai-text` wrote, hostile until checked."""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from curator.errors import ModelError
from curator.shipped import pinned, shipped

Tensors = dict[str, npt.NDArray[Any]]
Shape = tuple[int | None, ...]  # None stands for any length from 1 to LONGEST

LONGEST: Final = 65_536
MAX_CONFIG_BYTES: Final = 65_536
MAX_TENSOR_BYTES: Final = 1 << 26
_AGAIN: Final = "make the folder again with `curator train ai-text`, or leave the setting `detector` out"


def folder(detector: str) -> Path:
    """Return the folder of a detector: "default" ships with the package, anything else is a path."""
    return shipped("models") / "ai-text" if detector == "default" else Path(detector)


def made_with(features: str) -> dict[str, str]:
    """What a detector's weights are bound to: the features' fingerprint and the sha256 of the default encoder."""
    encoder = tomllib.loads((shipped("models") / "encoder/config.toml").read_text("utf-8"))
    return {"features": features, "encoder": str(encoder["sha256"]["model.safetensors"])}


def config(detector: str, features: str) -> dict[str, Any]:
    """Read a detector's config.toml; `ModelError` where it is not one, or was made for other features or another encoder."""
    path = folder(detector) / "config.toml"
    if not path.is_file() or path.stat().st_size > MAX_CONFIG_BYTES:
        raise ModelError(f"detector {detector!r}: {path} is missing or too large; {_AGAIN}")
    try:
        table = tomllib.loads(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ModelError(f"detector {detector!r}: {path} is not TOML ({error}); {_AGAIN}") from error
    if detector != "default":
        _check(table, detector, made_with(features))
    return table


def _check(table: dict[str, Any], detector: str, bound: Mapping[str, str]) -> None:
    for part in ("sha256", "line", "operating_point", "gate", "made_with"):
        if not isinstance(table.get(part), dict):
            raise ModelError(f"detector {detector!r}: its config.toml has no [{part}]; {_AGAIN}")
    pins = [table["sha256"].get(f"{name}.safetensors") for name in ("cheap", "encoder")]
    if not all(isinstance(pin, str) and re.fullmatch(r"[0-9a-f]{64}", pin) for pin in pins):
        raise ModelError(f"detector {detector!r}: its config.toml pins no sha256 of both weight files; {_AGAIN}")
    for name, value in bound.items():
        if table["made_with"].get(name) != value:
            raise ModelError(
                f"detector {detector!r} was made with {name} {str(table['made_with'].get(name))[:16]!r}, "
                f"not this version's {value[:16]!r}; {_AGAIN}"
            )
    lines = table["line"]
    wanted = {
        "line.cheap": (lines.get("cheap"), ("cheap", "constant")),
        "line.encoder": (lines.get("encoder"), ("cheap", "encoder", "constant")),
        "operating_point": (table["operating_point"], ("cheap", "encoder")),
        "gate": (table["gate"], ("low", "high")),
    }
    for part, (values, names) in wanted.items():
        if not isinstance(values, dict) or not all(_finite(values.get(name)) for name in names):
            raise ModelError(f"detector {detector!r}: [{part}] needs finite {', '.join(names)}; {_AGAIN}")


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def tensors(name: str, detector: str, sha256: str, shapes: Mapping[str, Shape]) -> Tensors:
    """Load one weight file once its sha256 is the pinned one; names, shapes and finite numbers are checked."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    path = folder(detector) / name
    if path.is_file() and path.stat().st_size > MAX_TENSOR_BYTES:
        raise ModelError(f"detector {detector!r}: {path} has {path.stat().st_size:,} bytes, too many; {_AGAIN}")
    try:
        found: Tensors = load_file(pinned(path, sha256))
    except SafetensorError as error:
        raise ModelError(f"detector {detector!r}: {path} is not a safetensors file ({error}); {_AGAIN}") from error
    check(found, shapes, name, detector)
    return found


def check(found: Tensors, shapes: Mapping[str, Shape], name: str, detector: str) -> None:
    """Refuse tensors that are missing, of another shape, or not finite floats."""
    for key, shape in shapes.items():
        if key not in found or not _fits(found[key], shape):
            got = found[key].shape if key in found else "nothing"
            raise ModelError(f"detector {detector!r}: {key} in {name} is {got}, not finite floats {shape}; {_AGAIN}")


def _fits(tensor: npt.NDArray[Any], shape: Shape) -> bool:
    lengths = len(tensor.shape) == len(shape) and all(
        have == want or (want is None and 1 <= have <= LONGEST) for have, want in zip(tensor.shape, shape, strict=True)
    )
    return lengths and tensor.dtype.kind == "f" and bool(np.isfinite(tensor).all())
