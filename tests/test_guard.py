"""A record that kills its parser costs one row; everything around it is read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from curator.errors import CuratorError
from curator.guard import Guard, Place


@pytest.fixture
def guard(monkeypatch: pytest.MonkeyPatch) -> Iterator[Guard]:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
    with Guard(page_cpu_s=0.5, memory_bytes=1 << 30, program="tests.deadly_parser") as made:
        yield made


def read(guard: Guard, *texts: str, folder: Path, start: Place | None = None) -> list[dict[str, Any]]:
    files = []
    for number, text in enumerate(texts):
        path = folder / f"{number}.deadly"
        path.write_text(text)
        files.append({"path": str(path), "name": path.name, "source": "s", "format": "deadly"})
    batches = [parsed.batch for parsed in guard.parsed(files, start or Place())]
    return [row for batch in batches for row in batch.to_pylist()]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("die", "parser_died: SIGSEGV"),
        ("loop", "too_slow: over 0.5 s of processor time"),
        ("hog", "out_of_memory"),
        ("raise", "parser_failed: RuntimeError: a fault of the reader"),
    ],
)
def test_one_bad_record_costs_one_row(guard: Guard, tmp_path: Path, line: str, reason: str) -> None:
    rows = read(guard, f"a\n{line}\nb\nskip\n{line}\nc\n", folder=tmp_path)
    assert [row["text"] for row in rows] == ["a", None, "b", None, "c"]
    assert [row["quarantine"] for row in rows] == [None, reason, None, reason, None]
    assert [row["row"] for row in rows] == list(range(5))


def test_a_place_that_kills_twice_ends_its_file_and_no_other(guard: Guard, tmp_path: Path) -> None:
    rows = read(guard, "a\nb\n", "c\ncursed\nlost\n", "d\n", folder=tmp_path)
    assert [(row["file"], row["text"]) for row in rows] == [
        ("0.deadly", "a"),
        ("0.deadly", "b"),
        ("1.deadly", "c"),
        ("1.deadly", None),
        ("2.deadly", "d"),
    ]
    assert rows[3]["quarantine"] == "parser_died: SIGKILL; the rest of the file is unread"


def test_row_groups_do_not_depend_on_deaths_or_on_where_reading_began(guard: Guard, tmp_path: Path) -> None:
    text = "".join(f"line {n}\n" for n in range(1300))
    path = tmp_path / "x.deadly"
    path.write_text(text)
    files = [{"path": str(path), "name": "x", "source": "s", "format": "deadly"}]
    whole = list(guard.parsed(files, Place()))
    assert [parsed.batch.num_rows for parsed in whole] == [512, 512, 276]
    again = list(guard.parsed(files, whole[0].at))
    assert [p.batch for p in again] == [p.batch for p in whole[1:]]


def test_a_stopped_guard_starts_no_parser(guard: Guard, tmp_path: Path) -> None:
    guard.stop()
    with pytest.raises(CuratorError, match="run the same command again"):
        read(guard, "a\n", folder=tmp_path)
