"""Figures over records, in colours that stay apart for every eye and in greyscale."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from cimlab.records.record import RunRecord

# Okabe and Ito's palette (2008): apart for all common forms of colour blindness; grey in place of its yellow, which
# a thin line on paper loses
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#7F7F7F")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*", "h", "p")
ORDER = (
    "weight", "column_segment", "row_segment", "balanced_segment", "operation_unit", "pattern", "kernel",
    "array_row", "array_column", "channel", "filter", "crossbar", "block",
)  # fmt: skip


def granularity_style(name: str) -> dict[str, str]:
    """The same colour, line and marker for a granularity in every figure; no two granularities share all three."""
    place = ORDER.index(name) if name in ORDER else len(ORDER)
    return {
        "color": PALETTE[place % len(PALETTE)],
        "linestyle": "-" if place < len(PALETTE) else "--",
        "marker": MARKERS[place % len(MARKERS)],
    }


def accuracy_figure(records: list[RunRecord], path: Path) -> Path:
    """Retrained test accuracy against weights left, and against operation-unit steps left; one line a granularity.

    Points are means over seeds; bars are their range.

    Raises:
        ValueError: there are no records.
    """
    if not records:
        raise ValueError(f"no records to draw {path.name} from; train first, or name another folder")
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, (by_weights, by_steps) = plt.subplots(1, 2, figsize=(10, 4), sharey=True, layout="constrained")
    by_granularity: dict[str, list[RunRecord]] = defaultdict(list)
    for record in records:
        by_granularity[record.choices["granularity"]].append(record)
    for name in sorted(by_granularity, key=lambda n: (ORDER.index(n) if n in ORDER else len(ORDER), n)):
        group = by_granularity[name]
        _line(by_weights, group, lambda r: r.weights["remaining_all"], name)
        _line(by_steps, group, lambda r: r.hardware["ratio"]["steps"], name)
    dense = sorted({r.accuracy["dense"]["test"] for r in records})
    for axes, label in ((by_weights, "weights left (%)"), (by_steps, "operation-unit steps left (%)")):
        axes.axhspan(100 * dense[0], 100 * dense[-1], color="0.6", lw=1.2, zorder=0, label="dense")
        axes.set_xlabel(label)
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    by_weights.set_ylabel("test accuracy after retraining (%)")
    by_steps.legend(frameon=False, fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
    plt.close(figure)
    return path


def _line(axes, group: list[RunRecord], x_of, name: str) -> None:
    by_budget: dict[float, list[RunRecord]] = defaultdict(list)
    for record in group:
        by_budget[record.config["prune"]["remaining"]].append(record)
    points = []
    for runs in by_budget.values():
        heights = [100 * r.accuracy["retrained"]["test"] for r in runs]
        mean = sum(heights) / len(heights)
        points.append(
            (100 * sum(map(x_of, runs)) / len(runs), mean, mean - min(heights), max(heights) - mean)
        )
    x, y, low, high = zip(*sorted(points), strict=True)
    axes.errorbar(x, y, yerr=(low, high), label=name, capsize=2, lw=1.2, ms=5, **granularity_style(name))


def front_figure(
    points: list[tuple[float, float]], front: list[tuple[float, float]], labels: tuple[str, str], path: Path
) -> Path:
    """All trials of a search, and a line through those that no other beats in both objectives."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(5.5, 4), layout="constrained")
    axes.plot(*zip(*points, strict=True), "o", color="0.7", ms=4, label="trials")
    axes.plot(*zip(*sorted(front), strict=True), "o-", color=PALETTE[0], ms=5, lw=1.2, label="Pareto front")
    axes.set_xlabel(labels[0])
    axes.set_ylabel(labels[1])
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
    plt.close(figure)
    return path
