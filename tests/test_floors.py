"""Imports go down only, imports inside functions counted."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT

# The house's floors, the lowest first; DESIGN.md says what each is for.
FLOORS = [
    "__init__ schema ids errors shipped uuids",
    "kernels text style shards readers stages sources guard extract statements robots web page blocks",
    """
    recipe decide engine workspace progress tables ingest curation steps score
    dedup bands against earlier
    calibration evidence origin calibrate learn retrain tiers anchors prevalence curve shares
    cells boxes rake reference topics mixture mixing representative repair
    ledger audit account sql report_tables alarms cards report answers judged unstored
    proxy proxy_neural prove proving
    """,
    "run",
    "cli commands serve serving loader loading __main__",
]
FLOOR = {name: level for level, names in enumerate(FLOORS) for name in names.split()}
FILES = sorted((ROOT / "curator").rglob("*.py"))


def part(module: str) -> str:
    """`curator.readers.parquet` -> `readers`."""
    pieces = module.split(".")
    return pieces[1] if len(pieces) > 1 else "__init__"


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "curator")
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "curator":
            for alias in node.names:
                below = ROOT / Path(*str(node.module).split(".")) / alias.name
                yield (
                    f"{node.module}.{alias.name}"
                    if below.with_suffix(".py").is_file() or below.is_dir()
                    else str(node.module)
                )
        assert not (isinstance(node, ast.ImportFrom) and node.level), f"{path}: relative import"


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_imports_go_down_only(path: Path) -> None:
    own = FLOOR[part(module_of(path))]
    above = [name for name in imports(path) if FLOOR[part(name)] > own]
    assert not above, f"floor {own} imports {above}"


def test_no_import_goes_in_a_circle() -> None:
    graph = {module_of(p).removesuffix(".__init__"): {n.removesuffix(".__init__") for n in imports(p)} for p in FILES}
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " -> ".join([*trail, name])
        if name not in done:
            for other in graph.get(name, set()) - {name}:
                visit(other, (*trail, name))
            done.add(name)

    for name in graph:
        visit(name, ())


def test_the_loader_needs_no_detector() -> None:
    heavy = {"torch", "numba", "duckdb", "fasttext", "sentence_transformers", "click", "datasketch"}
    tree = ast.parse((ROOT / "curator" / "loader.py").read_text("utf-8"))
    names = {
        alias.name.split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names
    }
    names |= {str(node.module).split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not names & heavy
