"""The figures as one picture: each ratio as a multiple of its budget; right of 1 is good."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.stand import Figure


def draw_plot(figures: Sequence[Figure], path: Path) -> None:
    """Write a PNG: one bar for each figure that has a budget."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    judged = [figure for figure in figures if figure.budget is not None]
    if not judged:
        return
    ratios = []
    for figure in judged:
        measured = figure.value if figure.ratio is None else figure.ratio
        ratios.append(figure.budget / measured if figure.is_ceiling else measured / figure.budget)  # type: ignore[operator]
    canvas, axes = pyplot.subplots(figsize=(9, 0.6 * len(judged) + 1.2))
    colours = ["#2a7f62" if ratio >= 1 else "#b5483a" for ratio in ratios]
    axes.barh([figure.name for figure in judged], ratios, color=colours)
    axes.axvline(1.0, color="black", linewidth=1)
    for place, (figure, ratio) in enumerate(zip(judged, ratios, strict=True)):
        axes.text(ratio, place, f" {figure.value:,.0f} {figure.unit}", va="center")
    axes.invert_yaxis()
    axes.set_xlim(0, max(ratios) * 1.25)
    axes.set_xlabel("times its budget (further right is better; the line is the budget)")
    canvas.tight_layout()
    canvas.savefig(path, dpi=120)
    pyplot.close(canvas)
