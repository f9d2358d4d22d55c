"""Arrow schemas: what a column is called, its type, its unit and what it means.

A field carries its meaning in `metadata[b"doc"]`; SQL comments, docs and the printed
schemas are made from it, so a column is described in one place only.
"""

from __future__ import annotations

from typing import Final

import pyarrow as pa

EMBEDDING_DIM: Final = 384


def field(name: str, type_: pa.DataType, doc: str, nullable: bool = True) -> pa.Field:
    """Make a field that says what it means."""
    return pa.field(name, type_, nullable=nullable, metadata={"doc": doc})


def doc_of(column: pa.Field) -> str:
    """What the column means; empty when nobody said."""
    return str((column.metadata or {}).get(b"doc", b"").decode())


def is_scalar(column: pa.Field) -> bool:
    """True for a column that the ledger shows; vectors and lists stay with the signals."""
    return not pa.types.is_nested(column.type)


UUID: Final = pa.binary(16)
TIMESTAMP: Final = pa.timestamp("us", tz="UTC")

# What a reader makes of one row of input, whatever the format. One row per input row: an
# unreadable one keeps its place with a null text and its reason in `quarantine`.
DOCUMENTS: Final = pa.schema(
    [
        field("doc_id", UUID, "16-byte hash of (source, record id); a UUID in SQL", nullable=False),
        field(
            "source",
            pa.string(),
            "who supplied the document: a column of the input, else the file's name",
            nullable=False,
        ),
        field(
            "record_id", pa.string(), "the supplier's own id for the record, else file and row number", nullable=False
        ),
        field("path", pa.string(), "input file, relative to the folder that was named", nullable=False),
        field("row", pa.int64(), "row number within that file, from 0", nullable=False),
        field("text", pa.large_string(), "the document's text; null only in quarantine"),
        field("url", pa.string(), "address the document was fetched from"),
        field("date", TIMESTAMP, "when the document was first seen, as its source says"),
        field("declared_language", pa.string(), "language the source declares"),
        field("declared_origin", pa.string(), "origin the source declares: human, synthetic or mixed"),
        field("repeat", pa.int32(), "earlier rows with the same source and record id", nullable=False),
        field("quarantine", pa.string(), "why the row could not be read as a document; null when it could"),
    ]
)

# What `curator ingest` makes of a scraper's files: documents with where they came from and what their publisher says
# of them. One row for every record that claims to be a document. `curator filter` reads these files as they are; what
# is not in `DOCUMENTS` travels along and a rule may read it as `extra.<name>`.
INGESTED: Final = pa.schema(
    [
        field(
            "source",
            pa.string(),
            "who supplied the document: --source, a field of the record, else the folder or file",
            nullable=False,
        ),
        field(
            "record_id",
            pa.string(),
            "the supplier's own id (WARC-Record-ID, a field of the record), else file and place",
            nullable=False,
        ),
        field("file", pa.string(), "the file it was read from, relative to what was named", nullable=False),
        field("row", pa.int64(), "number of the record in that file, from 0", nullable=False),
        field(
            "offset",
            pa.int64(),
            "where the record begins in the file, in bytes; of the uncompressed stream for lines, row number in tables",
        ),
        field("length", pa.int64(), "bytes the record takes there"),
        field("text", pa.large_string(), "the document's text; null only in quarantine"),
        field("title", pa.string(), "title, as the page says"),
        field("url", pa.string(), "address the document was fetched from"),
        field("host", pa.string(), "host of the address, lower case, as ASCII"),
        field("domain", pa.string(), "registered domain of the host, by the public suffix list"),
        field("date", TIMESTAMP, "published where the page says so and no later than fetched, else fetched"),
        field("fetched_at", TIMESTAMP, "when the crawler fetched it"),
        field("published_at", TIMESTAMP, "when it was published, as the page says"),
        field("http_status", pa.int32(), "status of the HTTP response"),
        field("mime", pa.string(), "MIME type, as served or recognised"),
        field("charset", pa.string(), "character encoding it was read in"),
        field(
            "extractor", pa.string(), "what took the text out of the page, with version; null where it was text already"
        ),
        field("payload_digest", pa.string(), "digest of the payload, as the archive states it"),
        field("raw_sha256", pa.string(), "sha256 of the payload's bytes, in hex"),
        field("text_sha256", pa.string(), "sha256 of the text in UTF-8, in hex"),
        field("declared_language", pa.string(), "language the page, its headers or the record declare"),
        field("declared_origin", pa.string(), "origin the page or record declares: human, synthetic or mixed"),
        field("declared_origin_evidence", pa.string(), "the words that declare the origin"),
        field("generator", pa.string(), "the page's generator tag"),
        field("licence", pa.string(), "licence the page declares: SPDX id where there is one, else its address"),
        field("licence_evidence", pa.string(), "the link, tag or field that declares the licence"),
        field(
            "noai",
            pa.bool_(),
            "robots meta or X-Robots-Tag says noai; null where neither speaks",
        ),
        field("noimageai", pa.bool_(), "robots meta or X-Robots-Tag says noimageai"),
        field("noindex", pa.bool_(), "robots meta or X-Robots-Tag says noindex or none"),
        field("tdm_reserved", pa.bool_(), "TDM-Reservation header or meta: true for 1, false for 0"),
        field("tdm_policy", pa.string(), "address of the TDM policy"),
        field("content_usage", pa.string(), "Content-Usage of the response, or of robots.txt for this path"),
        field("train_ai", pa.bool_(), "what Content-Usage says of training (train-ai); null where it is silent"),
        field(
            "robots_disallowed",
            pa.list_(pa.string()),
            "agents known to gather training text, and *, that robots.txt keeps from this address; null where the crawl holds no robots.txt of the host",
        ),
        field("opt_out_evidence", pa.list_(pa.string()), "the header, tag or line behind each of these"),
        field("meta", pa.string(), "the record's other fields, as JSON"),
        field("quarantine", pa.string(), "why the record could not be read as a document; null when it could"),
    ]
)
