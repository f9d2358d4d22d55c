"""The figures of a proof as one picture."""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Rows = Sequence[Mapping[str, Any]]

_COLOURS: Final = {"mixture": "#1b6e8c", "random": "#c8553d", "crawl part": "#6fb1a0", "reference": "#6b7280"}
_NAMES: Final = {
    "mixture": "mixture", "random": "random sample of the input", "crawl part": "mixture without the snapshot",
    "reference": "reference",
}  # fmt: skip
_STYLE: Final[dict[Any, Any]] = {
    "font.size": 10, "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "axes.axisbelow": True,
    "axes.grid.axis": "y", "grid.color": "#e5e7eb", "axes.edgecolor": "#9ca3af", "axes.titlesize": 10,
    "axes.titlelocation": "left", "text.parse_math": False, "legend.frameon": False,
}  # fmt: skip


def picture(summary: Rows, figures: Rows) -> bytes:
    """Both perplexities before and after one generation, and the rare words that each model still writes, as a PNG.

    summary: one row an arm.  figures: one row an arm and seed.
    """
    import matplotlib  # loaded by whoever draws: the command line imports this module for every command

    with matplotlib.rc_context(), warnings.catch_warnings():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        from matplotlib.figure import Figure

        figure = Figure(figsize=(10.5, 3.8), layout="constrained", dpi=120)
        left, middle, right = figure.subplots(1, 3)
        _lines(left, summary, figures, "perplexity", "Held-out human text, perplexity")
        _lines(middle, summary, figures, "rare_word_perplexity", "Its rare words, perplexity")
        _recall(right, summary)
        handles, names = left.get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=len(names), title="model trained on")
        out = io.BytesIO()
        figure.savefig(out, format="png", metadata={"Software": None})
    return out.getvalue()


def _lines(axes: Axes, summary: Rows, figures: Rows, name: str, title: str) -> None:
    """One arm a line, from the model of real text to the one a generation on; a dot a seed."""
    for row in summary:
        means = [row[name], row[f"{name}_after"]]
        if None in means:
            continue
        colour, arm = _COLOURS[row["arm"]], row["arm"]
        line = "--" if arm == "reference" else "-"  # the mixture's may lie under it
        axes.plot([0, 1], means, line, color=colour, linewidth=2, label=_NAMES[arm])
        for x, key in enumerate((name, f"{name}_after")):
            seeds = [one[key] for one in figures if one["arm"] == arm]
            axes.plot([x] * len(seeds), seeds, "o", color=colour, markersize=4, alpha=0.6)
    axes.set_xticks([0, 1], ["real text", "a generation on"])
    axes.set_xlim(-0.35, 1.35)
    axes.set_title(title)


def _recall(axes: Axes, summary: Rows) -> None:
    """One arm a bar: part of the held-out text's rare words that its models still write."""
    rows = [row for row in summary if row["tail_recall"] is not None]
    heights = [100 * row["tail_recall"] for row in rows]
    axes.bar(range(len(rows)), heights, 0.6, color=[_COLOURS[row["arm"]] for row in rows])
    for i, height in enumerate(heights):
        axes.annotate(f"{height:.1f} %", (i, height), (0, 3), textcoords="offset points", ha="center", fontsize=9)
    axes.set_xticks(range(len(rows)), [row["arm"].replace(" ", "\n") for row in rows])
    axes.set_title("Tail words it still writes, %")
