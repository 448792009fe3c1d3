"""A study's pictures: learning curves, score against the number of sites, what every site gains."""

from collections.abc import Sequence

import numpy as np

from fedliver.evaluation.figures import BLUE, ORANGE, VERMILION, Series, as_png, lines, tidy
from fedliver.study.federated.comparison import ArmSummary, SiteGain, common_seeds, of_seeds
from fedliver.study.federated.measures import value_name
from fedliver.study.federated.tables import words
from fedliver.study.federated.task import Arm, Task

_MOST_LINES = 7


def learning_curves(task: Task, summaries: Sequence[ArmSummary], shared: bool) -> bytes | None:
    """Centralised, alone and the federations of equal sizes, round by round, means over seeds; those with shared steps, or the others.

    None where there is no federation of that kind.
    """
    of_kind = [one for one in summaries if _plain(one.arm) and one.arm.division == "balanced"]
    shown = [one for one in of_kind if one.arm.way == "centralised" or one.arm.steps_shared is shared][:_MOST_LINES]
    series, seeds = [], common_seeds(one.results for one in shown)
    if len(shown) < 2 or not seeds:
        return None
    for one in shown:
        rounds = [point.round for point in one.results[0].curve]
        scores = np.mean([[point.score for point in result.curve] for result in of_seeds(one.results, seeds)], axis=0)
        series.append(Series(words(one.arm).replace(", equal sizes", ""), rounds, [float(score) for score in scores]))
    return lines(series, title="Learning curves", x_label="Round (all arms are scored as often)", y_label=_label(task))


def score_by_clients(task: Task, summaries: Sequence[ArmSummary], shared: bool) -> bytes | None:
    """Score against the number of sites, for every way of dividing the patients that was tried with several numbers; None where none was.

    The arms with shared steps, or the others.
    """
    by_division: dict[str, list[ArmSummary]] = {}
    for one in summaries:
        if _plain(one.arm) and one.arm.way == "federated" and one.arm.steps_shared is shared:
            by_division.setdefault(words(one.arm).split(", ", 2)[2], []).append(one)
    groups = {name: group for name, group in by_division.items() if len({one.arm.clients for one in group}) > 1}
    clients = sorted({one.arm.clients for group in groups.values() for one in group})
    pooled = [one for one in summaries if one.arm.way == "centralised"]
    seeds = common_seeds(one.results for one in [*pooled, *(one for group in groups.values() for one in group)])
    if not groups or not seeds:
        return None

    def value(one: ArmSummary) -> float:
        return float(np.mean([result.value for result in of_seeds(one.results, seeds)]))

    series = [Series("centralised", clients, [value(one)] * len(clients)) for one in pooled]
    for name, group in groups.items():
        ordered = sorted(group, key=lambda one: one.arm.clients)
        series.append(Series(f"federated, {name}", [one.arm.clients for one in ordered], [value(one) for one in ordered]))
    return lines(series[:_MOST_LINES], title=f"{value_name(task).capitalize()} by number of sites", x_label="Sites", y_label=_label(task))


def differences(task: Task, summaries: Sequence[ArmSummary], shared: bool) -> bytes | None:
    """The arms' differences to centralised with their intervals, and the target; those with shared steps, or the others. None where there is none."""
    from matplotlib.figure import Figure

    shown = [one for one in summaries if one.difference is not None and one.arm.steps_shared is shared][::-1]
    if not shown:
        return None
    figure = Figure(figsize=(9.5, 1.3 + 0.38 * len(shown)), facecolor="white", layout="constrained")
    axes = figure.subplots()
    axes.axvline(0, color="black", linewidth=1)
    axes.axvspan(-task.target, 0, color="#d9e8f2", label=f"within {task.target:g} of centralised")
    for row, one in enumerate(shown):
        found = one.difference
        if found is None:
            continue
        colour = ORANGE if one.arm.way == "alone" else BLUE if one.within else VERMILION
        if found.low is not None and found.high is not None:
            axes.plot([found.low, found.high], [row, row], color=colour, linewidth=2.5)
        axes.plot(found.mean, row, "o", color=colour, markersize=7)
    axes.set_yticks(range(len(shown)), [words(one.arm) for one in shown], fontsize=10)
    axes.set_xlabel(f"{value_name(task)}, difference to centralised", fontsize=11)
    axes.legend(loc="upper left", fontsize=9, frameon=False, bbox_to_anchor=(0, 1.0 + 0.5 / len(shown)), ncols=2)
    tidy(axes, "x")
    return as_png(figure)


def site_gains(task: Task, gains: Sequence[SiteGain], arms: Sequence[Arm]) -> bytes | None:
    """What every site gains over staying alone, the smallest site first; None without such arms."""
    from matplotlib.figure import Figure

    names = [arm.name for arm in arms if any(one.arm == arm.name for one in gains) and _plain(arm)]
    if not names:
        return None
    of = {arm.name: words(arm) for arm in arms}
    figure = Figure(figsize=(9.5, 0.5 + 2.9 * len(names)), facecolor="white", layout="constrained")
    for axes, name in zip(np.atleast_1d(figure.subplots(len(names), 1)), names, strict=True):
        mine = sorted((one for one in gains if one.arm == name), key=lambda one: (one.images, one.seed))
        for place, one in enumerate(mine):
            axes.bar(place, one.gain.mean, color=BLUE if one.gain.mean > 0 else VERMILION)
            if one.gain.low is not None and one.gain.high is not None:
                axes.plot([place, place], [one.gain.low, one.gain.high], color="black", linewidth=1.2)
        axes.set_xticks(range(len(mine)), [f"{one.images}" for one in mine], fontsize=9)
        axes.axhline(0, color="black", linewidth=1)
        axes.set_title(f"Gain over staying alone: {of[name]}", fontsize=12, loc="left", fontweight="bold")
        axes.set_ylabel(f"{value_name(task)}, gain", fontsize=11)
        axes.set_xlabel("one bar for every site and seed: its training images", fontsize=10)
        tidy(axes, "y")
    return as_png(figure)


def _plain(arm: Arm) -> bool:
    """FedAvg with nothing added, and all sites at work."""
    return arm.strategy.name == "fedavg" and not (arm.compressed or arm.privacy or arm.active)


def _label(task: Task) -> str:
    return "Accuracy" if task.kind == "classification" else "Dice, mean of structures"
