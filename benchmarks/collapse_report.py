"""What `collapse.py` found: a table, what was to be shown and whether it was, a plot."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

Row = dict[str, Any]

# curves: the product's two in strong colours, the peers' in the same two tones but thin, what bounds them in grey
STYLES: Final = {
    "oracle": ("#222222", "-", 2.4), "replace": ("#b0b0b0", "-", 1.6), "uncurated": ("#8a8a8a", "--", 2.0),
    "hard cut, frozen": ("#d95f02", ":", 2.0), "hard cut, refreshed": ("#e6a35c", "-.", 1.8),
    "curator, frozen": ("#7fb3d5", "-", 2.2), "curator, refreshed": ("#08519c", "-", 2.8),
}  # fmt: skip
MEASURES: Final = {"perplexity": "held-out human perplexity", "rare": "rare-word perplexity"}


def means(rows: Sequence[Row], arm: str, generation: int, name: str) -> float | None:
    """The mean of a figure over seeds; None where no row has it."""
    found = [row[name] for row in rows if row.get("arm") == arm and row["generation"] == generation and name in row]
    return float(np.mean(found)) if found else None


def spread(rows: Sequence[Row], arm: str, generation: int, name: str) -> float:
    """Standard deviation of a figure over seeds."""
    found = [row[name] for row in rows if row.get("arm") == arm and row["generation"] == generation and name in row]
    return float(np.std(found, ddof=1)) if len(found) > 1 else 0.0


def closed(rows: Sequence[Row], arm: str, generation: int, name: str) -> float:
    """Part of the gap between uncurated and oracle that an arm closes, of the means over seeds."""
    worst, best, own = (float(means(rows, a, generation, name) or np.nan) for a in ("uncurated", "oracle", arm))
    return (worst - own) / (worst - best)


def retention(rows: Sequence[Row], arm: str, last: int) -> np.ndarray[Any, Any]:
    """Part of each domain's human tokens that the arm trained on, in the first generations, all seeds together.  # [domains]"""
    own = [row for row in rows if row.get("arm") == arm and 1 <= row["generation"] <= last]
    crawl, kept = (np.sum([row[name] for row in own], axis=0) for name in ("crawl_tokens", "kept_tokens"))
    return np.asarray(kept[crawl > 0] / crawl[crawl > 0])


def write_report(rows: Sequence[Row], settings: Row, out: Path) -> str:
    """Write result.json, collapse.md and collapse.png; return the text."""
    arms = [row for row in rows if row["kind"] == "arm"]
    told = [row for row in rows if row["kind"] == "share"]
    last = max(row["generation"] for row in arms)
    names = list(dict.fromkeys(row["arm"] for row in arms if row["generation"]))
    figures = {
        "targets": targets(arms, told, names, last),
        "retention_p5": {arm: float(np.quantile(retention(arms, arm, min(2, last)), 0.05)) for arm in names},
    }
    text = "\n".join([*_table(arms, names, last), "", *_shares(arms, told, names), "", *_retained(figures), "",
                      *_shown(figures["targets"]), "", _said(settings), ""])  # fmt: skip
    (out / "collapse.md").write_text(text, "utf-8")
    result = {"settings": settings, **figures, "rows": list(rows)}
    (out / "result.json").write_text(json.dumps(result, indent=1), "utf-8")
    plot(arms, last, out / "collapse.png")
    return text


def _table(rows: Sequence[Row], names: Sequence[str], last: int) -> list[str]:
    lines = [
        f"| arm | perplexity after 1 | after {last} | rare-word, after {last} | gap closed, least of {last} generations (rare-word) | synthetic in the training text, most |",
        "|---|---|---|---|---|---|",
    ]
    for arm in names:
        own = [row for row in rows if row["arm"] == arm]
        if max(row["generation"] for row in own) < last:
            continue
        first, final, rare = (
            means(rows, arm, g, n) for g, n in ((1, "perplexity"), (last, "perplexity"), (last, "rare"))
        )
        least = [min(closed(rows, arm, g, n) for g in range(1, last + 1)) for n in MEASURES]
        gap = f"{least[0]:.2f} ({least[1]:.2f})" if arm not in ("oracle", "uncurated", "replace") else ""
        most = max(row["synthetic"] for row in own if row["generation"])
        off = spread(rows, arm, last, "perplexity")
        lines.append(f"| {arm} | {first:.0f} | {final:.0f} ± {off:.1f} | {rare:.0f} | {gap} | {most:.0%} |")
    return lines


def _shares(arms: Sequence[Row], told: Sequence[Row], names: Sequence[str]) -> list[str]:
    lines = [
        "| synthetic share of a crawl | estimate | its 95 % interval | error, largest of the seeds |",
        "|---|---|---|---|",
    ]
    for share in sorted({row["contamination"] for row in told}):
        own = [row for row in told if row["contamination"] == share]
        error = max((abs((row["share"] or 0.0) - row["truth"]) if row["share"] is not None else 1.0) for row in own)
        mean = [float(np.mean([row[name] if row[name] is not None else np.nan for row in own])) for name in ("truth", "share", "low", "high")]  # fmt: skip
        lines.append(f"| {mean[0]:.2f} | {mean[1]:.3f} | {mean[2]:.2f} to {mean[3]:.2f} | {error:.3f} |")
    lines += ["", "| curated mixture | true synthetic share | estimate | published bound |", "|---|---|---|---|"]
    for arm in (name for name in names if name.startswith("curator")):
        own = [row["mixture"] for row in arms if row["arm"] == arm and "mixture" in row]
        if own:
            cells = [_range([part[name] for part in own]) for name in ("truth", "share", "high")]
            lines.append(f"| {arm} | {cells[0]} | {cells[1]} | {cells[2]} |")
    return lines


def _range(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    return f"{min(known):.3f} to {max(known):.3f}" if known else "not told"


def _retained(figures: Row) -> list[str]:
    lines = [
        "| arm | part of a domain's human text that is trained on, fifth percentile of domains, first two generations |",
        "|---|---|",
    ]
    return lines + [
        f"| {arm} | {value:.3f} |" for arm, value in figures["retention_p5"].items() if "cut" in arm or "curator" in arm
    ]


def targets(rows: Sequence[Row], told: Sequence[Row], names: Sequence[str], last: int) -> list[Row]:
    """What was to be shown, what was found, and whether it is met."""
    final = {arm: means(rows, arm, last, "perplexity") or np.nan for arm in names}
    found = [
        _target("uncurated / oracle, last generation", final["uncurated"] / final["oracle"], 1.15),
        _target("replace / oracle, last generation", final["replace"] / final["oracle"], 2.0),
    ]
    for arm, least in (("curator, refreshed", 0.85), ("curator, frozen", 0.70)):
        for name, words in MEASURES.items():
            gaps = [closed(rows, arm, g, name) for g in range(1, last + 1)]
            found.append(_target(f"{arm}: least gap closed, {words}", min(gaps), least))
            if arm == "curator, refreshed" and last > 2:
                slope = float(np.polyfit(np.arange(last), gaps, 1)[0])
                found.append(_target(f"{arm}: trend of the gap closed a generation, {words}", slope, -0.01))
    bounds = [row["mixture"]["high"] - row["mixture"]["truth"] for row in rows if row.get("mixture", {}).get("high") is not None]  # fmt: skip
    found.append(
        _target("published bound - true synthetic share of a mixture, least", min(bounds, default=np.nan), 0.0)
    )
    errors = [abs(row["share"] - row["truth"]) if row["share"] is not None else 1.0 for row in told]
    found.append(_target("share estimate, largest error", max(errors, default=np.nan), 0.05, most=True))
    if "curator, biased" in names:
        p5 = {arm: float(np.quantile(retention(rows, arm, 2), 0.05)) for arm in ("curator, biased", "hard cut, biased")}
        ratio = p5["curator, biased"] / max(p5["hard cut, biased"], 1e-9)
        found.append(_target("biased detector: p5 of retention, curator / hard cut", ratio, 10.0))
    return found


def _target(what: str, value: float, limit: float, most: bool = False) -> Row:
    met = bool(value <= limit if most else value >= limit)
    return {"what": what, "found": value, "target": limit, "at_most": most, "met": met}


def _shown(found: Sequence[Row]) -> list[str]:
    lines = ["| to show | target | found | |", "|---|---|---|---|"]
    for row in found:
        sign = "at most" if row["at_most"] else "at least"
        lines.append(
            f"| {row['what']} | {sign} {row['target']:g} | {row['found']:.3g} | {'met' if row['met'] else '**not met**'} |"
        )
    return lines


def _said(settings: Row) -> str:
    return (
        f"Contamination {settings['contamination']:g}, {settings['generations']} generations, {settings['seeds']} seeds, "
        f"{settings['crawl']:,} human documents a crawl, snapshot {settings['snapshot']:,}; {settings['minutes']} minutes."
    )


def plot(rows: Sequence[Row], last: int, path: Path) -> None:
    """Perplexities by generation, a curve an arm; `replace` leaves the frame, its end stands beside it."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    plt.rcParams.update({"font.size": 13, "axes.spines.top": False, "axes.spines.right": False})
    figure, axes = plt.subplots(1, 2, figsize=(11, 5.4), facecolor="white")
    for axis, (name, words) in zip(axes, MEASURES.items(), strict=True):
        top = 0.0
        for arm, (colour, line, width) in STYLES.items():
            at = [g for g in range(last + 1) if means(rows, arm if g else "all", g, name) is not None]
            y = [means(rows, arm if g else "all", g, name) or np.nan for g in at]
            axis.plot(at, y, line, color=colour, linewidth=width, label=arm)
            top = top if arm == "replace" else max(top, *y)
        low = min(means(rows, "oracle", g, name) or np.inf for g in range(1, last + 1))
        axis.set_ylim(low - 0.12 * (top - low), top + 0.15 * (top - low))
        axis.set_title(words, fontsize=14)
        axis.set_xlabel("generation")
        axis.set_xticks(range(last + 1))
        axis.grid(axis="y", color="#e5e5e5")
    end = [means(rows, "replace", last, name) for name in MEASURES]
    for axis, value in zip(axes, end, strict=True):
        axis.text(0.98, 0.97, f"replace leaves the frame: {value:.0f} at the end", transform=axis.transAxes, va="top", ha="right", color="#777777", fontsize=11)  # fmt: skip
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncol=4, frameon=False, fontsize=12.5)
    figure.tight_layout(rect=(0, 0.13, 1, 1))
    figure.savefig(path, dpi=150)
    plt.close(figure)
