"""What the user names is found, in one order, or refused in one line; remote addresses come whole or not at all."""

from __future__ import annotations

import gzip
import http.server
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from curator.errors import InputError
from curator.sources import fetch, find, format_of


def touch(path: Path, data: bytes = b"x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.warc", "warc"),
        ("CC-MAIN-1.warc.gz", "warc"),
        ("a.warc.wet.gz", "warc"),
        ("a.warc.zst", "warc"),
        ("a.arc.gz", "warc"),
        ("A.JSONL.ZST", "lines"),
        ("a.json.gz", "lines"),
        ("a.tsv", "delimited"),
        ("a.HTML", "whole"),
        ("a.md", "whole"),
        ("a.pq", "parquet"),
        ("a.arrow", "arrow"),
        ("a.html.gz", None),
        ("a.png", None),
        ("a", None),
        ("a.gz", None),
    ],
)
def test_a_name_stands_for_a_format(name: str, kind: str | None) -> None:
    assert format_of(name) == kind


def test_a_folder_is_read_in_order_and_what_is_passed_over_is_counted(tmp_path: Path) -> None:
    for name in ("b/2.html", "b/1.html", "a.jsonl", "c.png", "d.png", ".hidden/x.html", "e.jsonl.tmp", ".f.html"):
        touch(tmp_path / "crawl" / name)
    found = find([str(tmp_path / "crawl")])
    assert [(s.name, s.source) for s in found.sources] == [("a.jsonl", "crawl"), ("b/1.html", "b"), ("b/2.html", "b")]
    assert found.ignored == {".png": 2}
    assert {s.source for s in find([str(tmp_path / "crawl")], "mine").sources} == {"mine"}


def test_a_file_named_twice_is_read_once(tmp_path: Path) -> None:
    path = touch(tmp_path / "a.jsonl")
    assert len(find([str(path), str(tmp_path), str(tmp_path / "*.jsonl")]).sources) == 1


def test_the_stamp_follows_the_content_alone(tmp_path: Path) -> None:
    path = touch(tmp_path / "a.jsonl", b"1")
    before = find([str(path)]).sources[0].stamp
    path.touch()
    assert find([str(path)]).sources[0].stamp == before
    path.write_bytes(b"2")
    assert find([str(path)]).sources[0].stamp != before


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"WARC/1.0\r\n", "warc"),
        (gzip.compress(b"WARC/1.1\r\nWARC-Type: response\r\n"), "warc"),
        (b"PAR1....", "parquet"),
        (b'{"text": 1}', "lines"),
        (gzip.compress(b' {"text": 1}'), "lines"),
        (b"<!doctype html>", "whole"),
        (b"\x1f\x8bbroken", "whole"),
        (b"\x28\xb5\x2f\xfdbroken", "whole"),
        (b"", "whole"),
    ],
)
def test_a_single_file_is_recognised_by_its_first_bytes(tmp_path: Path, head: bytes, kind: str) -> None:
    assert find([str(touch(tmp_path / "no-suffix", head))]).sources[0].format == kind


def test_mistakes_are_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no such file, folder or glob: .*nope"):
        find([str(tmp_path / "nope")])
    (tmp_path / "void").mkdir()
    with pytest.raises(InputError, match="void holds no file"):
        find([str(tmp_path / "void")])
    touch(tmp_path / "pictures" / "a.png")
    with pytest.raises(InputError, match=r"pictures holds no .*\.jsonl.* file .*, only 1 \.png"):
        find([str(tmp_path / "pictures")])
    with pytest.raises(InputError, match=r"cannot reach nowhere://x"):
        find(["nowhere://x"])


def test_folders_of_our_own_are_understood(tmp_path: Path) -> None:
    run = tmp_path / "run"
    touch(run / "run.json", b'{"recipe": {}}')
    touch(run / "ledger" / "a.parquet")
    with pytest.raises(InputError, match=r"is a curated run, not a corpus; name .*mixture"):
        find([str(run)])
    crawl = tmp_path / "crawl"
    touch(crawl / "run.json", b'{"ingest": "1"}')
    touch(crawl / "documents" / "a.parquet")
    touch(crawl / "places" / "a.json")
    with pytest.raises(InputError, match="is not finished"):
        find([str(crawl)])
    touch(crawl / "manifest.json", b"{}")
    assert [s.name for s in find([str(crawl)]).sources] == ["a.parquet"]


class _Quiet(http.server.SimpleHTTPRequestHandler):
    cut = False

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    folder = tmp_path / "served"
    folder.mkdir()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}", folder
    server.shutdown()
    server.server_close()
    thread.join()


def test_http_addresses_are_fetched_whole(served: tuple[str, Path], tmp_path: Path) -> None:
    address, folder = served
    data = bytes(range(256)) * 40_000  # more than one block
    touch(folder / "crawl.warc.gz", data)
    (source,) = find([f"{address}/crawl.warc.gz"]).sources
    assert (source.name, source.format, source.bytes, source.remote) == ("crawl.warc.gz", "warc", len(data), True)
    got = fetch(source, tmp_path / "spool" / "x")
    assert got.read_bytes() == data
    touch(folder / "crawl.warc.gz", b"shorter")
    with pytest.raises(InputError, match=r"came as 7 bytes instead of 10,240,000|cannot fetch"):
        fetch(source, tmp_path / "spool" / "y")
    assert not (tmp_path / "spool" / "y").exists()
    (folder / "crawl.warc.gz").unlink()
    with pytest.raises(InputError, match=r"cannot fetch .*crawl.warc.gz"):
        fetch(source, tmp_path / "spool" / "z")
    with pytest.raises(InputError, match="cannot reach"):
        find([f"{address}/crawl.warc.gz"])


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    server_module = pytest.importorskip("moto.server")
    import boto3
    import s3fs

    server = server_module.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    client = boto3.client("s3", endpoint_url=f"http://{host}:{port}")
    client.create_bucket(Bucket="crawls")
    yield client
    s3fs.S3FileSystem.clear_instance_cache()
    server.stop()


def test_s3_folders_globs_and_files(bucket: Any, tmp_path: Path) -> None:
    import s3fs

    for name in ("2026/a.jsonl", "2026/b.warc.gz", "2026/note.png"):
        bucket.put_object(Bucket="crawls", Key=name, Body=name.encode())
    found = find(["s3://crawls/2026"])
    assert [(s.name, s.format) for s in found.sources] == [("a.jsonl", "lines"), ("b.warc.gz", "warc")]
    assert found.ignored == {".png": 1}
    (globbed,) = find(["s3://crawls/2026/*.warc.gz"]).sources
    assert (globbed.name, globbed.address) == ("b.warc.gz", "s3://crawls/2026/b.warc.gz")
    (source,) = find(["s3://crawls/2026/a.jsonl"]).sources
    assert fetch(source, tmp_path / "a").read_bytes() == b"2026/a.jsonl"
    before = source.stamp
    bucket.put_object(Bucket="crawls", Key="2026/a.jsonl", Body=b"2026/b.jsonl")
    s3fs.S3FileSystem().invalidate_cache()
    assert find(["s3://crawls/2026/a.jsonl"]).sources[0].stamp != before
