"""A page as a row of text blocks, each with the elements that it lies in: what main-content extraction judges.

The parsed tree is written out once and read as a flat row of tags, so the work is linear in the
page, nothing recurses however deep the tags nest, and the tree stays as it is.
"""

from __future__ import annotations

import html
import re
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from resiliparse.parse.html import HTMLTree


def _words(*lines: str) -> tuple[str, ...]:
    return tuple(word for line in lines for word in line.split())


# What a reader never sees or what is never content: dropped with all it holds.
_DROPPED: Final = frozenset(
    _words(
        "script style template noscript svg canvas iframe object embed audio video select textarea button",
        "head title dialog nav map datalist progress meter applet frameset noembed noframes",
    )
)
_HEADINGS: Final = frozenset(("h1", "h2", "h3", "h4", "h5", "h6"))
_VOID: Final = frozenset(_words("area base br col embed hr img input link meta param source track wbr"))
_CELLS: Final = frozenset(("td", "th"))
BLOCK_TAGS: Final = frozenset(
    _words(
        "address article aside blockquote body caption center dd details dir div dl dt fieldset figcaption figure footer",
        "form h1 h2 h3 h4 h5 h6 header hgroup legend li listing main menu ol optgroup option p plaintext pre search section",
        "summary table tbody td tfoot th thead tr ul xmp",
    )
)
_VERBATIM: Final = frozenset(("pre", "listing", "xmp", "plaintext"))

# Words of class, id, role and itemprop by what they say of an element, in the languages of the web's templates.
GROUPS: Final = {
    "content": "content contents inhalt contenu contenido article artikel story post entry body text copy main prose "
    "richtext rte paragraph markdown maincontent articlebody bodytext hentry",
    "article": "article artikel story post entry hentry articlebody",
    "nav": "nav navi navigation menu menue breadcrumb breadcrumbs crumb crumbs pager pagination paging prev previous next "
    "tabs tab toc navbar topbar toolbar sitemap skip jump dropdown submenu megamenu archive archives",
    "side": "sidebar aside side rail right left column secondary widget widgets box teaser teasers marginal sidecolumn "
    "infobox module panel",
    "comment": "comment comments commentlist commentlisting kommentar kommentare disqus respond reply replies discussion "
    "feedback comentario comentarios commentaire commentaires guestbook pingback trackback livefyre talkback",
    "social": "share sharing social sharedaddy socials follow facebook twitter whatsapp pinterest like likes rating ratings "
    "vote votes shariff addthis addtoany bookmark print email mail newsletter subscribe subscription abo signup register "
    "login",
    "related": "related recommend recommended recommendation recommendations more also popular latest recent read similar "
    "suggest suggested suggestions trending most outbrain taboola teaser teasers mehr weitere empfehlung promo feed cards "
    "card carousel slider swiper yarpp crp relevant top",
    "meta": "meta byline author authors autor date time datetime timestamp published tags tag tagged category categories cat "
    "info details data infos credit credits copyright source kicker dateline publish postmetadata updated posted bio "
    "profile",
    "foot": "footer foot bottom footnote fuss imprint impressum legal copyright disclaimer colophon",
    "head": "header head masthead banner top logo branding brand kopf hero",
    "ad": "ad ads adv advert advertisement advertising anzeige werbung sponsor sponsored promo promotion banner affiliate shop "
    "product products commerce donate donation spenden paywall outbrain taboola dfp adslot",
    "caption": "caption figcaption wp legend bildunterschrift image img photo foto picture media gallery thumbnail thumb "
    "slideshow",
    "ui": "btn button icon popup modal overlay dialog lightbox tooltip toast hidden hide invisible collapse offscreen noprint "
    "alert notice message notification cookie consent search form suche contact kontakt",
    "lead": "lead teaser intro summary abstract subtitle subline excerpt standfirst deck vorspann anreisser description desc "
    "dek subheadline",
    "title": "title headline heading titel ueberschrift",
    "forum": "forum thread topic postbody postcontent message messages messagebody topicpost threads answer question reply",
    "recipe": "recipe ingredient ingredients instructions instruction directions zutaten zubereitung rezept step steps wprm "
    "tasty nutrition faq",
    "unseen": "hidden visuallyhidden screenreader sr offscreen invisible",
    "code": "code highlight codehilite syntax prettyprint sourcecode snippet gist",
}
_TAG_GROUPS: Final = _words("header footer aside article main section form table ul figure blockquote dl details td li")
GROUP_BITS: Final = len(GROUPS) + len(_TAG_GROUPS)
_BANNER: Final = 1 << GROUP_BITS  # a cookie banner
_TAG_BIT: Final = {tag: 1 << len(GROUPS) + i for i, tag in enumerate(_TAG_GROUPS)}
_TAG_BIT.update(ol=_TAG_BIT["ul"], menu=_TAG_BIT["ul"], fieldset=_TAG_BIT["form"])
_WORD_BITS: Final[dict[str, int]] = {}
for _i, _group in enumerate(GROUPS.values()):
    for _word in _group.split():
        _WORD_BITS[_word] = _WORD_BITS.get(_word, 0) | 1 << _i

_NAMES: Final = re.compile(r'\s(?:class|id|role|itemprop)="([^"]+)"')
_NAME_WORD: Final = re.compile(r"[A-Z]?[a-z]+|[A-Z]+")
_HIDDEN: Final = re.compile(
    r'\shidden="(?!until-found)|\saria-hidden="true"|display:\s*none|visibility:\s*hidden|'
    r'\srole="(?:navigation|menu|menubar|search|dialog|alertdialog|banner|tooltip|tablist|toolbar)"'
)
_NEVER_HIDDEN: Final = frozenset(("body", "main", "article"))  # scripts unveil these when the page has loaded
_COOKIE: Final = re.compile(
    r"cookie[-_]?(?:banner|consent|notice|bar|law|info|message|popup|layer|policy|hint|disclaimer|overlay|box|modal|wrapper|"
    r"container|alert)|onetrust|cookiebot|cybot|usercentrics|didomi|truste|quantcast|qc-cmp|sp_message|cmpbox|"
    r"\bcmp[-_]?(?:container|wrapper|banner|modal)|borlabs|klaro|iubenda|osano|\bcc-(?:window|banner|revoke)|gdpr|eu-cookie|"
    r"cookies?eu|\bcli-bar|moove_gdpr|tarteaucitron|consent[-_]?(?:banner|manager|layer|modal|popup|overlay)|termly|axeptio|"
    r"complianz|cmplz|evidon|ez-cookie|\bfc-consent"
)
_RAW: Final = re.compile(r"<(script|style|noscript|svg|iframe|template|noembed|noframes)[\s>].*?</\1>|<!--.*?-->", re.S)
_BREAK: Final = "\0"  # a line break inside a block; the parser lets no NUL through
_CELL: Final = " | "
_CELL_CHARS, _CELL_LINKS, _CELL_BREAKS = 120, 2, 1  # a cell with more is a column of a layout, not of a table
_REMEMBERED: Final = 50_000  # tags kept classified, for memory's sake


class _Tag(NamedTuple):
    """What a tag means: `bits` are the groups of its name and attributes."""

    act: int
    name: str
    bits: int
    hidden: bool


_INLINE, _OPEN, _CLOSE, _LINE, _RULE, _LINK, _LINK_END, _DROP, _OPEN_CELL, _CLOSE_CELL = range(10)
_OPENING, _CLOSING = (_OPEN, _OPEN_CELL), (_CLOSE, _CLOSE_CELL)


@dataclass
class Blocks:
    """Blocks of text in reading order (n) and the block-level elements of the page (m; the first is its body).

    texts: white space collapsed, line breaks kept, table rows as one block of cells; code as it stands.
    places: element of each block.  # [n]
    link_chars, links: characters and number of links in each.  # [n]
    parents, names, bits, all_bits: of each element; its own groups, and with those of all around it.  # [m]
    depths, firsts, lasts: of each element, how deep it lies and which blocks [first, last) it holds.  # [m]
    hidden: whether anything was dropped because it is hidden.
    """

    texts: list[str] = field(default_factory=list)
    places: list[int] = field(default_factory=list)
    link_chars: list[int] = field(default_factory=list)
    links: list[int] = field(default_factory=list)
    parents: list[int] = field(default_factory=lambda: [0])
    names: list[str] = field(default_factory=lambda: ["body"])
    bits: list[int] = field(default_factory=lambda: [0])
    all_bits: list[int] = field(default_factory=lambda: [0])
    depths: list[int] = field(default_factory=lambda: [0])
    firsts: list[int] = field(default_factory=lambda: [0])
    lasts: list[int] = field(default_factory=lambda: [-1])
    hidden: bool = False


_names_seen: dict[str, int] = {}
_tags_seen: dict[str, _Tag] = {}


def _name_bits(attributes: str) -> int:
    """Groups that the names in an element's attributes belong to."""
    bits = 0
    for value in _NAMES.findall(attributes):
        known = _names_seen.get(value)
        if known is None:
            known = _BANNER if _COOKIE.search(value.lower()) else 0
            for word in _NAME_WORD.findall(value):
                known |= _WORD_BITS.get(word.lower(), 0)
            if len(value) < 100:
                _names_seen[value] = known
        bits |= known
    return bits


def _is_hidden(attributes: str) -> bool:
    maybe = "hidden" in attributes or "none" in attributes or 'role="' in attributes
    return maybe and _HIDDEN.search(attributes) is not None


def _closing(name: str) -> _Tag:
    if name in _CELLS:
        return _Tag(_CLOSE_CELL, name, 0, False)
    act = _CLOSE if name in BLOCK_TAGS else _LINK_END if name == "a" else _INLINE
    return _Tag(act, name, 0, False)


def _tag(head: str) -> _Tag:
    """Understand what stands between `<` and `>`."""
    if head[:1] == "/":
        return _closing(head[1:])
    name, _, attributes = head.partition(" ")
    if name in _VOID:
        return _Tag({"br": _LINE, "hr": _RULE}.get(name, _INLINE), name, 0, False)
    if name in _DROPPED:
        return _Tag(_DROP, name, 0, False)
    if name == "a":
        return _Tag(_LINK, name, int('href="#' in attributes), False)
    attributes = " " + attributes
    hidden = name not in _NEVER_HIDDEN and _is_hidden(attributes)
    if name not in BLOCK_TAGS:
        return _Tag(_INLINE, name, 0, hidden)
    bits = _name_bits(attributes)
    if bits & _BANNER and name not in _NEVER_HIDDEN:
        return _Tag(_DROP, name, 0, False)
    bits = bits & ~_BANNER | _TAG_BIT.get(name, 0)
    return _Tag(_OPEN_CELL if name in _CELLS else _OPEN, name, bits, hidden)


def _clean(text: str, verbatim: bool) -> str:
    """The text of a block with its entities read and its white space collapsed, in code only trimmed."""
    if "&" in text:
        text = html.unescape(text)
    if verbatim:
        lines = text.replace(_BREAK, "\n").expandtabs(4).split("\n")
        return "\n".join(line.rstrip() for line in lines).strip("\n")
    if _BREAK in text:
        return "\n".join(filter(None, (" ".join(line.split()) for line in text.split(_BREAK))))
    return " ".join(text.split())


def _is_cell(parts: list[str], links: int) -> bool:
    """Whether this is the cell of a table rather than a column of a layout."""
    return links <= _CELL_LINKS and parts.count(_BREAK) <= _CELL_BREAKS and sum(map(len, parts)) < _CELL_CHARS


def blocks(tree: HTMLTree, unhide: bool = False) -> Blocks:
    """Read the blocks of a page's body; with `unhide` those that are hidden too."""
    body = tree.body
    return read_blocks(body.html, unhide) if body is not None else Blocks()


def read_blocks(source: str, unhide: bool = False) -> Blocks:
    """Read the blocks of HTML as a parser writes it out: tags lower case and balanced, `<` and `>` escaped elsewhere.

    One long loop, because every call inside it costs a tenth of the time of the whole page.
    """
    page = Blocks()
    parents, names, bits, all_bits = page.parents, page.names, page.bits, page.all_bits
    depths, firsts, lasts, texts = page.depths, page.firsts, page.lasts, page.texts
    known_tags = _tags_seen
    for memory in (_tags_seen, _names_seen):
        if len(memory) > _REMEMBERED:
            memory.clear()
    stack = [("body", 0)]
    parts: list[str] = []  # of the block being read
    place = link_chars = links = 0
    cell = cell_links = 0  # where the cell being read begins in the parts of its row; 0 in the first
    in_link = line_broken = verbatim = False
    dropped, dropped_end, depth = "", "", 0

    def flush() -> None:
        nonlocal link_chars, links, cell, cell_links, line_broken
        text = _clean("".join(parts), verbatim)
        if cell:
            text = text.rstrip("| ") if text.strip("| ") else ""
        if text.strip():
            texts.append(text)
            page.places.append(place)
            page.link_chars.append(min(link_chars, len(text)))
            page.links.append(links)
        parts.clear()
        link_chars = links = cell = cell_links = 0
        line_broken = False

    for piece in _RAW.sub("", source).split("<"):
        head, _, text = piece.partition(">")
        if depth:
            if head == dropped_end:
                depth -= 1
            elif head.startswith(dropped) and head[len(dropped) :][:1] in ("", " "):
                depth += 1
            if depth:
                continue
            head = "/"  # the end of what was dropped: only the text behind it counts
        tag = known_tags.get(head)
        if tag is None:
            tag = _tag(head)
            if len(head) < 100:
                known_tags[head] = tag
        act, name, own, hidden = tag
        if act == _DROP or (hidden and not unhide):
            dropped, dropped_end, depth = name, "/" + name, 1
            page.hidden |= hidden
            if parts and (name in BLOCK_TAGS or name in _DROPPED):
                flush()
            continue
        if act == _INLINE:
            pass
        elif act in _OPENING:
            if parts and not (cell and act == _OPEN_CELL):
                flush()
            parents.append(place)
            all_bits.append(all_bits[place] | own)
            place = len(names)
            names.append(name)
            bits.append(own)
            depths.append(len(stack))
            firsts.append(len(texts))
            lasts.append(-1)
            stack.append((name, place))
            verbatim = verbatim or name in _VERBATIM
        elif act in _CLOSING:
            if parts:
                if act == _CLOSE_CELL and _is_cell(parts[cell:], links - cell_links):
                    parts.append(_CELL)
                    cell, cell_links = len(parts), links
                else:
                    flush()
            # An odd attribute name can hold a `<` and fake a tag: skip a few that never close.
            for back in range(1, min(len(stack), 9)):
                if stack[-back][0] == name:
                    lasts[stack[-back][1]] = len(texts)
                    del stack[-back:]
                    break
            place = stack[-1][1]
            verbatim = verbatim and name not in _VERBATIM
        elif act == _LINK:
            if not (own and names[place] in _HEADINGS):  # a heading that is its own address is no link
                in_link = True
                links += 1
        elif act == _LINK_END:
            in_link = False
        elif act == _RULE or (line_broken and not verbatim):
            flush()
        elif parts or verbatim:
            parts.append(_BREAK)
            line_broken = True
        if text:
            if not text.isspace():
                line_broken = False
                if in_link:
                    link_chars += len(text)
            elif not parts and not verbatim:
                continue
            parts.append(text)
    flush()
    page.lasts = [len(texts) if last < 0 else last for last in lasts]
    return page
