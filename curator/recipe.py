"""A recipe says what is measured, which rules drop, and what the mixture must hold: data, checked, printed back, fingerprinted."""

from __future__ import annotations

import copy
import dataclasses
import difflib
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import tomli_w

from curator.decide import Rule, parse_rules
from curator.dedup import DedupParams
from curator.errors import RecipeError
from curator.ids import fingerprint
from curator.mixture import MixtureParams
from curator.origin import ORIGIN, OriginParams, measures_origin
from curator.readers import documents_schema
from curator.schema import is_scalar
from curator.shipped import shipped
from curator.stages import Stage
from curator.stages.registry import stage_class

T = TypeVar("T")
_PARTS = ("name", "description", "seed", "stages", "rules", "origin", "dedup", "mixture", "alarms")


@dataclass(frozen=True)
class Alarms:
    """Shares beyond which a run says so loudly, with the setting to change."""

    rule_over: float = 0.5  # one rule drops more than this share of the readable documents
    idle_from: int = 10_000  # readable documents from which a rule that drops none of them is worth a word
    source_lost: float = 1.0  # a source loses at least this share of its documents
    quarantine_over: float = 0.05
    human_under: float = (
        0.5  # the mixture holds less than this share of the kept documents that were judged and not flagged
    )


@dataclass(frozen=True)
class Recipe:
    """Everything that decides what a run does to a document; the input is not part of it."""

    name: str
    description: str
    seed: int
    stages: tuple[Stage, ...]  # in an order in which each finds what it needs
    rules: Mapping[str, str]  # reason -> SQL
    dedup: DedupParams
    mixture: MixtureParams
    alarms: Alarms
    origin: OriginParams = dataclasses.field(default_factory=OriginParams)

    def fingerprint(self) -> str:
        """Hash of everything a decision depends on, weights included."""
        return fingerprint([self.as_dict(), [stage.fingerprint() for stage in self.stages], list(self.rules)])

    def as_dict(self) -> dict[str, Any]:
        """The recipe as a TOML document would hold it, every default spelled out."""
        return {
            "name": self.name,
            "description": self.description,
            "seed": self.seed,
            "stages": {stage.name: stage.settings() for stage in self.stages},
            "rules": dict(self.rules),
            "origin": dataclasses.asdict(self.origin),
            "dedup": dataclasses.asdict(self.dedup),
            "mixture": dataclasses.asdict(self.mixture),
            "alarms": dataclasses.asdict(self.alarms),
        }

    def as_toml(self) -> str:
        """The recipe printed back as TOML; loading it gives the same fingerprint."""
        return tomli_w.dumps(_without_none(self.as_dict()), multiline_strings=True)

    def signals(self) -> pa.Schema:
        """Every column the stages add, in order, and those of the origin step where a stage scores origin."""
        measured = [column for stage in self.stages for column in stage.adds]
        return pa.schema([*measured, *(ORIGIN if measures_origin(self.stages) else ())])

    def parsed_rules(self, extra: pa.Schema) -> tuple[Rule, ...]:
        """The rules, checked against the documents' columns, those that travel (`extra.<name>`) and all signals."""
        return parse_rules(self.rules, decidable(extra, self.signals()))

    def parsed_verified(self, extra: pa.Schema) -> tuple[Rule, ...]:
        """The condition of mixture.verified, checked as a rule is; none where it is empty."""
        return _verified(self, decidable(extra, self.signals()))


def _verified(recipe: Recipe, schema: pa.Schema, later: Sequence[str] = ()) -> tuple[Rule, ...]:
    said = recipe.mixture.verified
    return parse_rules({"verified": said}, schema, later) if said.strip() else ()


def decidable(extra: pa.Schema, signals: pa.Schema) -> pa.Schema:
    """The columns a rule may read: all of a document but its text, and all signals that are not vectors."""
    known = [column for column in documents_schema(extra) if column.name != "text"]
    return pa.schema(known + [column for column in signals if is_scalar(column)])


def load(name_or_path: str) -> Recipe:
    """Load a shipped recipe by name, or any recipe by path; `RecipeError` says what does not add up."""
    path = shipped("pipelines") / f"{name_or_path}.toml"
    if not re.fullmatch(r"[\w-]+", name_or_path) or not path.is_file():
        path = Path(name_or_path)
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in shipped("pipelines").glob("*.toml")))
        raise RecipeError(f"no recipe {name_or_path!r}: neither a file nor one that ships ({known})")
    try:
        return from_dict(_extended(tomllib.loads(path.read_text("utf-8"))))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(f"recipe {path} is not TOML: {error}") from error


def _extended(table: dict[str, Any]) -> dict[str, Any]:
    """A recipe laid over the one it extends: a setting replaces that setting, a rule of "off" takes that rule away."""
    base = table.pop("extends", None)
    if base is None:
        return table
    path = shipped("pipelines") / f"{base}.toml"
    if not isinstance(base, str) or not re.fullmatch(r"[\w-]+", base) or not path.is_file():
        raise RecipeError(f"extends = {base!r} is no recipe that ships")
    whole = _extended(tomllib.loads(path.read_text("utf-8")))
    for part, value in table.items():
        own = whole.get(part)
        whole[part] = {**own, **value} if isinstance(own, dict) and isinstance(value, dict) else value
    whole["rules"] = {reason: sql for reason, sql in dict(whole.get("rules", {})).items() if sql != "off"}
    return whole


def from_dict(table: Mapping[str, Any]) -> Recipe:
    """Build a recipe from the dictionary its TOML holds, refusing every name that means nothing."""
    _known(table, _PARTS, "recipe")
    seed = _typed(table.get("seed", 0), int, "seed")
    stages = tuple(_stage(name, settings, seed) for name, settings in _table(table, "stages").items())
    rules = {reason: _typed(sql, str, f"rule {reason}") for reason, sql in _table(table, "rules").items()}
    recipe = Recipe(
        name=_typed(table.get("name", "unnamed"), str, "name"),
        description=_typed(table.get("description", ""), str, "description"),
        seed=seed,
        stages=in_order(stages),
        rules=rules,
        dedup=build(DedupParams, _table(table, "dedup"), "dedup"),
        mixture=build(MixtureParams, _seeded(MixtureParams, _table(table, "mixture"), seed), "mixture"),
        alarms=build(Alarms, _table(table, "alarms"), "alarms"),
        origin=build(OriginParams, _table(table, "origin"), "origin"),
    )
    _check_parts(recipe)
    parse_rules(rules, decidable(pa.schema([]), recipe.signals()), later=("extra",))
    _verified(recipe, decidable(pa.schema([]), recipe.signals()), later=("extra",))
    return recipe


def _check_parts(recipe: Recipe) -> None:
    """Parts that must agree with one another; found here, not after hours of measuring."""
    if recipe.mixture.max_synthetic < 1 and "prob_synthetic" not in recipe.signals().names:
        raise RecipeError(
            f"mixture.max_synthetic = {recipe.mixture.max_synthetic:g} needs P(synthetic), which no stage measures; "
            "add the stages ngram, embed, ai_text (and text_stats, language), or set it to 1 for no cap"
        )
    named = {s.name: str(s.settings()["detector"]) for s in recipe.stages if "detector" in s.settings()}
    if len(set(named.values())) > 1:
        told = ", ".join(f"{name} = {value!r}" for name, value in named.items())
        raise RecipeError(f"stages name different detectors ({told}); set the same in ngram, embed and ai_text")
    minhash = next((stage.settings() for stage in recipe.stages if stage.name == "minhash"), None)
    if minhash and minhash["ngram"] != recipe.dedup.ngram:
        raise RecipeError(
            f"dedup.ngram = {recipe.dedup.ngram} and stages.minhash.ngram = {minhash['ngram']} must be equal"
        )
    if minhash and recipe.dedup.bands * recipe.dedup.rows > minhash["num_perm"]:
        raise RecipeError(
            f"dedup.bands × dedup.rows = {recipe.dedup.bands * recipe.dedup.rows} is more than the "
            f"{minhash['num_perm']} permutations of stages.minhash; lower one or raise num_perm"
        )


def _stage(name: str, settings: Any, seed: int) -> Stage:
    found = stage_class(name)
    table = _typed(settings, dict, f"stages.{name}")
    return build(found, _seeded(found, table, seed), f"stages.{name}")


def _seeded(cls: type, table: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """One seed rules a run: parts that take one get the recipe's unless they name their own (minhash keeps its fixed one)."""
    takes = {f.name for f in dataclasses.fields(cls)}
    return {"seed": seed, **table} if "seed" in takes and getattr(cls, "name", "") != "minhash" else dict(table)


def build(cls: type[T], table: Mapping[str, Any], where: str) -> T:
    """Make a settings dataclass of a table, refusing unknown names and wrong types."""
    fields = {f.name: f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    _known(table, tuple(fields), where)
    for name, value in table.items():
        _check_type(value, str(fields[name].type), f"{where}.{name}")
    try:
        return cls(**{name: tuple(value) if isinstance(value, list) else value for name, value in table.items()})
    except (ValueError, TypeError) as error:
        raise RecipeError(f"[{where}] {error}") from error


def _check_type(value: Any, annotation: str, where: str) -> None:
    kinds: dict[str, Any] = {
        "int": int,
        "float": int | float,
        "str": str,
        "bool": bool,
        "tuple": list | tuple,
        "None": type(None),
    }
    wanted = [
        kinds[word] for word in re.findall(r"\b(int|float|str|bool|tuple|None)\b", re.sub(r"\[.*?\]", "", annotation))
    ]
    wrong_bool = isinstance(value, bool) and bool not in wanted
    if wanted and (wrong_bool or not any(isinstance(value, kind) for kind in wanted)):
        raise RecipeError(f"{where} = {value!r} is not {annotation}")


def in_order(stages: Sequence[Stage]) -> tuple[Stage, ...]:
    """Order stages so that each comes after those whose columns it needs, otherwise as the recipe has them."""
    waiting, ready, known = (
        list(stages),
        [],
        {"text", "doc_id", "date", "url", "source", "declared_language", "declared_origin"},
    )
    while waiting:
        stage = next((s for s in waiting if set(s.needs.names) <= known), None)
        if stage is None:
            lacking = {s.name: sorted(set(s.needs.names) - known) for s in waiting}
            raise RecipeError(
                f"stages need columns that nothing measures: {lacking}; add the stages that do (`curator stages` lists them)"
            )
        waiting.remove(stage)
        ready.append(stage)
        clash = known & set(stage.adds.names)
        if clash:
            raise RecipeError(
                f"stage {stage.name} adds {sorted(clash)}, which another stage adds too; keep one of them"
            )
        known |= set(stage.adds.names)
    return tuple(ready)


def changed(recipe: Mapping[str, Any], settings: Sequence[str]) -> Recipe:
    """Return the recipe that a dictionary holds with `rule=SQL`, `rule=NUMBER` (its one limit), `rule=off` or `part.setting=value` set.

    Stages cannot be changed this way: their columns would have to be measured again.
    """
    table = copy.deepcopy(dict(recipe))
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals:
            raise RecipeError(
                f"--set {setting!r} has no '='; write rule=SQL, rule=NUMBER, rule=off or part.setting=value"
            )
        _set(table, name.strip(), value.strip())
    return from_dict(_without_none(table))


def _set(table: dict[str, Any], name: str, value: str) -> None:
    part, dot, key = name.partition(".")
    if dot:
        if part not in ("origin", "mixture", "dedup", "alarms"):
            raise RecipeError(
                f"--set {name}: only rules, mixture.*, dedup.*, alarms.* and origin.* can be set again; a stage needs a new `curator filter`"
            )
        table.setdefault(part, {})[key] = _literal(value)
    elif value == "off":
        if name not in table["rules"]:
            raise RecipeError(_no_rule(name, table["rules"]))
        del table["rules"][name]
    elif re.fullmatch(r"[-+]?[\d.]+(e[-+]?\d+)?", value):
        table["rules"][name] = _with_limit(name, table["rules"], value)
    else:
        table["rules"][name] = value


def _with_limit(name: str, rules: Mapping[str, str], value: str) -> str:
    if name not in rules:
        raise RecipeError(_no_rule(name, rules))
    limits = re.findall(r"([<>]=?\s*)(-?[\d.]+(?:e[-+]?\d+)?)", rules[name])
    if len(limits) != 1:
        raise RecipeError(f"rule {name} = {rules[name]!r} has {len(limits)} limits, not one; set it as {name}='SQL'")
    return re.sub(r"([<>]=?\s*)(-?[\d.]+(?:e[-+]?\d+)?)", lambda m: m[1] + value, rules[name])


def _no_rule(name: str, rules: Mapping[str, str]) -> str:
    return f"no rule {name!r} in this recipe; its rules are: {', '.join(rules) or 'none'}"


def _literal(value: str) -> Any:
    try:
        return tomllib.loads(f"v = {value}")["v"]
    except tomllib.TOMLDecodeError:
        return value


def _table(table: Mapping[str, Any], part: str) -> dict[str, Any]:
    return dict(_typed(table.get(part, {}), dict, part))


def _typed(value: Any, kind: type[T], where: str) -> T:
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise RecipeError(f"{where} = {value!r} is not {kind.__name__}")
    return value


def _known(table: Mapping[str, Any], names: Sequence[str], where: str) -> None:
    for name in table:
        if name not in names:
            near = difflib.get_close_matches(name, names, 1)
            raise RecipeError(
                f"{where} has no setting {name!r}{f'; did you mean {near[0]!r}?' if near else ''}; it takes: {', '.join(names)}"
            )


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_none(v) for k, v in value.items() if v is not None}
    return [_without_none(v) for v in value] if isinstance(value, list | tuple) else value


def with_encoder(recipe: Recipe, gate: str) -> Recipe:
    """The recipe with its encoder's gate set; `auto` is `all` where there is a GPU, else `uncertain`."""
    chosen = ("all" if has_gpu() else "uncertain") if gate == "auto" else gate
    stages = [dataclasses.replace(s, gate=chosen) if s.name == "embed" else s for s in recipe.stages]  # type: ignore[call-arg]
    return dataclasses.replace(recipe, stages=tuple(stages))


def with_calibration(recipe: Recipe, path: str | None) -> Recipe:
    """The recipe with the trusted text's scores that a file holds, or as it is for none."""
    if path is None:
        return recipe
    return dataclasses.replace(recipe, origin=dataclasses.replace(recipe.origin, calibration=path))


def with_decontamination(recipe: Recipe, files: Sequence[str]) -> Recipe:
    """The recipe that also looks for evaluation sets, and drops what holds half of an item unless a rule of its own says otherwise."""
    if not files:
        return recipe
    stages = [stage for stage in recipe.stages if stage.name != "contamination"]
    found = build(stage_class("contamination"), {"files": list(files)}, "stages.contamination")
    rules = {"contaminated": "contamination >= 0.5", **recipe.rules}
    return dataclasses.replace(recipe, stages=in_order([*stages, found]), rules=rules)


def has_gpu() -> bool:
    """True where a CUDA device can be used; torch is only asked where a driver is present, it takes seconds to load."""
    if not Path("/proc/driver/nvidia/version").exists():
        return False
    import torch

    return torch.cuda.is_available()
