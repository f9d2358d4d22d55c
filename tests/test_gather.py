"""models/ai-text/gather.py: what its readers keep and leave out, what counts as prose, and the pins of sources.toml."""

from __future__ import annotations

import importlib.util
import io
import json
import re
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[1] / "models/ai-text/gather.py"


@pytest.fixture(scope="module")
def g() -> Any:
    spec = importlib.util.spec_from_file_location("ai_text_gather", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["ai_text_gather"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def sentence(i: int) -> str:
    return (
        f"The keeper of lighthouse {i} wrote in the log that the wind had turned and that no ship was seen on day {i}."
    )


# Readers


def test_rst_keeps_running_text_and_drops_what_directives_and_literal_blocks_hold(g: Any) -> None:
    text = """
Title
=====

First paragraph uses :class:`~a.b.Field` and ``code`` with a `link <https://x.example>`_ in *it*::

    literal = block

Second paragraph.

A title
-------
Below it, without a blank line.

.. code-block:: python

   dropped = True

   dropped_too = True

.. note:: Noted on the same line.

- one item
  runs on
- another item
"""
    made = g.rst(text)
    assert "First paragraph uses Field and code with a link in it:" in made
    assert {
        "Second paragraph.",
        "Below it, without a blank line.",
        "Noted on the same line.",
        "one item runs on",
        "another item",
    } <= set(made)
    assert not any("dropped" in item or "literal =" in item for item in made)


def test_markdown_keeps_paragraphs_without_code_tables_and_front_matter(g: Any) -> None:
    text = "---\ntitle: x\n---\n# Head\n\nSome *plain* [text](u) and `code`.\n\n```\nno = 1\n```\n\n| a | b |\n|---|---|\n| c | d |\n"
    assert g.markdown(text) == ["Some plain text and code."]


def test_markup_takes_innermost_blocks_of_html_and_docbook(g: Any) -> None:
    page = "<body><nav><p>menu</p></nav><div><p>One <b>bold</b> line.¶</p><pre>x = 1</pre><ul><li><p>An item.</p></li></ul></div></body>"
    assert g.markup(page) == ["One bold line.", "An item."]
    assert g.markup("<chapter><para>Use &kapp; now.</para><screen>$ ls</screen></chapter>") == ["Use kapp now."]
    assert g.markup("") == []


def test_man_joins_fonts_and_drops_displays(g: Any) -> None:
    page = ".TH X 1\n.SH NAME\nx \\- a \\fItool\\fP\n.PP\nRun\n.B x\nwith\n.BR ls (1)\nnow.\n.nf\n$ x \\-a\n.fi\n"
    assert g.man(page)[-2:] == ["Run x with ls(1) now.", ""]


def test_pod_latex_plain_dictionary_and_records(g: Any) -> None:
    assert g.pod("code\n=head1 X\n\nUse C<open> and L<perlfunc|perlfunc/open>.\n\n    verbatim\n") == [
        "Use open and perlfunc/open."
    ]
    tex = "\\begin{document}\nA \\emph{short} line % note\nruns on.\n\n\\begin{figure}gone\\end{figure}\n\n<<a>>=\nx <- 1\n@\n"
    assert [item for item in g.latex(tex) if item] == ["A short line runs on."]
    assert g.plain(
        "   Some words of the inter-\n   net.\n\nBaker   Informational   [Page 2]\n\f\n   More words.\n"
    ) == [
        "Some words of the inter-net.",
        "More words.",
    ]
    body = " ".join(sentence(i) for i in range(9))
    assert g.dictionary(f"\nlighthouse\n   <shore> {{{body}}}\n\nshort\n   Too little.\n") == [body]
    assert g.records(json.dumps({"a": [{"text": "One.\nTwo."}], "text": "Three.", "name": "no"})) == [
        "One.",
        "Two.",
        "Three.",
    ]


# Choosing


@pytest.mark.parametrize(
    ("paragraph", "kept"),
    [
        (sentence(1), True),
        ("Too short to keep.", False),
        ("This paragraph has no closing mark because it is the heading of a page about the sea", False),
        ("for (i = 0; i < n; i++) { x[i] = y[i] | z[i]; } while (true) { break; } do { } ;;.", False),
        (
            "Der Leuchtturmwärter schrieb in sein Buch, dass der Wind sich gedreht habe und kein Schiff zu sehen sei.",
            False,
        ),
        ("Permission is hereby granted, free of charge, to any person obtaining a copy of this software.", False),
    ],
)
def test_prose_is_told_from_code_headings_other_languages_and_licences(g: Any, paragraph: str, kept: bool) -> None:
    assert g.is_prose(paragraph) is kept


def test_an_announcement_of_left_out_code_is_cut(g: Any) -> None:
    assert g.finished("It works. Call it like this:") == "It works."
    assert g.finished("Like this:") == ""
    assert g.finished("It works.") == "It works."


def test_members_that_hold_no_prose_of_their_own_are_not_wanted(g: Any) -> None:
    assert g.wanted("pkg-1/docs/guide.rst")
    assert g.wanted("./usr/share/doc/x/html/en-US/guide.html")
    refused = [
        "pkg-1/CHANGES.rst",
        "pkg-1/docs/releases/1.0.txt",
        "pkg-1/tests/a.txt",
        "pkg-1/docs/de/guide.rst",
        "x/data.json",
    ]
    refused += [
        "pkg-1/LICENSE.txt",
        "pkg-1/docs/a.png",
        "./usr/share/doc/x/html/pt-BR/guide.html",
        "./usr/share/man/fr/man1/ls.1.gz",
    ]
    assert [name for name in refused if g.wanted(name)] == []
    assert g.wanted("x/data.json", r"\.json$")


def test_pieces_keep_order_and_length(g: Any) -> None:
    paragraphs = [sentence(i) for i in range(400)]
    made = g.pieces(paragraphs, "key")
    assert "\n\n".join(made) == "\n\n".join(paragraphs[: sum(piece.count("\n\n") + 1 for piece in made)])
    assert all(g.SHORTEST <= len(piece.split()) <= g.LONGEST + 30 for piece in made)
    assert made == g.pieces(paragraphs, "key") and len({len(piece.split()) for piece in made}) > 5
    assert g.pieces(paragraphs[:3], "key") == []


def test_a_package_is_read_into_rows_and_copies_are_dropped(g: Any, tmp_path: Path) -> None:
    body = "\n\n".join(sentence(i) for i in range(60))
    path = tmp_path / "lights-1.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for name, text in (
            ("lights-1/docs/tutorial/a.rst", body),
            ("lights-1/docs/b.md", body),
            ("lights-1/CHANGES.rst", body),
        ):
            info = tarfile.TarInfo(name)
            info.size = len(text.encode())
            archive.addfile(info, io.BytesIO(text.encode()))
    source = g.Source("lights", "pypi", "1", path.name, "", "MIT", "2019-01-01", "manual")
    rows = g.gather(source, path)
    assert {row["group"] for row in rows} == {"lights/lights-1/docs/tutorial/a.rst", "lights/lights-1/docs/b.md"}
    assert {row["domain"] for row in rows} == {"tutorial", "manual"}
    assert all(row["label"] == "human" and row["date"] == "2019-01-01" and row["n_words"] >= g.SHORTEST for row in rows)
    alone = g.without_copies([(source, rows)])
    assert 0 < len(alone) < len(rows)
    assert g.without_copies([(source, rows), (source, rows)]) == alone


def test_another_file_than_the_pinned_one_is_refused(g: Any, tmp_path: Path) -> None:
    (tmp_path / "x-1.tar.gz").write_bytes(b"something else")
    source = g.Source("x", "pypi", "1", "x-1.tar.gz", "0" * 64, "MIT", "2019-01-01", "manual")
    with pytest.raises(ValueError, match=r"x-1\.tar\.gz: sha256"):
        g.fetch(source, tmp_path)


# Pins


def test_every_source_is_pinned_licensed_and_older_than_the_assistants(g: Any) -> None:
    pinned = g.sources()
    assert len({source.name for source in pinned}) == len(pinned) >= 60
    assert len({source.kind for source in pinned}) >= 12
    for source in pinned:
        assert re.fullmatch(r"\d{4}-\d\d-\d\d", source.date) and source.date < "2022-11-30", source.name
        assert re.fullmatch(r"[0-9a-f]{64}", source.sha256), source.name
        assert source.licence.strip("? ") and source.registry in ("pypi", "npm", "debian"), source.name
        assert bool(source.suite) == (source.registry == "debian"), source.name
