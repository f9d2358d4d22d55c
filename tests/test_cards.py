from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from curator import run
from curator.audit import open_audit, rows_of
from curator.cards import CARDS, Declared, Facts, gather, write_cards
from curator.cards.command import card_command
from curator.cards.croissant import TERMS, VOCABULARY, croissant, field_id
from curator.cards.eu import eu_summary, size_range
from curator.cards.facts import ACCOUNT, MIXTURE, asked_of_mixture
from curator.cards.huggingface import code, escaped, feature, front_matter, readme, size_category
from curator.cards.lineage import openlineage, prov
from curator.cards.words import MODEL_OF_STAGE, drawn, weak_spots
from curator.errors import InputError
from curator.progress import Silent
from curator.recipe import from_dict
from curator.run import Request
from curator.schema import INGESTED, doc_of
from curator.shipped import shipped
from tests.conftest import Finished
from tests.test_run import CHEAP

NOBODY = Declared()
# the validators use what their own libraries (rdflib, pandas) have begun to call old
VALIDATOR = pytest.mark.filterwarnings("ignore::DeprecationWarning")
HOSTILE = "evil|`<script>alert(1)</script>` [x](javascript:y) ![i](http://a.b/c.png)\n---\nlicense: mit # \u202e"
OPTED_OUT = "coalesce(extra.noai, false)"
COLUMN = "../a b|<i>`\"'{{c}}"
DAY = datetime(2024, 5, 6, tzinfo=UTC)


def article(i: int) -> str:
    return " ".join(f"sentence {i} tells of thing {i * 7 + j} and place {j}" for j in range(20))


def ingested(path: Path) -> Path:
    """Forty documents as `curator ingest` would hand them over, with hostile names."""
    n = 40
    columns: dict[str, list[Any]] = {
        "source": [HOSTILE if i % 2 else "plain" for i in range(n)],
        "record_id": [f"r{i}" for i in range(n)],
        "text": [article(i) for i in range(n)],
        "url": [f"https://user@www.site{i % 12}.example.co.uk:80/{i}" for i in range(n)],
        "licence": ["CC-BY-4.0" if i < 30 else None for i in range(n)],
        "licence_evidence": ["<a rel=license>" if i < 30 else None for i in range(n)],
        "fetched_at": [DAY] * n,
        "noai": [i < 3 for i in range(n)],
        "tdm_reserved": [None] * n,
        "train_ai": [False if i == 5 else None for i in range(n)],
        "robots_disallowed": [["GPTBot"] if i == 6 else None if i == 7 else [] for i in range(n)],
    }
    table = pa.table({k: pa.array(v, INGESTED.field(k).type) for k, v in columns.items()})
    pq.write_table(table.append_column(COLUMN, pa.array(range(n))), path)
    return path


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cards")
    path = ingested(folder / "crawl.parquet")
    recipe = from_dict({**CHEAP, "rules": {"opted_out": OPTED_OUT}})
    run.filter_corpus(Request((str(path),), folder / "out", recipe, workers=1), Silent())
    return folder / "out"


@pytest.fixture(scope="module")
def crawl(hostile: Path) -> Facts:
    return gather(hostile)


@pytest.fixture(scope="module")
def facts(finished_run: Finished) -> Facts:
    return gather(finished_run.out)


@pytest.fixture(scope="module")
def mixture(hostile: Path) -> pa.Table:
    return pa.concat_tables([pq.read_table(p) for p in sorted((hostile / "mixture").glob("*.parquet"))])


# the account


def test_every_number_is_that_of_the_ledger(finished_run: Finished, facts: Facts) -> None:
    parts = [pq.read_table(p) for p in sorted((finished_run.out / "ledger").glob("*.parquet"))]
    curated = [row for part in parts for row in part.to_pylist() if row["outcome"] == "curated"]
    assert facts.curated == len(curated) == finished_run.summary["outcomes"]["curated"]
    assert facts.row("words") == {"words": sum(row["n_words"] for row in curated)}
    assert facts.row("bytes") == {"bytes": sum(row["text_bytes"] for row in curated)}
    assert sum(file["rows"] for file in facts.files) == facts.curated
    assert sum(row["documents"] for row in facts.rows("sources")) == finished_run.rows


def test_what_a_run_did_not_measure_is_unknown_not_zero(crawl: Facts, facts: Facts) -> None:
    assert facts.answers["licences"] is None and facts.answers["opt_outs"] is None  # not ingested
    assert crawl.answers["licences"] is not None
    share = crawl.share("mixture")
    assert share is None or (share["share"] is None and share["reason"])
    assert "is not known" in readme(crawl, NOBODY)


def test_a_users_own_column_of_another_type_is_no_licence(tmp_path: Path) -> None:
    kinds = ((pa.large_string(), True), (pa.int64(), False))
    for kind, known in kinds:
        table = pa.table({"licence": pa.array([None, None], kind), "licence_evidence": pa.array([None, None], kind)})
        pq.write_table(table, tmp_path / "a.parquet")
        with duckdb.connect(":memory:") as con:
            found = asked_of_mixture(con, [tmp_path / "a.parquet"], table.schema)
        assert found["licences"] == ([{"licence": None, "documents": 2}] if known else None)
        assert found["fetched"] is None


def test_a_run_without_its_mixture_is_refused(hostile: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a folder"):
        gather(tmp_path / "nothing")
    shutil.copytree(hostile, tmp_path / "out")
    (tmp_path / "out" / "mixture" / "000000.parquet").unlink()
    with pytest.raises(InputError, match=r"mixture/000000\.parquet"):
        gather(tmp_path / "out")


def test_the_mixture_is_told_with_its_errors_margins_and_tails(facts: Facts, finished_run: Finished) -> None:
    said = drawn(facts)
    with open_audit(finished_run.out) as con:
        margins = {row["dimension"]: row for row in rows_of(con, ACCOUNT["margins"].sql)}
        (cap,) = rows_of(con, "select * from constraints where name = 'max_synthetic'")
    assert f"max_synthetic asked for 0.1, drew {cap['realised']:.4g}" in said
    assert f"{margins['topic']['boxed']:,} of {margins['topic']['strata']:,} topics (likely human" in said
    assert "19 of 20 such topics kept at least" in said and said in readme(facts, NOBODY).replace("\\", "")
    bound = {"name": "snapshot", "target": 0.25, "realised": 0.2, "standard_error": 0.01, "price": 2.0, "met": False}
    missed = {**margins["source"], "missed": 1, "extinct": 3}
    pressed = drawn(replace(facts, answers={**facts.answers, "constraints": [bound], "margins": [missed]}))
    assert "snapshot asked for 0.25, drew 0.2 (standard error 0.01) (not met)." in pressed
    assert "1 of them outside the allowed range" in pressed and "3 sources lost all" in pressed
    copies = drawn(replace(facts, answers={**facts.answers, "copies": [{"copies": facts.curated + 5}]}))
    assert f"{facts.curated:,} documents drawn as {facts.curated + 5:,} copies" in copies


def test_an_account_of_an_earlier_version_says_so_and_claims_nothing(facts: Facts) -> None:
    old = replace(facts, answers={**facts.answers, "constraints": None, "margins": None})
    assert "Constraints: unknown, for the account is of an earlier version." in drawn(old)
    assert "held near" not in drawn(old) and "Of strata" not in drawn(old)
    assert {name for name, query in ACCOUNT.items() if "expected_copies" in query.needs} == {"constraints", "margins"}


def test_every_query_runs_alone_on_the_account(finished_run: Finished) -> None:
    with open_audit(finished_run.out) as con:
        for name, query in ACCOUNT.items():
            assert isinstance(rows_of(con, query.sql), list), name
    assert not set(ACCOUNT) & set(MIXTURE)


def test_an_empty_mixture_is_no_data_set(hostile: Path, tmp_path: Path) -> None:
    shutil.copytree(hostile, tmp_path / "out")
    manifest = json.loads((hostile / "manifest.json").read_text())
    manifest["files"] = {k: v for k, v in manifest["files"].items() if not k.startswith("mixture/")}
    (tmp_path / "out" / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(InputError, match="empty mixture"):
        gather(tmp_path / "out")


# Croissant


@VALIDATOR
def test_mlcroissant_finds_no_error_and_reads_the_records(hostile: Path, tmp_path: Path, mixture: pa.Table) -> None:
    mlc = pytest.importorskip("mlcroissant")
    shutil.copytree(hostile / "mixture", tmp_path / "mixture")
    declared = Declared(published="2026-11-21", url="https://example.org/d", licence="CC-BY-4.0", provider="A")
    write_cards(tmp_path, gather(hostile), declared)
    dataset = mlc.Dataset(str(tmp_path / "croissant.json"))
    issues = dataset.metadata.ctx.issues
    assert not issues.errors
    assert len(issues.warnings) == 1 and "citeAs" in next(iter(issues.warnings))  # nothing of ours to cite
    records = list(dataset.records("texts"))
    assert [r["texts/text"].decode() for r in records] == mixture["text"].to_pylist()
    assert [r[field_id("texts", COLUMN)] for r in records] == mixture[COLUMN].to_pylist()
    assert [r["texts/source"].decode() for r in records] == mixture["source"].to_pylist()


@VALIDATOR
def test_mlcroissant_reads_the_vocabulary_of_responsible_ai(finished_run: Finished, tmp_path: Path) -> None:
    mlc = pytest.importorskip("mlcroissant")
    write_cards(tmp_path, gather(finished_run.out), NOBODY, ["croissant.json"])
    metadata = mlc.Dataset(str(tmp_path / "croissant.json")).metadata
    assert not metadata.ctx.issues.errors
    rules = len(finished_run.request.recipe.rules)
    assert len(metadata.data_preprocessing_protocol) == rules + 3
    assert any("Model ai-text" in line for line in metadata.data_limitations)
    assert metadata.data_annotation_protocol and metadata.machine_annotation_tools


def test_croissant_describes_every_file_and_column(facts: Facts, finished_run: Finished) -> None:
    card = croissant(facts, NOBODY)
    manifest = json.loads((finished_run.out / "manifest.json").read_text())["files"]
    files = {part["@id"]: part["sha256"] for part in card["distribution"] if part["@type"] == "cr:FileObject"}
    assert files == {name: entry["sha256"] for name, entry in manifest.items() if name.startswith("mixture/")}
    fields = {part["name"]: part for part in card["recordSet"][0]["field"]}
    assert list(fields) == facts.schema.names
    assert all(part["description"].startswith(doc_of(facts.schema.field(name))) for name, part in fields.items())
    assert fields["date"]["dataType"] == "sc:DateTime" and fields["weight"]["dataType"] == "cr:Float64"


def test_lists_are_arrays_and_ids_hold_no_mark_of_an_iri(crawl: Facts) -> None:
    fields = {part["name"]: part for part in croissant(crawl, NOBODY)["recordSet"][0]["field"]}
    assert fields["licence"]["description"] == doc_of(INGESTED.field("licence"))  # readers drop the words on the way
    assert fields["robots_disallowed"]["isArray"] and fields["robots_disallowed"]["dataType"] == "sc:Text"
    assert all(re.fullmatch(r"documents/[\w%~-]+", part["@id"]) for part in fields.values())
    assert fields[COLUMN]["source"]["extract"]["column"] == COLUMN


def test_the_share_stands_with_interval_method_and_denominator(facts: Facts, finished_run: Finished) -> None:
    with open_audit(finished_run.out) as con:
        rows = rows_of(con, "select * from shares where dimension = 'all' and scope = 'mixture' and unit = 'docs'")
    found = [
        s
        for s in croissant(facts, NOBODY)["cur:syntheticShare"]
        if (s["cur:scope"], s["cur:unit"]) == ("mixture", "docs")
    ]
    assert len(rows) == len(found) == 1
    assert (found[0].get("cur:share"), found[0].get("cur:low"), found[0].get("cur:high")) == (
        rows[0]["share"],
        rows[0]["low"],
        rows[0]["high"],
    )
    assert found[0]["cur:documentsJudged"] == rows[0]["n_judged"]
    for term, name in {
        "lower": "lower",
        "basis": "basis",
        "secondMethod": "second_method",
        "warning": "warning",
    }.items():
        assert found[0].get(f"cur:{term}") == rows[0][name]
    assert ("cur:confidenceLevel" in found[0]) == (rows[0]["share"] is not None)
    assert "cur:method" in found[0] or "cur:reason" in found[0]


def keys(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, part in value.items():
            yield key
            yield from keys(part)
    elif isinstance(value, list):
        for part in value:
            yield from keys(part)


def test_every_own_term_is_documented(facts: Facts) -> None:
    card = croissant(facts, NOBODY)
    used = {key.removeprefix("cur:") for key in keys(card) if key.startswith("cur:")} | {"SyntheticShare"}
    assert used <= set(TERMS) and card["@context"]["cur"] == VOCABULARY


# Hugging Face


def head(text: str) -> dict[str, Any]:
    _, front, _ = text.split("---\n", 2)
    found = yaml.safe_load(front)
    assert isinstance(found, dict)
    return found


def test_the_head_names_files_that_are_read(hostile: Path, crawl: Facts, mixture: pa.Table) -> None:
    found = head(readme(crawl, NOBODY))
    files = sorted(hostile.glob(found["configs"][0]["data_files"][0]["path"]))
    assert sum(pq.read_metadata(p).num_rows for p in files) == mixture.num_rows == crawl.curated
    assert [part["name"] for part in found["dataset_info"]["features"]] == mixture.column_names
    assert found["size_categories"] == ["n<1K"]
    assert found["license"] == "other"  # ten documents declare none
    assert any("evil" in name for name in found["source_datasets"])


def test_one_licence_that_all_documents_declare_is_the_licence(crawl: Facts) -> None:
    all_same = Facts(
        crawl.fingerprint,
        {**crawl.answers, "licences": [{"licence": "CC-BY-4.0", "documents": 40}]},
        crawl.schema,
        crawl.files,
        None,
        None,
    )
    assert front_matter(all_same, NOBODY)["license"] == "cc-by-4.0"
    assert croissant(all_same, NOBODY)["license"] == ["https://spdx.org/licenses/CC-BY-4.0.html"]
    assert front_matter(crawl, Declared(licence="MIT"))["license"] == "mit"
    assert front_matter(crawl, Declared(licence="my own"))["license"] == "other"


def test_hostile_names_are_inert_in_markdown(crawl: Facts) -> None:
    text = readme(crawl, Declared(name=HOSTILE, licence=HOSTILE))
    assert "\u202e" not in text and head(text)["license"] == "other"
    html = MarkdownIt("commonmark").enable("table").render(text.split("---\n", 2)[2])
    assert not re.search(r"<(script|a|img|i)\b", html) and "evil" in html
    widths = [
        row.count("<td") for row in re.findall(r"<tr>.*?</tr>", html.split("<h2>Sources")[1].split("<h2>")[0], re.S)
    ]
    assert widths == [0, 7, 7]


@given(st.text(max_size=60))
def test_code_is_one_code_span_whatever_the_text(text: str) -> None:
    tokens = MarkdownIt("commonmark").parseInline(code(text))[0].children or []
    assert [token.type for token in tokens] == ["code_inline"]


@given(st.text(alphabet="[]()!<>`*_&:/@.wahtps#|~$\\ \n", max_size=40))
@settings(deadline=None)
def test_escaped_text_is_only_text(text: str) -> None:
    tokens = MarkdownIt("commonmark").parseInline(escaped(text))[0].children or []
    assert {token.type for token in tokens} <= {"text", "text_special", "softbreak", "hardbreak"}


@pytest.mark.parametrize(
    ("documents", "name"),
    [(0, "n<1K"), (999, "n<1K"), (1000, "1K<n<10K"), (10**9, "1B<n<10B"), (10**12 - 1, "100B<n<1T"), (10**12, "n>1T")],
)
def test_size_classes(documents: int, name: str) -> None:
    assert size_category(documents) == name


def test_features_are_named_as_datasets_does() -> None:
    assert feature(pa.binary(16)) == {"dtype": "binary"}
    assert feature(pa.list_(pa.string())) == {"list": "string"}
    assert feature(pa.struct([("a", pa.float64())])) == {"struct": [{"name": "a", "dtype": "float64"}]}
    with pytest.raises(KeyError):
        feature(pa.map_(pa.string(), pa.string()))


# the EU summary


def leaves(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict) and "value" in value:
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from leaves(part)


def test_every_field_has_a_value_with_its_source_or_a_reason(facts: Facts, crawl: Facts) -> None:
    for one in (facts, crawl):
        card = eu_summary(one, NOBODY)
        found = [leaf for name, part in card.items() if name != "template" for leaf in leaves(part)]
        assert len(found) > 20
        assert all(leaf.get("from") if leaf["value"] is not None else leaf.get("reason") for leaf in found)


def test_what_pages_say_of_training_is_counted(crawl: Facts) -> None:
    card = eu_summary(crawl, Declared(provider="A", model="m-1"))
    found = card["3_data_processing"]["3.1_reservation_of_rights"]["documents_of_the_mixture_with_an_opt_out"]["value"]
    assert found == {
        "documents": 37,
        "train_ai_refused": 1,
        "tdm_reserved": 0,
        "noai": 0,
        "robots_disallowed": 1,
        "robots_unknown": 1,
        "any_of_them": 2,
    }
    assert card["1_general_information"]["1.2_model"]["versioned_name"]["value"] == "m-1"
    assert (
        card["2_list_of_data_sources"]["2.3_crawled_and_scraped"]["period_of_collection"]["value"] == ["2024-05-06"] * 2
    )


def test_the_largest_tenth_of_the_domains_is_listed(crawl: Facts) -> None:
    found = eu_summary(crawl, NOBODY)["2_list_of_data_sources"]["2.3_crawled_and_scraped"]["top_domains"]["value"]
    assert found["domains"] == 1 and found["listed"][0]["domain"] == "example.co.uk"
    assert found["documents_with_address"] == 37
    assert found["bytes_with_address"] == sum(len(article(i)) for i in range(3, 40))


@pytest.mark.parametrize(
    ("size", "words", "start"),
    [
        (10**9 - 1, None, "less than"),
        (10**9, 10**8, None),
        (6 * 10**9, 10**9, "1 billion"),
        (10**14, 2 * 10**13, "more than"),
        (None, 10**9, None),
    ],
)
def test_a_range_of_tokens_is_named_only_where_one_is_left(
    crawl: Facts, size: int | None, words: int | None, start: str | None
) -> None:
    answers: dict[str, Any] = {
        "bytes": None if size is None else [{"bytes": size}],
        "words": None if words is None else [{"words": words}],
    }
    found = size_range(Facts("f", {**crawl.answers, **answers}, crawl.schema, crawl.files, None, None))
    assert found["value"].startswith(start) if start else found["value"] is None and found["reason"]


def test_a_rule_that_reads_an_opt_out_is_named(crawl: Facts, facts: Facts) -> None:
    found = eu_summary(crawl, NOBODY)["3_data_processing"]["3.1_reservation_of_rights"]["measures"]["value"]
    assert found == [{"rule": "opted_out", "sql": OPTED_OUT, "dropped": 3}]
    silent = eu_summary(facts, NOBODY)["3_data_processing"]["3.1_reservation_of_rights"]["measures"]
    assert silent["value"] is None and "no rule" in silent["reason"]


# lineage


@VALIDATOR
def test_prov_uses_only_terms_of_the_ontology(facts: Facts) -> None:
    rdflib = pytest.importorskip("rdflib")
    graph = rdflib.Graph().parse(data=json.dumps(prov(facts, NOBODY)), format="json-ld")
    terms = {node for triple in graph for node in triple if str(node).startswith(str(rdflib.PROV))}
    assert {rdflib.PROV.Activity, rdflib.PROV.wasDerivedFrom} <= terms
    assert all(term in rdflib.PROV for term in terms)
    made = set(graph.objects(None, rdflib.PROV.hadMember))
    assert len(made) == len({file["sha256"] for file in facts.files})
    assert all(list(graph.objects(entity, rdflib.PROV.wasGeneratedBy)) for entity in made)


def test_openlineage_events_are_those_of_its_client(facts: Facts) -> None:
    pytest.importorskip("openlineage.client")
    from openlineage.client import event_v2
    from openlineage.client import facet_v2 as facets

    kinds = {
        "schema": facets.schema_dataset.SchemaDatasetFacet,
        "columnLineage": facets.column_lineage_dataset.ColumnLineageDatasetFacet,
        "outputStatistics": facets.output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet,
        "processing_engine": facets.processing_engine_run.ProcessingEngineRunFacet,
    }

    def check(given: dict[str, Any]) -> None:
        for name, value in given.items():
            own = {k: v for k, v in value.items() if not k.startswith("_")}
            assert value["_schemaURL"] == kinds[name]._get_schema() and value["_producer"]
            kinds[name](**own)  # raises for a word that it does not know, or one that is missing

    events = [json.loads(line) for line in openlineage(facts).splitlines()]
    assert [event["eventType"] for event in events] == ["START", "COMPLETE"]
    assert events[0]["run"] == events[1]["run"] and events[0]["eventTime"] <= events[1]["eventTime"]
    for event in events:
        check(event["run"]["facets"])
        for dataset in event["inputs"] + event["outputs"]:
            check(dataset["facets"])
            check(dataset.get("outputFacets", {}))
        built = event_v2.RunEvent(
            eventTime=event["eventTime"],
            producer=event["producer"],
            eventType=event_v2.RunState(event["eventType"]),
            run=event_v2.Run(event["run"]["runId"]),
            job=event_v2.Job(**event["job"]),
            inputs=[event_v2.InputDataset(d["namespace"], d["name"]) for d in event["inputs"]],
            outputs=[event_v2.OutputDataset(d["namespace"], d["name"]) for d in event["outputs"]],
        )
        assert built.schemaURL == event["schemaURL"]


def test_lineage_says_which_column_came_from_which(crawl: Facts) -> None:
    complete = json.loads(openlineage(crawl).splitlines()[1])
    fields = complete["outputs"][0]["facets"]["columnLineage"]["fields"]
    assert fields["text"]["inputFields"][0]["transformations"] == [{"type": "DIRECT", "subtype": "IDENTITY"}]
    assert fields["language"]["inputFields"][0]["field"] == "text"
    assert {origin["field"] for origin in fields["doc_id"]["inputFields"]} == {"source", "record_id"}
    assert complete["outputs"][0]["outputFacets"]["outputStatistics"]["rowCount"] == 37


def test_without_a_log_there_is_no_event(crawl: Facts) -> None:
    timeless = Facts(crawl.fingerprint, crawl.answers, crawl.schema, crawl.files, None, None)
    with pytest.raises(InputError, match=r"log\.jsonl"):
        openlineage(timeless)
    assert "startedAtTime" not in json.dumps(prov(timeless, NOBODY))


# what they share


def test_the_models_own_cards_name_their_weak_spots() -> None:
    found = {name: weak_spots((shipped("models") / name / "card.md").read_text()) for name in MODEL_OF_STAGE.values()}
    assert len(found["ai-text"]) >= 5 and all(len(found[name]) == 1 for name in ("language", "quality"))
    assert not any("**" in line or "\n" in line for lines in found.values() for line in lines)


def test_the_same_run_gives_the_same_bytes(hostile: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_cards(tmp_path / name, gather(hostile), NOBODY, CARDS)
    assert {p.name for p in (tmp_path / "a").iterdir()} == set(CARDS)
    assert all((tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes() for name in CARDS)


def test_no_card_names_a_folder_of_the_machine(hostile: Path, tmp_path: Path) -> None:
    for card in write_cards(tmp_path, gather(hostile), NOBODY, CARDS):
        assert str(hostile.parent).encode() not in card.read_bytes()


def test_the_command_writes_beside_the_mixture_or_where_asked(hostile: Path, tmp_path: Path) -> None:
    shutil.copytree(hostile, tmp_path / "out")
    result = CliRunner().invoke(card_command, [str(tmp_path / "out"), "--prov", "--openlineage", "--name", "n"])
    assert result.exit_code == 0 and len(result.output.splitlines()) == 5
    assert json.loads((tmp_path / "out" / "croissant.json").read_text())["name"] == "n"
    assert CliRunner().invoke(card_command, [str(hostile), "-o", str(tmp_path / "cards")]).exit_code == 0
    assert sorted(p.name for p in (tmp_path / "cards").iterdir()) == [
        "README.md",
        "croissant.json",
        "eu-training-content.json",
    ]
    assert CliRunner().invoke(card_command, [str(hostile), "--published", "soon"]).exit_code == 2


def test_cards_in_the_runs_folder_leave_the_run_as_it_was(hostile: Path, tmp_path: Path) -> None:
    from curator.account import verify

    shutil.copytree(hostile, tmp_path / "out")
    write_cards(tmp_path / "out", gather(tmp_path / "out"), NOBODY, CARDS)
    assert not any(check.wrong for check in verify(tmp_path / "out"))


def test_every_option_of_the_command_has_help() -> None:
    assert card_command.help and "curator card" in card_command.help
    assert all(p.help for p in card_command.params if isinstance(p, click.Option))
