"""Draw the page's figures as inline SVG without scripts: one look, colours by name, so that the page's style can turn them dark.

Every figure is drawn twice, wide for a desk and paper and narrow for a telephone; the style sheet shows one of them.
"""

from __future__ import annotations

import io
import re
import textwrap
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from xml.etree import ElementTree

from markupsafe import Markup

from curator.errors import InputError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Drawn in these stand-ins; the SVG then says var(--name), and the style sheet decides for light, dark and paper.
COLOURS: Final = {
    "paper": "#00010e",
    "ink": "#000101",
    "quiet": "#000102",
    "rule": "#000103",
    "box": "#00010d",
    "curated": "#000104",
    "left_out": "#000105",
    "duplicate": "#000106",
    "dropped": "#000107",
    "quarantined": "#000108",
    "before": "#000109",
    "after": "#00010a",
    "mark": "#00010b",
    "shared": "#00010c",
}
LABEL_CHARS: Final = 40
_WIDE: Final = 10.0  # inches of 72 points; the page scales it
_NARROW: Final = 4.4  # at the width of a telephone its letters are about as large as the text around them
_SVG: Final = "{http://www.w3.org/2000/svg}"
_LINK: Final = "{http://www.w3.org/1999/xlink}href"
_REFERS: Final = (_LINK, "clip-path")
_LONG_NUMBER: Final = re.compile(r"(\.\d\d)\d+")  # a hundredth of a point is finer than any screen


@dataclass(frozen=True)
class Series:
    """One colour of a figure: its name in the legend and its values, None where there is none."""

    name: str
    colour: str
    values: Sequence[Any]


@dataclass(frozen=True)
class Span:
    """Where one stratum lies: its box (None for no box), the reference, what was kept, the mixture; fractions."""

    low: float | None
    high: float | None
    reference: float | None
    kept: float | None
    mixture: float | None
    met: bool


@contextmanager
def _quiet() -> Iterator[None]:
    """Matplotlib with the page's settings, whatever the user's are; texts are never read as formulas."""
    try:
        import matplotlib
    except ImportError as error:
        raise InputError("the report is drawn by matplotlib; pip install 'corpus-curator[report]'") from error
    settings: dict[Any, Any] = {
        "svg.fonttype": "none",
        "svg.hashsalt": "curator",
        "text.parse_math": False,
        "font.size": 10,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.spines.left": False,
        "axes.edgecolor": COLOURS["rule"],
        "axes.labelcolor": COLOURS["quiet"],
        "text.color": COLOURS["ink"],
        "xtick.color": COLOURS["quiet"],
        "ytick.color": COLOURS["quiet"],
        "ytick.left": False,
        "grid.color": COLOURS["rule"],
        "grid.linewidth": 0.6,
        "legend.frameon": False,
    }
    with matplotlib.rc_context(), warnings.catch_warnings():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(settings)
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)  # the reader's browser has it
        yield


def _figure(
    name: str, title: str, description: str, height: Callable[[bool], float], draw: Callable[[Axes], None]
) -> Markup:
    """Both drawings of a figure. height: inches, by whether it is the narrow one; `draw` asks `_is_narrow`."""
    with _quiet():
        from matplotlib.figure import Figure

        drawn = []
        for narrow in (False, True):
            figure = Figure(figsize=(_NARROW if narrow else _WIDE, height(narrow)), layout="constrained")
            axes = figure.add_subplot()
            axes.set_axisbelow(True)
            draw(axes)
            kind, own = ("narrow", f"{name}-narrow") if narrow else ("wide", name)
            drawn.append(_inline(figure, own, kind, title, description))
        return Markup("").join(drawn)


def _is_narrow(axes: Axes) -> bool:
    return float(axes.get_figure().get_figwidth()) < _WIDE  # type: ignore[union-attr]


def _inline(figure: Figure, name: str, kind: str, title: str, description: str) -> Markup:
    out = io.BytesIO()
    figure.savefig(out, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    root = ElementTree.fromstring(out.getvalue())
    _clean(root, name)
    for tag, text in (("desc", description), ("title", title)):
        said = ElementTree.Element(tag, {"id": f"{name}-{tag}"})
        said.text = text
        root.insert(0, said)
    box = root.get("viewBox", "")
    root.attrib.clear()
    root.attrib |= {"viewBox": box, "class": kind, "role": "img", "aria-labelledby": f"{name}-title {name}-desc"}
    return Markup(ElementTree.tostring(root, encoding="unicode"))


def _clean(root: ElementTree.Element, name: str) -> None:
    """Take out what would reach beyond the figure or says nothing: metadata, styles for the whole page, ids nobody names."""
    for parent in root.iter():
        for child in list(parent):
            if child.tag in (f"{_SVG}metadata", f"{_SVG}style"):
                parent.remove(child)
    used = set(re.findall(r"#([\w.-]+)", " ".join(v for node in root.iter() for k, v in node.items() if k in _REFERS)))
    for node in root.iter():
        node.tag = node.tag.removeprefix(_SVG)
        if node.tag != "text":
            node.text = (node.text or "").strip() or None
        node.tail = (node.tail or "").strip() or None
        for key, value in list(node.attrib.items()):
            del node.attrib[key]
            if (key != "id" or value in used) and not value.startswith("rotate(-0 "):
                node.attrib["href" if key == _LINK else key] = _attribute(key, value, name)


def _attribute(key: str, value: str, name: str) -> str:
    if key == "id":
        return f"{name}-{value}"
    if key == _LINK:
        return value.replace("#", f"#{name}-", 1)
    if key == "clip-path":
        return value.replace("url(#", f"url(#{name}-")
    return _themed(value) if key == "style" else _LONG_NUMBER.sub(r"\1", value).strip()


def _themed(style: str) -> str:
    for name, colour in COLOURS.items():
        style = style.replace(colour, f"var(--{name})")
    return re.sub(r"font(?:-family)?:[^;]*'[^;]*(;|$)", "", style)


def clipped(text: str, length: int = LABEL_CHARS) -> str:
    """A label that leaves room for the figure."""
    return text if len(text) <= length else text[: length - 1] + "…"


def bars(
    name: str,
    title: str,
    labels: Sequence[str],
    series: Sequence[Series],
    unit: str = "documents",
    ends: Sequence[float] | None = None,
) -> Markup:
    """Horizontal bars, one a label from the top, the series stacked on one another.

    ends: numbers to write at the bars' ends; without them the sums.
    """

    def draw(axes: Axes) -> None:
        left = [0.0] * len(labels)
        for one in series:
            values = [float(v or 0) for v in one.values]
            _stacked(axes, values, left, one)
            left = [a + b for a, b in zip(left, values, strict=True)]
        _rows(axes, labels)
        for i, (total, said) in enumerate(zip(left, ends or left, strict=True)):
            axes.annotate(f"{said:,.0f}", (total, i), (4, 0), textcoords="offset points", va="center", fontsize=9)
        axes.margins(x=0.16 if _is_narrow(axes) else 0.08)
        axes.set_xlim(left=0)
        _counts(axes.xaxis, unit)
        _legend(axes, len(series))

    description = f"Bars of {unit} for {len(labels)} rows; the table beside it has every number."
    return _figure(name, title, description, _height(len(labels), len(series) > 1), draw)


def _stacked(axes: Axes, values: Sequence[float], left: Sequence[float], series: Series) -> None:
    """One series of bars behind those before it; a line of the paper's colour keeps neighbours of like shades apart."""
    axes.barh(
        range(len(values)), values, left=left, height=0.5 if _is_narrow(axes) else 0.68, color=COLOURS[series.colour],
        label=series.name, edgecolor=COLOURS["paper"], linewidth=[0.8 if value else 0.0 for value in values],
    )  # fmt: skip


def fractions(name: str, title: str, labels: Sequence[str], series: Sequence[Series]) -> Markup:
    """Horizontal bars that fill the width: what part of each row every series has."""

    def draw(axes: Axes) -> None:
        totals = [max(1.0, sum(float(s.values[i] or 0) for s in series)) for i in range(len(labels))]
        left = [0.0] * len(labels)
        for one in series:
            parts = [float(v or 0) / t for v, t in zip(one.values, totals, strict=True)]
            _stacked(axes, parts, left, one)
            left = [a + b for a, b in zip(left, parts, strict=True)]
        _rows(axes, labels)
        axes.set_xlim(0, 1)
        _percent(axes.xaxis)
        _legend(axes, len(series))

    said = f"Parts of {len(labels)} rows that add up to 100 %; the table beside it has every number."
    return _figure(name, title, said, _height(len(labels), True), draw)


def intervals(name: str, title: str, labels: Sequence[str], series: Sequence[Series]) -> Markup:
    """A dot and its interval a row and series; values are fractions, or None for unknown.

    A value is (low, point, high), and what is known beside it: (…, at least, by another estimator), a tick and a
    hollow mark. The axis ends where the largest interval does.
    """

    def draw(axes: Axes) -> None:
        step = 0.26
        for k, one in enumerate(series):
            shift = (k - (len(series) - 1) / 2) * step
            known = [(i, v) for i, v in enumerate(one.values) if v is not None]
            y = [i + shift for i, _ in known]
            axes.hlines(y, [v[0] for _, v in known], [v[2] for _, v in known], color=COLOURS[one.colour], linewidth=2.4)
            axes.plot([v[1] for _, v in known], y, "os"[k % 2], color=COLOURS[one.colour], label=one.name, markersize=6)
            _beside(axes, [v for _, v in known], y, COLOURS[one.colour])
        beside = any(v is not None and len(v) > 3 for one in series for v in one.values)
        for mark, what in (("|", "at least, by human scores alone"), ("D", "second estimate")) if beside else ():
            axes.plot(
                [], [], mark, color=COLOURS["quiet"], fillstyle="none", label=what, markersize=7, linestyle="none"
            )
        _rows(axes, labels)
        top = max(
            [0.05, *(max(x for x in v[1:] if x is not None) for one in series for v in one.values if v is not None)]
        )
        axes.set_xlim(-0.01 * top, min(1.01, 1.06 * top))
        _percent(axes.xaxis, "synthetic share, with the 95 % interval")
        _legend(axes, len(series) + 2 * beside)

    said = f"Synthetic shares with their intervals for {len(labels)} rows; the table beside it has every number."
    return _figure(name, title, said, _height(len(labels), True, 0.4), draw)


def _beside(axes: Axes, values: Sequence[Any], y: Sequence[float], colour: str) -> None:
    """What is known beside a point and its interval: a tick for the lower bound, a hollow mark for the other estimate."""
    for place, mark in ((3, "|"), (4, "D")):
        there = [(v[place], at) for v, at in zip(values, y, strict=True) if len(v) > place and v[place] is not None]
        axes.plot(
            [x for x, _ in there],
            [at for _, at in there],
            mark,
            color=colour,
            fillstyle="none",
            markersize=9 if mark == "|" else 5,
        )


def over_time(
    name: str, title: str, labels: Sequence[str], series: Sequence[Series], marks: Sequence[tuple[float, str]] = ()
) -> Markup:
    """Shares over months: a line with its band a series; None leaves a gap. marks: (place among the labels, what it is)."""

    def draw(axes: Axes) -> None:
        for k, one in enumerate(series):
            low, point, high = ([v[j] if v else float("nan") for v in one.values] for j in range(3))
            colour, at = COLOURS[one.colour], range(len(labels))
            axes.fill_between(at, low, high, color=colour, alpha=0.18, linewidth=0)
            axes.vlines(at, low, high, color=colour, alpha=0.6, linewidth=1.4)  # alone, a month has no band
            axes.plot(at, point, "os"[k % 2] + "-", color=colour, label=one.name, markersize=4)
        for at_mark, what in marks:
            axes.axvline(at_mark, color=COLOURS["mark"], linewidth=1.2, linestyle="--", label=what)
        every = max(1, -(-len(labels) // (5 if _is_narrow(axes) else 12)))
        axes.set_xticks(range(0, len(labels), every), labels[::every])
        axes.set_xlim(-0.5, len(labels) - 0.5)
        axes.set_ylim(bottom=0)
        axes.grid(axis="y")
        _percent(axes.yaxis, "synthetic share")
        _legend(axes, len(series) + len(marks))

    said = f"Synthetic share by month, {len(labels)} months, with 95 % bands; the table beside it has every number."
    return _figure(name, title, said, lambda narrow: 3.6 if narrow else 3.4, draw)


def histogram(
    name: str,
    title: str,
    edges: Sequence[float],
    series: Sequence[Series],
    axis: str,
    marks: Sequence[tuple[float, str]] = (),
    logarithmic: bool = False,
) -> Markup:
    """Counts between edges, each series drawn over the one before it on a logarithmic axis of counts.

    edges: one more than the values; logarithmic: whether the edges are drawn so too. marks: (where, what it is).
    """

    def draw(axes: Axes) -> None:
        for one in series:
            tall = [max(float(v), 0.7) if v else 0.7 for v in one.values]
            axes.stairs(tall, edges, baseline=0.7, fill=True, color=COLOURS[one.colour], label=one.name)
        for i, (at, what) in enumerate(marks):
            axes.axvline(at, color=COLOURS["mark"], linewidth=1.2, linestyle=("--", ":", "-.")[i % 3], label=what)
        axes.set_yscale("log")
        axes.set_ylim(bottom=0.7)
        axes.set_xlim(edges[0], edges[-1])
        if logarithmic:
            axes.set_xscale("log")
            _counts(axes.xaxis, axis)
        axes.set_xlabel(_wrapped(axes, axis))
        axes.grid(axis="y")
        _counts(axes.yaxis, "documents (log scale)")
        _legend(axes, len(series) + len(marks))

    said = f"Histogram in {len(edges) - 1} bins on a logarithmic scale; the table beside it has every number."
    return _figure(name, title, said, lambda narrow: 3.6 if narrow else 3.4, draw)


def spans(name: str, title: str, labels: Sequence[str], rows: Sequence[Span]) -> Markup:
    """A bar for each row's box, and marks for the reference, what was kept and the mixture, on a square-root scale."""

    def draw(axes: Axes) -> None:
        boxed = [(i, r.low, r.high) for i, r in enumerate(rows) if r.low is not None and r.high is not None]
        if boxed:
            y, low, high = zip(*boxed, strict=True)
            axes.hlines(y, low, high, color=COLOURS["rule"], linewidth=9, label="box")
            for ends in (low, high):  # the bar itself is pale, so that the marks on it are seen
                axes.plot(ends, y, "|", color=COLOURS["box"], markersize=9, markeredgewidth=1.4)
        kinds = (
            ("reference", "|", COLOURS["ink"], [row.reference for row in rows]),
            ("kept", "D", COLOURS["before"], [row.kept for row in rows]),
            ("mixture", "o", COLOURS["after"], [row.mixture if row.met else None for row in rows]),
            ("mixture, outside its box", "s", COLOURS["dropped"], [None if row.met else row.mixture for row in rows]),
        )
        some = int(bool(boxed))
        for what, mark, colour, values in kinds:
            known = [(v, i) for i, v in enumerate(values) if v is not None]
            if not known:
                continue
            some += 1
            style = (
                {"fillstyle": "none", "markersize": 5} if mark == "D" else {"markersize": 11 if mark == "|" else 6.5}
            )
            axes.plot(
                [v for v, _ in known], [i for _, i in known], mark, color=colour, label=what, linestyle="none", **style
            )
        _rows(axes, labels)
        every = [v for row in rows for v in (row.high, row.reference, row.kept, row.mixture) if v is not None]
        _roots(axes.xaxis, 0.0, max([0.01, *every]), "part of the words (square-root scale)")
        _legend(axes, some)

    said = f"Boxes, reference, kept text and mixture of {len(labels)} rows; the table beside it has every number."
    return _figure(name, title, said, _height(len(labels), True), draw)


def frontier(
    name: str,
    title: str,
    line: Sequence[tuple[float, float]],
    here: Sequence[tuple[float, float]],
    marks: Sequence[float],
) -> Markup:
    """The most words by cap as a line, the mixture as a point, the cap it had as a rule.  Pairs: (share, words)."""

    def draw(axes: Axes) -> None:
        ordered = sorted(line)
        axes.plot([x for x, _ in ordered], [y for _, y in ordered], "o-", color=COLOURS["curated"], label="most words")
        axes.plot(
            [x for x, _ in here], [y for _, y in here], "s", color=COLOURS["after"], label="this mixture", clip_on=False
        )
        for mark in marks:
            axes.axvline(mark, color=COLOURS["mark"], linewidth=1.2, linestyle="--", label="its cap")
        axes.set_ylim(0, 1.08 * max([1.0, *(y for _, y in [*line, *here])]))
        _roots(axes.xaxis, 0.0, 1.0, "unverified synthetic part of the words (square-root scale)")
        axes.grid()
        _counts(axes.yaxis, "words")
        _legend(axes, 1 + bool(here) + len(marks))

    said = f"Most words under {len(line)} caps; the table beside it has every number."
    return _figure(name, title, said, lambda narrow: 3.2 if narrow else 3.0, draw)


def deviations(name: str, title: str, labels: Sequence[str], series: Sequence[Series], band: float) -> Markup:
    """A dot a row and series in standard deviations, None for unknown; what lies within the band is washed."""

    def draw(axes: Axes) -> None:
        axes.axvspan(-band, band, color=COLOURS["rule"], alpha=0.55, linewidth=0, label=f"within ±{band:g}")
        for at in (-band, 0, band):
            axes.axvline(at, color=COLOURS["quiet"], linewidth=0.8)
        for k, one in enumerate(series):
            shift = (k - (len(series) - 1) / 2) * 0.22
            known = [(v, i + shift) for i, v in enumerate(one.values) if v is not None]
            axes.plot(
                [v for v, _ in known],
                [y for _, y in known],
                "oDs"[k % 3],
                color=COLOURS[one.colour],
                label=one.name,
                markersize=6,
                linestyle="none",
            )
        _rows(axes, labels)
        furthest = max([2 * band, *(abs(v) for one in series for v in one.values if v is not None)])
        _symmetric(axes.xaxis, furthest, band)
        _legend(axes, len(series) + 1)

    said = f"z-scores of {len(labels)} measures; the table beside it has every number."
    return _figure(name, title, said, _height(len(labels), True, 0.42), draw)


def _roots(axis: Any, low: float, high: float, label: str) -> None:
    """A square-root scale of fractions: small parts stay apart and nothing stays nothing."""
    from matplotlib.ticker import FixedLocator, NullLocator

    axis.axes.set_xscale("function", functions=(_root, _square))
    axis.axes.set_xlim(low, min(1.02, 1.04 * high))
    ticks = [0.0, 0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0]
    apart = (0.17 if _is_narrow(axis.axes) else 0.05) * high**0.5  # nearer on the root's scale, two labels would touch
    shown: list[float] = []
    for tick in (t for t in ticks if t <= 1.04 * high):
        if not shown or tick**0.5 - shown[-1] ** 0.5 > apart:
            shown.append(tick)
    axis.set_major_locator(FixedLocator(shown))
    axis.set_minor_locator(NullLocator())
    _percent(axis, label)


def _root(values: Any) -> Any:
    return abs(values) ** 0.5


def _square(values: Any) -> Any:
    return values**2


def _symmetric(axis: Any, furthest: float, linear: float) -> None:
    """A scale linear about 0 and logarithmic beyond, the same to both sides."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    axis.axes.set_xscale("symlog", linthresh=linear, linscale=1.0)
    axis.axes.set_xlim(-1.2 * furthest, 1.2 * furthest)
    some = (3.0, 30.0, 300.0) if _is_narrow(axis.axes) else (1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)
    ticks = [0.0, *(t for t in some if t <= 1.2 * furthest)]
    axis.set_major_locator(FixedLocator([*(-t for t in reversed(ticks[1:])), *ticks]))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:+g}".replace("-", "−") if value else "0"))
    axis.set_label_text(_wrapped(axis.axes, _DEVIATIONS))


_DEVIATIONS: Final = "standard deviations of human text from itself (logarithmic beyond the band)"


def _height(rows: int, legend: bool, each: float = 0.3) -> Callable[[bool], float]:
    """Inches for so many rows, by whether the figure is narrow: then rows have their labels above them."""
    return lambda narrow: 0.7 + (each + 0.2 * narrow) * max(rows, 1) + (0.3 if legend else 0)


def _rows(axes: Axes, labels: Sequence[str]) -> None:
    """A label a row: beside it, or above it where the figure is narrow."""
    narrow, shown = _is_narrow(axes), [clipped(label) for label in labels]
    axes.set_yticks(range(len(labels)), ["" for _ in labels] if narrow else shown)
    axes.tick_params(axis="y", labelcolor=COLOURS["ink"])
    for i, label in enumerate(shown if narrow else []):
        axes.annotate(
            label, (0, i - 0.48), xycoords=("axes fraction", "data"), va="center", fontsize=9,
            bbox={"facecolor": COLOURS["paper"], "edgecolor": "none", "pad": 0.5},
        )  # fmt: skip
    axes.set_ylim(len(labels) - 0.4, -0.8 if narrow else -0.6)
    axes.grid(axis="x")


def _legend(axes: Axes, entries: int) -> None:
    """A legend above the figure where there is more than one thing to tell apart; the figure grows by its further lines."""
    if entries < 2:
        return
    handles, names = axes.get_legend_handles_labels()
    columns = _columns([len(str(name)) for name in names], *((2, 50) if _is_narrow(axes) else (5, 128)))
    labels = [_wrapped(axes, str(name)) for name in names]
    axes.figure.legend(handles, labels, loc="outside upper left", ncols=columns, handlelength=1.2)
    lines = -(-entries // columns) + sum(label.count("\n") for label in labels)
    figure = axes.get_figure()
    figure.set_figheight(figure.get_figheight() + 0.2 * (lines - 1))  # type: ignore[union-attr]


def _columns(lengths: Sequence[int], most: int, room: int) -> int:
    """In how many columns entries so long find room, counted in letters, seven of them for each column's mark."""
    for columns in range(min(most, len(lengths)), 1, -1):
        rows = -(-len(lengths) // columns)
        widths = (max(lengths[i : i + rows]) + 7 for i in range(0, len(lengths), rows))
        if sum(widths) <= room:
            return columns
    return 1


def _wrapped(axes: Axes, text: str) -> str:
    """A long text on as many lines as a narrow figure needs for it."""
    return "\n".join(textwrap.wrap(text, 40)) if _is_narrow(axes) else text


def _few(axis: Any) -> None:
    """As many ticks as a narrow figure has room for."""
    from matplotlib.ticker import MaxNLocator

    if _is_narrow(axis.axes) and axis.get_scale() == "linear":
        axis.set_major_locator(MaxNLocator(4))


def _counts(axis: Any, label: str) -> None:
    from matplotlib.ticker import FuncFormatter, NullLocator

    _few(axis)
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}" if value >= 1 or value == 0 else ""))
    axis.set_minor_locator(NullLocator())
    axis.set_label_text(_wrapped(axis.axes, label))


def _percent(axis: Any, label: str = "") -> None:
    from matplotlib.ticker import FuncFormatter

    _few(axis)
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.3g} %"))
    axis.set_label_text(_wrapped(axis.axes, label))
