"""Archives, sound and damaged: every record accounted for, and none behind the damage lost."""

from __future__ import annotations

import gzip
import hashlib
import io
import itertools
import tarfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard
from fastwarc import ArchiveIterator
from fastwarc.stream_io import Lz4Writer
from hypothesis import given, settings
from hypothesis import strategies as st

from curator.readers import frames, warc
from curator.readers.frames import Input, Packing
from curator.readers.records import Record, Watch

RAW = Path(__file__).parents[2] / "shared/data/raw/archives.tar.zst"
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n"


def record(
    n: int, body: bytes | None = None, kind: str = "response", length: int | None = None, more: str = ""
) -> bytes:
    """One WARC record with the id `n`."""
    block = HEAD + f"Text number {n}.".encode() if body is None else body
    head = (
        f"WARC/1.0\r\nWARC-Type: {kind}\r\nWARC-Record-ID: <urn:uuid:{n}>\r\nWARC-Date: 2020-01-0{n % 9 + 1}T00:00:00Z\r\n"
        f"WARC-Target-URI: <http://e{n}.org/>\r\n{more}Content-Type: application/http; msgtype=response\r\n"
        f"Content-Length: {len(block) if length is None else length}\r\n\r\n"
    )
    return head.encode() + block + b"\r\n\r\n"


def lz4(data: bytes) -> bytes:
    out = io.BytesIO()
    writer = Lz4Writer(out)
    writer.write(data)
    writer.close()
    return out.getvalue()


def zstd(data: bytes) -> bytes:
    return zstandard.ZstdCompressor(write_checksum=True).compress(data)


def zstd_with_dictionary(parts: list[bytes], pack: bool) -> bytes:
    made = zstandard.ZstdCompressionDict(b"".join(parts)[:2000] + b"WARC/1.0\r\nWARC-Type: response\r\n" * 9)
    raw = zstd(made.as_bytes()) if pack else made.as_bytes()
    frame = b"\x5d\x2a\x4d\x18" + len(raw).to_bytes(4, "little") + raw
    return frame + b"".join(zstandard.ZstdCompressor(dict_data=made).compress(part) for part in parts)


def oddly(parts: list[bytes], pack: Callable[[bytes], bytes]) -> bytes:
    """Frames that end anywhere: within a head, within a body, some empty."""
    data = b"".join(parts)
    cuts = [0, 3, 90, 90, len(data) // 2 + 7, len(data) - 2, len(data)]
    return b"".join(pack(data[a:b]) for a, b in itertools.pairwise(cuts))


PACKINGS: dict[str, Callable[[list[bytes]], bytes]] = {
    "plain": b"".join,
    "gzip": lambda parts: b"".join(map(gzip.compress, parts)),
    "gzip in one": lambda parts: gzip.compress(b"".join(parts)),
    "gzip by two": lambda parts: b"".join(gzip.compress(b"".join(parts[i : i + 2])) for i in range(0, len(parts), 2)),
    "gzip oddly": lambda parts: oddly(parts, gzip.compress),
    "gzip and empty members": lambda parts: b"".join(gzip.compress(part) + gzip.compress(b"") for part in parts),
    "zstd": lambda parts: b"".join(map(zstd, parts)),
    "zstd in one": lambda parts: zstd(b"".join(parts)),
    "zstd oddly": lambda parts: oddly(parts, zstd),
    "zstd with dictionary": lambda parts: zstd_with_dictionary(parts, False),
    "zstd with packed dictionary": lambda parts: zstd_with_dictionary(parts, True),
    "lz4": lambda parts: b"".join(map(lz4, parts)),
    "lz4 in one": lambda parts: lz4(b"".join(parts)),
}
BY_RECORD = ("plain", "gzip", "gzip and empty members", "zstd", "zstd with dictionary", "lz4")


def read(path: Path, start: int = 0, watch: Watch | None = None) -> list[Record]:
    return list(warc.records(path, start, watch or Watch()))


def written(folder: Path, data: bytes) -> Path:
    path = folder / "a.warc"
    path.write_bytes(data)
    return path


def outcome(record: Record) -> tuple[Any, ...]:
    """What became of a record: its id, and its text or why it has none."""
    columns = record.columns
    return (
        (record.skipped,) if record.skipped else (columns["record_id"], columns.get("text", columns.get("quarantine")))
    )


def outcomes(path: Path) -> list[Any]:
    return [outcome(r) for r in read(path)]


def good(n: int) -> tuple[str, str]:
    return str(n), f"Text number {n}."


def damaged(found: Record) -> bool:
    return str(found.columns.get("quarantine")).startswith("damaged_archive: ")


# --- sound archives ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("packing", PACKINGS)
def test_every_packing_gives_the_same_records_and_resumes_behind_each(tmp_path: Path, packing: str) -> None:
    parts = [record(0, b"software: x\r\n", "warcinfo"), *(record(n) for n in range(1, 6)), record(6, kind="request")]
    path = written(tmp_path, PACKINGS[packing](parts))
    found = read(path)
    assert [outcome(r) for r in found] == [("warcinfo",), *(good(n) for n in range(1, 6)), ("request",)]
    cursors = [r.cursor for r in found]
    assert cursors == sorted(set(cursors))
    for k, record_ in enumerate(found):
        assert read(path, record_.cursor) == found[k + 1 :]
    places = [(r.columns["offset"], r.columns["length"]) for r in found if not r.skipped]
    if packing in BY_RECORD:
        assert all(offset + length == next_ for (offset, length), (next_, _) in itertools.pairwise(places))
        data = path.read_bytes()
        for n, (offset, length) in enumerate(places, 1):  # what lies at a record's place is that record
            if "dictionary" not in packing:
                assert outcomes(written(tmp_path, data[offset : offset + length])) == [good(n)]
    elif packing.endswith("in one"):
        assert {o for o, _ in places} == {0} and {n for _, n in places} == {None}
        assert all("warc_file_part" in r.columns["meta"] for r in found if not r.skipped)


def test_a_record_has_its_provenance(tmp_path: Path) -> None:
    more = "WARC-Payload-Digest: sha1:ABC\r\nWARC-Truncated: length\r\n"
    body = HEAD + b"Hello."
    (found,) = read(written(tmp_path, record(7, body, more=more)))
    shown = {k: str(v) for k, v in found.columns.items() if v is not None}
    assert shown == {
        "record_id": "7",
        "url": "http://e7.org/",
        "fetched_at": "2020-01-08 00:00:00+00:00",
        "payload_digest": "sha1:ABC",
        "offset": "0",
        "length": str(len(record(7, body, more=more))),
        "http_status": "200",
        "mime": "text/plain",
        "charset": "utf-8",
        "raw_sha256": hashlib.sha256(b"Hello.").hexdigest(),
        "text": "Hello.",
        "meta": '{"warc_truncated": "length"}',
    }


@pytest.mark.parametrize(
    ("block", "reason"),
    [
        (b"HTTP/1.1 404 Not Found\r\n\r\ngone", "http_status: 404"),
        (b"HTTP/1.0 301\r\nLocation: x\r\n\r\n", "http_status: 301"),
        (b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\n\r\n\xff\xd8\xff", "not_text: image/jpeg"),
        (b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n", "empty_body"),
        (b"HTTP/1.1 200 OK", "empty_body"),
        (b"", "empty_body"),
    ],
)
def test_a_response_that_is_no_document_says_why(tmp_path: Path, block: bytes, reason: str) -> None:
    (found,) = read(written(tmp_path, record(1, block)))
    assert outcome(found) == ("1", reason)


def test_a_body_over_the_limit_is_refused_packed_or_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warc, "MAX_PAGE_BYTES", 1000)
    swollen = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n" + gzip.compress(bytes(10_000_000))
    path = written(tmp_path, record(1, HEAD + b"x" * 1001) + record(2, swollen[:12_000]) + record(3))
    assert outcomes(path) == [("1", "too_large"), ("2", "too_large"), good(3)]


@pytest.mark.parametrize("packing", PACKINGS)
def test_a_record_too_large_to_hold_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packing: str
) -> None:
    monkeypatch.setattr(warc, "_MAX_BLOCK_BYTES", 1000)
    parts = [record(1), record(2, HEAD + b"x" * 900_000), record(3, b"y" * 5000, "metadata"), record(4)]
    path = written(tmp_path, PACKINGS[packing](parts))
    assert outcomes(path) == [good(1), ("2", "too_large"), ("metadata",), good(4)]
    found = read(path)
    assert [read(path, r.cursor) for r in found] == [found[k + 1 :] for k in range(len(found))]


def test_a_robots_txt_is_no_document(tmp_path: Path) -> None:
    data = record(1, HEAD + b"User-agent: *\nDisallow: /").replace(b"<http://e1.org/>", b"http://E1.org:80/robots.txt")
    (found,) = read(written(tmp_path, data))
    assert (found.skipped, found.robots) == ("robots_txt", ("e1.org", "User-agent: *\nDisallow: /"))
    (missing,) = read(written(tmp_path, data.replace(b"200 OK", b"404 NF")))
    assert missing.columns["quarantine"] == "http_status: 404"


def test_a_conversion_is_text_with_the_languages_the_archive_found(tmp_path: Path) -> None:
    data = record(
        1, "Übung macht den Meister.".encode(), "conversion", more="WARC-Identified-Content-Language: deu,eng\r\n"
    )
    (found,) = read(written(tmp_path, data.replace(b"application/http; msgtype=response", b"text/plain")))
    assert outcome(found) == ("1", "Übung macht den Meister.")
    assert (found.columns["declared_language"], found.columns.get("extractor")) == ("deu", None)


def test_other_line_ends_and_gaps_are_no_damage(tmp_path: Path) -> None:
    unix = record(1).replace(b"\r\n", b"\n").replace(b"Content-Length: 59", b"Content-Length: 56")
    path = written(
        tmp_path, unix + b"\n\n" + record(2).rstrip() + b"\r\n" + record(3).rstrip() + record(4) + b"\r\n" * 9
    )
    assert outcomes(path) == [good(n) for n in range(1, 5)]


def test_headers_may_be_folded_repeated_or_not_utf8(tmp_path: Path) -> None:
    data = record(1, more="X-Fold: a\r\n\tb\r\nno colon\r\nX-Latin: \xe9\r\nWARC-Record-ID: <urn:uuid:2>\r\n")
    assert outcomes(written(tmp_path, data.replace("\xe9".encode(), b"\xe9"))) == [good(1)]


def test_text_of_an_archive_within_a_record_is_that_records_text(tmp_path: Path) -> None:
    inner = HEAD + b"\r\n\r\n" + record(8)
    assert [o[0] for o in outcomes(written(tmp_path, record(1, inner) + record(2)))] == ["1", "2"]


def test_a_poisoned_record_is_quarantined_unseen(tmp_path: Path) -> None:
    for packing in PACKINGS.values():
        path = written(tmp_path, packing([record(n) for n in range(4)]))
        found = read(path)
        seen: list[int] = []
        watch = Watch({found[0].cursor: "parser_died: SIGKILL"}, seen.append)
        again = read(path, found[0].cursor, watch)
        assert [outcome(r) for r in again] == [("1", "parser_died: SIGKILL"), good(2), good(3)]
        assert [r.cursor for r in again] == [r.cursor for r in found[1:]] and seen == [r.cursor for r in found[:3]]


# --- damage -----------------------------------------------------------------------------------------------------------


def flipped(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1 :]


PIECES = [gzip.compress(record(n)) for n in range(4)]
PLAIN = [record(n) for n in range(4)]
ZSTD = [zstd(record(n)) for n in range(4)]
LZ4 = [lz4(record(n)) for n in range(4)]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ([PIECES[0], PIECES[1][:100], PIECES[2], PIECES[3]], "invalid"),
        ([PIECES[0], flipped(PIECES[1], 60), PIECES[2], PIECES[3]], ""),
        ([PIECES[0], flipped(PIECES[1], len(PIECES[1]) - 6), PIECES[2], PIECES[3]], "incorrect data check"),
        ([PIECES[0], flipped(PIECES[1], 0), PIECES[2], PIECES[3]], "no record"),
        ([PIECES[0], b"junk junk\njunk", PIECES[2], PIECES[3]], "no record"),
        ([PIECES[0], gzip.compress(b"junk" * 99), PIECES[2], PIECES[3]], "no record"),
        ([PIECES[0], gzip.compress(record(1, length=9)), PIECES[2], PIECES[3]], "content length"),
        ([PIECES[0], gzip.compress(record(1, length=900)), PIECES[2], PIECES[3]], "content length"),
        ([PIECES[0], gzip.compress(record(1, length=9 << 40)), PIECES[2], PIECES[3]], "content length"),
        (
            [PIECES[0], gzip.compress(record(1).replace(b"Length: ", b"Length: -")), PIECES[2], PIECES[3]],
            "content length",
        ),
        ([PLAIN[0], record(1, length=9), PLAIN[2], PLAIN[3]], "content length"),
        ([PLAIN[0], record(1, length=500), PLAIN[2], PLAIN[3]], "content length"),
        ([PLAIN[0], record(1, length=9 << 40), PLAIN[2], PLAIN[3]], "content length"),
        ([PLAIN[0], PLAIN[1][:-30], PLAIN[2], PLAIN[3]], "content length"),
        ([PLAIN[0], b"junk junk\njunk", PLAIN[2], PLAIN[3]], "no record"),
        ([PLAIN[0], b"WARC/1.0\r\n" + b"x" * 70_000, PLAIN[2], PLAIN[3]], "head"),
        ([PLAIN[0], b"\0" * 300_000, PLAIN[2], PLAIN[3]], "no record"),
        ([gzip.compress(b"".join([PLAIN[0], record(1, length=9 << 40), PLAIN[2], PLAIN[3]]))], "content length"),
        ([gzip.compress(b"".join([PLAIN[0], record(1, length=33 << 20), PLAIN[2], PLAIN[3]]))], "content length"),
        ([gzip.compress(b"".join([PLAIN[0], record(1, length=9), PLAIN[2], PLAIN[3]]))], "content length"),
        ([ZSTD[0], flipped(ZSTD[1], 30), ZSTD[2], ZSTD[3]], ""),
        ([ZSTD[0], ZSTD[1][:40], ZSTD[2], ZSTD[3]], ""),
        ([ZSTD[0], b"junk", ZSTD[2], ZSTD[3]], "no record"),
        ([ZSTD[0], flipped(ZSTD[1], len(ZSTD[1]) - 1), ZSTD[2], ZSTD[3]], "match checksum"),
        ([LZ4[0], LZ4[1][:40], LZ4[2], LZ4[3]], ""),
        ([LZ4[0], b"junk", LZ4[2], LZ4[3]], "no record"),
    ],
)
def test_damage_costs_one_record_and_the_rest_goes_on(tmp_path: Path, data: list[bytes], reason: str) -> None:
    path = written(tmp_path, b"".join(data))
    found = read(path)
    assert [outcome(r) for r in found if not damaged(r)] == [good(0), good(2), good(3)]
    (bad,) = (r for r in found if damaged(r))
    assert found.index(bad) == 1 and reason in bad.columns["quarantine"]
    assert [read(path, r.cursor) for r in found] == [found[k + 1 :] for k in range(len(found))]


# Cuts within the last frame, where that holds a record's beginning; those with a dictionary are hardly longer than 9 bytes.
CLIPS = [
    (packing, cut)
    for packing in PACKINGS
    for cut in (1, 3, 9, 40, 100)
    if not packing.startswith(("gzip oddly", "gzip and", "zstd oddly")) and not ("dictionary" in packing and cut > 9)
]


@pytest.mark.parametrize(("packing", "cut"), CLIPS)
def test_a_clipped_archive_loses_its_last_record_only(tmp_path: Path, packing: str, cut: int) -> None:
    parts = [record(n) for n in range(4)]
    whole = PACKINGS[packing](parts)
    found = read(written(tmp_path, whole[:-cut]))
    if packing == "plain" and cut < 4:  # the record is whole, only the empty lines behind it are not
        assert [outcome(r) for r in found] == [good(n) for n in range(4)]
    elif "one" not in packing and "two" not in packing:
        assert [outcome(r) for r in found[:3]] == [good(n) for n in range(3)]
        assert len(found) == 4 and damaged(found[3])
    else:
        sound = [outcome(r) for r in found if not damaged(r)]
        assert sound == [good(n) for n in range(len(sound))] and [damaged(r) for r in found].count(True) == 1


def test_a_file_that_is_no_archive_is_one_row(tmp_path: Path) -> None:
    for data in (
        b"hello world\n" * 9999,
        b"\0" * 200_000,
        gzip.compress(b"hello " * 99),
        zstd(b"hello"),
        lz4(b"hello"),
    ):
        (found,) = read(written(tmp_path, data))
        assert (found.columns["quarantine"], found.columns["offset"]) == ("not_an_archive", 0)
    (found,) = read(written(tmp_path, b""))
    assert found.columns["quarantine"] == "empty_file"


def test_a_frame_made_to_swell_is_not_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "_BOMB_BYTES", 1 << 20)
    zeros = bytes(20 << 20)
    for body, reason in (
        (record(1, HEAD + zeros), "too_large"),
        (record(1) + zeros, "damaged_archive: bomb"),
        (record(1) + b"\r\n" * len(zeros), "damaged_archive: bomb"),
        (record(1, more=f"X: {'x' * len(zeros)}\r\n"), "damaged_archive: bomb"),
    ):
        monkeypatch.setattr(warc, "_MAX_BLOCK_BYTES", 1 << 16)
        path = written(tmp_path, b"".join([PIECES[0], gzip.compress(body), PIECES[2]]))
        found = read(path)
        assert [outcome(found[0]), outcome(found[-1])] == [good(0), good(2)]
        refused = [r.columns["quarantine"] for r in found if "quarantine" in r.columns]
        assert refused == [reason]


def test_false_marks_are_passed_over_in_linear_time(tmp_path: Path) -> None:
    for mark in (b"\x1f\x8b\x08\0\0\0\0\0\0\x03", b"\x28\xb5\x2f\xfd", b"\x04\x22\x4d\x18\x60\x40"):
        first = {31: PIECES, 40: ZSTD, 4: LZ4}[mark[0]]
        path = written(tmp_path, first[0] + mark * 9_000 + first[2])
        found = read(path)
        assert [outcome(found[0]), outcome(found[-1])] == [good(0), good(2)] and len(found) == 3
    path = written(tmp_path, b"WARC/1.0\r\n" * 100_000 + PLAIN[2])
    assert outcomes(path)[-1] == good(2)


def test_records_that_claim_too_much_are_found_in_linear_time(tmp_path: Path) -> None:
    many = b"".join(record(n, length=3_000_000) for n in range(3000))
    for data in (many, gzip.compress(many)):
        assert len(read(written(tmp_path, data))) == 3000


def test_more_records_than_a_segment_has_cursors_for_are_one_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(warc, "_SEGMENT", 3)
    parts = [record(n) for n in range(9)]
    assert outcomes(written(tmp_path, b"".join(parts))) == [good(n) for n in range(9)]
    found = read(written(tmp_path, gzip.compress(b"".join(parts[:7])) + gzip.compress(parts[8])))
    assert [outcome(r) for r in found if not damaged(r)] == [good(0), good(1), good(8)]
    assert found[2].columns["quarantine"] == "damaged_archive: too many records in one frame"
    assert [r.cursor for r in found] == sorted({r.cursor for r in found})


MUTATION = st.tuples(
    st.sampled_from(["flip", "cut", "insert", "copy"]), st.floats(0, 1), st.integers(1, 200), st.binary(max_size=30)
)


def mutated(data: bytes, changes: list[tuple[str, float, int, bytes]]) -> bytes:
    for kind, where, size, raw in changes:
        place = int(where * len(data))
        middle = {
            "flip": bytes(b ^ size for b in data[place : place + len(raw)]),
            "cut": b"",
            "insert": raw + data[place : place + size],
            "copy": data[place : place + size] * 2,
        }[kind]
        data = data[:place] + middle + data[place + (len(raw) if kind == "flip" else size) :]
    return data


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(sorted(PACKINGS)), st.lists(MUTATION, max_size=4))
def test_no_mutation_raises_or_loses_count(
    tmp_path_factory: pytest.TempPathFactory, packing: str, changes: list[tuple[str, float, int, bytes]]
) -> None:
    data = mutated(PACKINGS[packing]([record(n) for n in range(5)]), changes)
    path = written(tmp_path_factory.mktemp("fuzz"), data)
    found = read(path)
    cursors = [r.cursor for r in found]
    assert cursors == sorted(set(cursors)) and (found or not data.strip(b"\r\n"))
    assert all(r.skipped or "text" in r.columns or "quarantine" in r.columns for r in found)
    for k in (0, len(found) // 2):
        assert not found or read(path, found[k].cursor) == found[k + 1 :]


# --- real ones --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not RAW.exists():
        pytest.skip(f"no {RAW.name}: real archives are not part of the project")
    folder = tmp_path_factory.mktemp("archives")
    data = zstandard.ZstdDecompressor().stream_reader(RAW.read_bytes()).read()
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        tar.extractall(folder, filter="data")
    return folder


def one(folder: Path, name: str) -> Path:
    return next(folder.rglob(name))


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("example.docs.warc.gz", {"warcinfo": 3, "response": 9, "request": 9}),
        ("example.warc.gz", {"warcinfo": 1, "response": 299, "request": 261, "metadata": 261}),
        ("example.arc.gz", {"warcinfo": 1, "response": 299}),
        ("block-sized-records.warc", {"unknown": 3}),
        ("block-sized-records.warc.gz", {"unknown": 3}),
        ("block-sized-records.warc.lz4", {"unknown": 3}),
        ("clipped.warc.gz", {"damaged": 1}),
        ("clueweb-quirk.warc.gz", {"warcinfo": 1, "response": 29}),
        ("warcfile.warc", {"warcinfo": 1, "request": 17, "response": 16, "metadata": 16}),
        ("warcfile.warc.gz", {"warcinfo": 1, "request": 17, "response": 16, "metadata": 16}),
        ("warcfile.warc.lz4", {"warcinfo": 1, "request": 17, "response": 16, "metadata": 16}),
        ("whirlwind.warc.gz", {"warcinfo": 1, "request": 1, "response": 1, "metadata": 1}),
        ("whirlwind.warc.wat.gz", {"warcinfo": 1, "metadata": 1}),
        ("whirlwind.warc.wet", {"warcinfo": 1, "response": 1}),
        ("whirlwind.warc.wet.gz", {"warcinfo": 1, "response": 1}),
    ],
)
def test_real_archives_have_their_known_counts(archives: Path, name: str, counts: dict[str, int]) -> None:
    found = read(one(archives, name))
    kinds = ["damaged" if damaged(r) else "response" if r.skipped in (None, "robots_txt") else r.skipped for r in found]
    assert Counter(kinds) == counts


def test_the_same_crawl_as_arc_and_as_warc_gives_the_same_documents(archives: Path) -> None:
    def documents(name: str) -> Counter[Any]:
        found = read(one(archives, name))
        return Counter(
            (r.columns["url"], r.columns["raw_sha256"], r.columns["text"]) for r in found if "text" in r.columns
        )

    assert documents("example.arc.gz") == documents("example.warc.gz")


@pytest.mark.parametrize("name", ["warcfile.warc", "warcfile.warc.gz", "warcfile.warc.lz4", "example.warc.gz"])
def test_places_are_those_that_fastwarc_finds(archives: Path, name: str) -> None:
    path = one(archives, name)
    found = {r.columns["record_id"]: r.columns["offset"] for r in read(path) if not r.skipped}
    known = {r.record_id[10:-1]: r.stream_pos for r in ArchiveIterator(str(path), parse_http=False)}
    assert found and found == {key: known[key] for key in found}


def test_a_real_archive_resumes_anywhere(archives: Path) -> None:
    for name in ("warcfile.warc.gz", "warcfile.warc", "clueweb-quirk.warc.gz"):
        path = one(archives, name)
        found = read(path)
        for k in range(0, len(found), 7):
            assert read(path, found[k].cursor) == found[k + 1 :]


def test_a_crawl_in_one_member_resumes_too(archives: Path, tmp_path: Path) -> None:
    path = written(tmp_path, gzip.compress(gzip.decompress(one(archives, "warcfile.warc.gz").read_bytes()), 1))
    found = read(path)
    assert len(found) == 50 and read(path, found[30].cursor) == found[31:]
    assert [outcome(r) for r in found] == [outcome(r) for r in read(one(archives, "warcfile.warc"))]


def test_a_packing_is_known_by_its_first_bytes(tmp_path: Path) -> None:
    for name, pack in PACKINGS.items():
        source = Input(written(tmp_path, pack([record(1)])))
        assert Packing(source, warc._WARC.begins).name == name.split(" ")[0]
        source.close()
