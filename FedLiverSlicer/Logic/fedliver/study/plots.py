"""A study's plot: means with their intervals against a number of patients."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fedliver.evaluation.figures import BLUE, ORANGE, VERMILION, as_png, tidy

_STYLES = ((BLUE, "o", "-"), (ORANGE, "s", "--"), (VERMILION, "^", ":"))


@dataclass(frozen=True)
class Curve:
    """One line; an interval is None where nothing can be told."""

    name: str
    x: Sequence[int]
    means: Sequence[float]
    intervals: Sequence[tuple[float, float] | None]


def curves(shown: Sequence[Curve], title: str, x_label: str, y_label: str) -> bytes:
    """As PNG. The lines stand a little beside each other, so that no interval hides another."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(7.5, 3.9), facecolor="white", layout="constrained")
    axes = figure.subplots()
    width = max((max(one.x) for one in shown if one.x), default=1)
    for number, one in enumerate(shown):
        colour, marker, dashes = _STYLES[number % len(_STYLES)]
        x = np.asarray(one.x, dtype=float) + 0.006 * width * (number - (len(shown) - 1) / 2)
        bars = np.array([(0.0, 0.0) if both is None else (mean - both[0], both[1] - mean) for mean, both in zip(one.means, one.intervals, strict=True)])
        axes.errorbar(
            x, one.means, np.abs(bars.reshape(-1, 2).T), color=colour, marker=marker, linestyle=dashes, markersize=6, linewidth=2, capsize=4, label=one.name
        )
    axes.set_title(title, fontsize=13, loc="left", fontweight="bold")
    axes.set_xlabel(x_label, fontsize=12)
    axes.set_ylabel(y_label, fontsize=12)
    axes.tick_params(labelsize=11)
    tidy(axes)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(fontsize=11, frameon=False, loc="lower right")
    return as_png(figure)
