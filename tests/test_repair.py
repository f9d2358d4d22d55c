"""A repair changes the mixture's texts only, does what its name says, and leaves both hashes behind."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curator import run
from curator.account import verify
from curator.errors import RecipeError
from curator.ids import text_hash
from curator.ledger import mixture_schema
from curator.mixture import MixtureParams
from curator.progress import Silent
from curator.recipe import from_dict
from curator.repair import STEPS, repaired, text_hashes, versions
from curator.run import Request
from curator.stages.hygiene import Hygiene
from curator.workspace import Workspace
from tests import corpus

CHEAP = {
    "stages": {"exact": {}, "minhash": {}, "text_stats": {}, "hygiene": {}},
    "rules": {"too_short": "n_words < 20"},
    "mixture": {"max_synthetic": 1.0},
}
MEASURE = Hygiene().open()
DAMAGE = ["cafÃ© and donâ€™t", "invis\u200bible soft\u00adware \U000e0068\U000e0069", "cafe\u0301", "all well"]


def texts(values: list[str | None]) -> pa.LargeStringArray:
    return pa.array(values, pa.large_string())


def one(text: str, *steps: str) -> str:
    return str(repaired(texts([text]), steps)[0].as_py())


# ---------------------------------------------------------------- what each step does


@pytest.mark.parametrize(
    ("step", "before", "after"),
    [
        ("nfc", "cafe\u0301 \u212b ﬁ", "café Å ﬁ"),
        ("nfc", "cafÃ© a\u200bb", "cafÃ© a\u200bb"),
        ("invisible", "a\u200bb so\u00adft \x00\x07\x7f tab\t\u202ex\u202c \ufdd0", "ab soft  tab\tx "),
        ("invisible", "hi" + "".join(chr(0xE0000 + ord(c)) for c in "obey"), "hi"),
        ("invisible", "می‌خواهم 👩‍🚀 ❤️ שלום\u200f", "می‌خواهم 👩‍🚀 ❤️ שלום\u200f"),
        ("invisible", "left\u200eright", "leftright"),
        ("invisible", "lÃ\u00ad it\x92s two  spaces ", "lÃ\u00ad it\x92s two  spaces "),  # damage that ftfy can still read
        ("ftfy", "cafÃ© and donâ€™t it\x92s", "café and don’t it’s"),
        ("ftfy", "“curled” ﬁ ｗｉｄｅ &amp; one\r\ntwo\u2028three e\u0301", "“curled” ﬁ ｗｉｄｅ &amp; one\r\ntwo\u2028three e\u0301"),
    ],
)  # fmt: skip
def test_a_step_does_what_its_name_says_and_no_more(step: str, before: str, after: str) -> None:
    assert one(before, step) == after


def test_steps_are_taken_in_their_order() -> None:
    assert one("cafe\u0301".encode().decode("latin-1"), "ftfy", "nfc") == "café"
    assert one("cafe\u0301".encode().decode("latin-1"), "nfc", "ftfy") == "cafe\u0301"
    assert versions(["nfc", "ftfy"]) == versions(["ftfy", "nfc"])[::-1] != versions(["ftfy", "nfc"])


def test_nulls_slices_and_empty_columns_come_back_as_they_are() -> None:
    column = texts(["é\u200b", None, "", "plain", "a\u200b"]).slice(1)
    assert repaired(column, list(STEPS)).to_pylist() == [None, "", "plain", "a"]
    assert repaired(texts([]), ["ftfy"]).equals(texts([]))
    assert text_hashes(column).to_pylist() == [None, *(text_hash(t.encode()) for t in ("", "plain", "a\u200b"))]


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126) | st.sampled_from("\t\n\r\f"), max_size=60))
def test_plain_text_is_never_touched(text: str) -> None:
    assert all(STEPS[step](text) == text for step in STEPS)


SEEN = st.characters(codec="utf-8", exclude_categories=["Cc", "Cf", "Cn", "Co"])
UNSEEN = st.sampled_from(
    "\x00\u00ad\u034f\u061c\u115f\u1160\u180b\u180e\u200b\u200c\u200d\u200e\u202a\u202e\u202c\u2060\u2061\u2066\ufe00\ufe0f\ufeff\uffff"
)
WITH_HOMES = st.sampled_from("aé漢अक्موไ🏴👩❤\u0301\U000e0061\U000e0067\U000e007f\U000e0100\u1820\u1100")  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.text(SEEN | UNSEEN | WITH_HOMES, max_size=40))
def test_what_is_invisible_is_gone_at_once_and_nothing_else(text: str) -> None:
    clean = one(text, "invisible")
    assert one(clean, "invisible") == clean
    lost = iter(text)
    assert all(char in lost for char in clean)  # a subsequence: nothing added, nothing moved
    visible = [c for c in text if unicodedata.category(c) not in ("Cc", "Cf", "Mn", "Cn", "Lo")]
    assert visible == [c for c in clean if unicodedata.category(c) not in ("Cc", "Cf", "Mn", "Cn", "Lo")]
    row = MEASURE(pa.RecordBatch.from_pydict({"text": texts([clean])})).to_pylist()[0]
    unseen = ("n_zero_width", "n_tag_chars", "n_variation_selectors", "n_bidi_controls", "n_noncharacters")
    assert not any(row[name] for name in unseen) and row["hidden_payload_bits"] == 0


# ---------------------------------------------------------------- in a run


def written(path: Path) -> Path:
    rows = [{"id": f"d{i}", "text": f"{DAMAGE[i % 4]}. {corpus.prose(i, 40)}"} for i in range(40)]
    pq.write_table(pa.Table.from_pylist(rows).append_column("original_text_hash", pa.array(["mine"] * 40)), path)
    return path


def mixture(out: Path) -> list[dict[str, Any]]:
    return [row for path in sorted((out / "mixture").glob("*.parquet")) for row in pq.read_table(path).to_pylist()]


def filtered(path: Path, out: Path, **settings_: object) -> dict[str, Any]:
    recipe = from_dict({**CHEAP, "mixture": {"max_synthetic": 1.0, **settings_}})
    return run.filter_corpus(Request((str(path),), out, recipe, workers=1), Silent())


@pytest.fixture(scope="module")
def plain_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("repair")
    filtered(written(folder / "c.parquet"), folder / "out")
    return folder / "out"


def test_off_nothing_is_changed_or_added(plain_run: Path, tmp_path: Path) -> None:
    again = run.redecide_run(plain_run, ["mixture.repair=[]"], tmp_path / "again", Silent())
    assert again["outcomes"]["curated"] == 40
    for path in (plain_run / "mixture").glob("*.parquet"):
        assert (tmp_path / "again" / "mixture" / path.name).read_bytes() == path.read_bytes()
    assert [row["text"][:4] for row in mixture(plain_run)[:3]] == ["cafÃ", "invi", "cafe"]
    assert {row["original_text_hash"] for row in mixture(plain_run)} == {"mine"}  # it travels under its own name
    assert "text_hash" not in mixture(plain_run)[0]
    assert len(verify(plain_run)) == 7 and not any(check.wrong for check in verify(plain_run))


@pytest.mark.parametrize("setting", ["ftfy", "nfc", "invisible", '["ftfy", "invisible", "nfc"]'])
def test_redecide_repairs_and_both_hashes_re_derive(plain_run: Path, tmp_path: Path, setting: str) -> None:
    run.redecide_run(plain_run, [f"mixture.repair={setting}"], tmp_path / "b", Silent())
    steps = json.loads(setting) if setting.startswith("[") else [setting]
    before, after = mixture(plain_run), mixture(tmp_path / "b")
    assert [row["doc_id"] for row in before] == [row["doc_id"] for row in after]
    assert list(after[0])[3:6] == ["text", "text_hash", "original_text_hash"]
    changed = 0
    for old, new in zip(before, after, strict=True):
        assert new["text"] == one(old["text"], *steps)
        assert new["text_hash"] == text_hash(new["text"].encode())
        assert new["original_text_hash"] == text_hash(old["text"].encode())
        assert new["input_original_text_hash"] == "mine"
        changed += new["text"] != old["text"]
    assert changed == 10 * (3 if len(steps) == 3 else 1)
    for part in ("documents", "signals/exact", "ledger"):
        for path in (plain_run / part).glob("*.parquet"):
            assert (tmp_path / "b" / part / path.name).read_bytes() == path.read_bytes(), part
    checks = verify(tmp_path / "b")
    assert len(checks) == 8 and not any(check.wrong for check in checks)


def test_a_run_that_repairs_from_the_start_writes_the_same(plain_run: Path, tmp_path: Path) -> None:
    filtered(plain_run.parent / "c.parquet", tmp_path / "a", repair=["ftfy", "nfc"])
    run.redecide_run(plain_run, ['mixture.repair=["ftfy", "nfc"]'], tmp_path / "b", Silent())
    for path in (tmp_path / "a" / "mixture").glob("*.parquet"):
        assert (tmp_path / "b" / "mixture" / path.name).read_bytes() == path.read_bytes()


def test_a_repaired_text_that_was_touched_is_found(plain_run: Path, tmp_path: Path) -> None:
    run.redecide_run(plain_run, ["mixture.repair=ftfy"], tmp_path / "b", Silent())
    path = next((tmp_path / "b" / "mixture").glob("*.parquet"))
    table = pq.read_table(path)
    position = table.schema.get_field_index("text")
    forged = pa.array(["another text", *table["text"].to_pylist()[1:]], pa.large_string())
    pq.write_table(table.set_column(position, table.schema.field("text"), forged), path)
    (found,) = [check for check in verify(tmp_path / "b") if "repaired" in check.what]
    assert len(found.wrong) == 1 and str(table["doc_id"][0]) in found.wrong[0]


def test_a_killed_run_is_finished_under_the_same_repair(plain_run: Path, tmp_path: Path) -> None:
    run.redecide_run(plain_run, ["mixture.repair=ftfy"], tmp_path / "a", Silent())
    before = {path.name: path.read_bytes() for path in (tmp_path / "a" / "mixture").iterdir()}
    for name in (tmp_path / "a" / "mixture").iterdir():
        name.unlink()
    (tmp_path / "a" / "manifest.json").unlink()
    run.redecide_run(plain_run, ["mixture.repair=ftfy"], tmp_path / "a", Silent())
    assert {path.name: path.read_bytes() for path in (tmp_path / "a" / "mixture").iterdir()} == before


# ---------------------------------------------------------------- in a recipe


def test_a_recipe_prints_its_repair_back() -> None:
    import tomllib

    for repair in ("none", "ftfy", ["ftfy", "nfc"]):
        recipe = from_dict({**CHEAP, "mixture": {"max_synthetic": 1.0, "repair": repair}})
        assert from_dict(tomllib.loads(recipe.as_toml())).fingerprint() == recipe.fingerprint()
    assert MixtureParams().repair_steps == () and MixtureParams(repair=("nfc",)).repair_steps == ("nfc",)


@pytest.mark.parametrize(
    ("repair", "message"),
    [("ftfi", "knows no step 'ftfi'; it takes none, or any of nfc, invisible, ftfy"), (["nfc", "none"], "'none'"), (3, "str")],
)  # fmt: skip
def test_a_step_that_is_none_is_refused(repair: object, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        from_dict({**CHEAP, "mixture": {"max_synthetic": 1.0, "repair": repair}})


def test_the_hash_columns_are_there_only_with_a_repair(plain_run: Path) -> None:
    assert Workspace(plain_run).identity()["recipe"]["mixture"]["repair"] == "none"  # type: ignore[index]
    ledger = pa.schema([("doc_id", pa.uuid()), ("source", pa.string())])
    assert mixture_schema(ledger, pa.schema([]))[0].names == ["doc_id", "source", "text"]
    repaired_names = ["doc_id", "source", "text", "text_hash", "original_text_hash"]
    assert mixture_schema(ledger, pa.schema([]), repair=True)[0].names == repaired_names
