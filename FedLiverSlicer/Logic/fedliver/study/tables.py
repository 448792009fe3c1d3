"""A study's results as files: a Markdown table, a CSV file, a plot. All of it from the rows; nothing typed by hand."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from fedliver.cases.case import Effort
from fedliver.evaluation.figures import Series, lines
from fedliver.evaluation.markdown import markdown_table
from fedliver.files import write_file, write_text
from fedliver.study.effort import GOAL, NOTHING, EffortRow, EffortSummary, summarise_effort
from fedliver.study.effort_rounds import RoundRow, RoundsStudy, as_efforts
from fedliver.study.labels import ARMS, SEMI_SUPERVISED, ArmRow, ArmSummary, LabelsStudy, summarise_arms
from fedliver.study.machine import machine
from fedliver.study.order import OrderRow, OrderStudy, OrderSummary, summarise_order
from fedliver.study.plots import Curve, curves

TARGET_GAP = 0.5
"""So much of the gap to all labels should be closed with a quarter of them."""
TARGET_SAVED = 0.8
"""So much of the work from nothing a teacher should save."""
_EFFORT_HEADERS = ("start", "images", "liver Dice before", "slices", "ml edited", "contour drawn, m", "slices saved", "ml saved", "contour saved")
_COUNTED = ("slices_touched", "slices", "ml_changed", "added_path_length_mm")


def write_effort(rows: Sequence[EffortRow], folder: Path, about: str) -> str:
    """``effort.md`` and ``effort.csv`` in ``folder``; returns the Markdown."""
    body = "\n\n".join([_effort_table(rows), *(_saved_enough(one) for one in summarise_effort(rows) if one.start != NOTHING)])
    text = _page("Correcting to a liver Dice of " + f"{GOAL:g}", _clinician(), body, about)
    write_text(folder / "effort.md", text)
    flat = [(row.image, row.start, row.dice, *_counts(row.effort)) for row in rows]
    write_text(folder / "effort.csv", _csv(("image", "start", "liver_dice", *_COUNTED), flat))
    return text


def write_rounds(rows: Sequence[RoundRow], study: RoundsStudy, folder: Path, about: str) -> str:
    """``rounds.md``, ``rounds.csv`` and ``rounds.png`` in ``folder``; returns the Markdown."""
    test, worked = [row for row in rows if row.site is None], [row for row in rows if row.site is not None]
    summary = summarise_effort(as_efforts(test, study.starter))[1:]
    body = [
        "## The same test patients, from the teacher after each round\n\nNo site ever had them.",
        _effort_table(as_efforts(test, study.starter)),
        f"From the starter to round {study.rounds}: {_fall(summary)}.",
        "![Work by rounds](rounds.png)",
        "## What the clinicians corrected as the rounds went\n\nNew patients before every round, each corrected once, from the teacher of the round before. "
        "Other patients stand in every line: compare what is saved, which is against the same patients from nothing.",
        _worked_table(worked, study.starter),
        f"{study.sites} sites with {study.cases_per_round} new patient{'s' if study.cases_per_round != 1 else ''} before every round; "
        f"{study.training.steps} training steps of "
        f"{study.training.batch_size} at each site in a round, on all that it has approved; {study.strategy.name}. Approved is what the clinician left, "
        f"not the truth. Seed {study.seed}.",
    ]
    text = _page("Does the work fall with the rounds?", _clinician(), "\n\n".join(body), about)
    write_text(folder / "rounds.md", text)
    flat = [(row.round, row.site and row.site + 1, row.image, row.dice, *_counts(row.effort), *_counts(row.from_nothing)) for row in rows]
    write_text(folder / "rounds.csv", _csv(("round", "site", "image", "liver_dice", *_COUNTED, *(f"{name}_from_nothing" for name in _COUNTED)), flat))
    measured = (("slices", "slices_saved"), ("ml", "ml_saved"), ("contour", "path_saved"))
    series = [Series(name, list(range(len(summary))), [100 * (getattr(one, field) or 0.0) for one in summary]) for name, field in measured]
    png = lines(series, title="Work saved on the test patients, against starting from nothing", x_label="Round (0: the starter)", y_label="Saved, %")
    write_file(folder / "rounds.png", lambda path: path.write_bytes(png))
    return text


def _clinician() -> str:
    return (
        f"A simulated clinician corrects whole axial slices, the worst first, until the liver's Dice is {GOAL:g}. Means over images; what is saved is against "
        f"starting {NOTHING}, of the sums. It finds the worst slice at once and corrects it perfectly: every count is a lower bound."
    )


def _effort_table(rows: Sequence[EffortRow]) -> str:
    return markdown_table(_EFFORT_HEADERS, [_effort_cells(one) for one in summarise_effort(rows)])


def _saved_enough(one: EffortSummary) -> str:
    """Whether the target is met, count by count."""
    saved = {"slices": one.slices_saved, "ml": one.ml_saved, "contour": one.path_saved}
    met = [name for name, part in saved.items() if part is not None and part >= TARGET_SAVED]
    missed = [name for name in saved if name not in met]
    told = [f"{word} for {' and '.join(names)}" for word, names in (("met", met), ("missed", missed)) if names]
    return f"{one.start}: the target of {_percent(TARGET_SAVED)} saved is {', '.join(told)}."


def _effort_cells(one: EffortSummary) -> tuple[str, ...]:
    saved = (_percent(value) for value in (one.slices_saved, one.ml_saved, one.path_saved))
    return (one.start, str(one.images), f"{one.dice:.3f}", f"{one.slices:.1f}", f"{one.ml:.1f}", f"{one.path_mm / 1000:.2f}", *saved)


def _worked_table(rows: Sequence[RoundRow], starter: str) -> str:
    """A line for each round: what was saved is against the very patients of that line."""
    of_round = [[row for row in rows if row.round == number] for number in sorted({row.round for row in rows})]
    return markdown_table(_EFFORT_HEADERS, [_effort_cells(summarise_effort(as_efforts(group, starter))[-1]) for group in of_round])


def _fall(summary: Sequence[EffortSummary]) -> str:
    first, last = summary[0], summary[-1]
    pairs = (("slices", first.slices, last.slices), ("ml", first.ml, last.ml), ("contour", first.path_mm, last.path_mm))
    return ", ".join(f"{name} {100 * (after / before - 1):+.0f} %" if before else f"{name} nothing left to save" for name, before, after in pairs)


def _counts(effort: Effort) -> tuple[float, ...]:
    return (effort.slices_touched, effort.slices, effort.ml_changed, effort.added_path_length_mm)


def write_labels(rows: Sequence[ArmRow], study: LabelsStudy, folder: Path, about: str) -> str:
    """``labels.md``, ``labels.csv`` and ``labels.png`` in ``folder``; returns the Markdown."""
    summary = summarise_arms(rows)
    most = max(one.labelled for one in summary)
    table = [
        (str(one.labelled), one.arm, str(one.runs), f"{one.mean:.4f}", _interval(one.interval), _signed(one.gain), _interval(one.gain_interval, signed=True))
        + (_percent(one.gap_closed),)
        for one in summary
    ]
    headers = ("labelled patients", "arm", "runs", "liver Dice", "95 % interval", "gain by scans without labels", "95 % interval", "gap closed")
    text = _page(
        "What scans without labels are worth",
        f"Liver Dice of patients nobody trained on; {most} patients to learn from, of whom so many are labelled. {_runs(study)} The gain is paired: the same "
        "seeds, the same labelled patients, the same test images. The gap closed is the part of the way from supervised with so few labels to supervised "
        "with all. Intervals are bootstraps over test images and seeds.",
        "\n\n".join([markdown_table(headers, table), *_quarter(summary, most), "![Liver Dice by labels](labels.png)"]),
        about,
    )
    write_text(folder / "labels.md", text)
    flat = [(row.seed, row.labelled, row.arm, image, value) for row in rows for image, value in row.dice.items()]
    write_text(folder / "labels.csv", _csv(("seed", "labelled", "arm", "image", "liver_dice"), flat))
    shown = []
    for arm in ARMS:
        # With all labels nothing is unlabelled: both lines end at the same point.
        mine = [one for one in summary if one.arm == arm or one.labelled == most]
        shown.append(Curve(arm, [one.labelled for one in mine], [one.mean for one in mine], [one.interval for one in mine]))
    png = curves(shown, "Liver Dice of patients nobody trained on, 95 % intervals", "Labelled patients", "Liver Dice")
    write_file(folder / "labels.png", lambda path: path.write_bytes(png))
    return text


def _runs(study: LabelsStudy) -> str:
    how = study.consistency
    return (
        f"Seeds 0 to {study.seeds - 1}; {study.steps} steps of {study.batch_size} in every arm, from the same weights, learning rate {study.learning_rate:g}. "
        f"Semi-supervised: {how.loss}, weight {how.weight:g}, where the teacher's entropy is under {how.sure:g} of the highest possible."
    )


def _quarter(summary: Sequence[ArmSummary], most: int) -> list[str]:
    """Whether the target is met, where a quarter of the patients was tried."""
    found = next((one for one in summary if one.arm == SEMI_SUPERVISED and 4 * one.labelled == most), None)
    if found is None or found.gap_closed is None:
        return []
    met = "is met" if found.gap_closed >= TARGET_GAP else "is missed"
    return [f"With a quarter of the labels, {_percent(found.gap_closed)} of the gap is closed: the target of {_percent(TARGET_GAP)} {met}."]


def write_order(rows: Sequence[OrderRow], study: OrderStudy, folder: Path, about: str) -> str:
    """``order.md``, ``order.csv`` and ``order.png`` in ``folder``; returns the Markdown."""
    summary = summarise_order(rows)
    headers = ("strategy", *(f"{number} approved" for number in summary[0].approved), f"cases to Dice {summary[0].goal:.3f}", "reached it")
    headers += ("against chance", "95 % interval")
    table = [
        (
            one.strategy,
            *(f"{value:.3f}" for value in one.dice),
            "–" if one.cases_to_goal is None else f"{one.cases_to_goal:.1f}",
            f"{one.reached} of {one.runs}",
            _signed(one.gain),
            _interval(one.gain_interval, signed=True),
        )
        for one in summary
    ]
    text = _page(
        "Which case to annotate next",
        f"Liver Dice of test patients after so many approved cases, mean over seeds 0 to {study.seeds - 1}; every training takes {study.steps} steps of "
        f"{study.batch_size} from the same weights, learning rate {study.learning_rate:g}. The goal is 98 % of what chance reaches with the most cases. "
        "Against chance: the mean difference from the second case on, paired by seed and test image; its interval is a bootstrap over them.",
        "\n\n".join([markdown_table(headers, table), *(f"{_of_chance(one)}" for one in summary if one.gain is not None), "![Dice by cases](order.png)"]),
        about,
    )
    write_text(folder / "order.md", text)
    flat = [(row.seed, row.strategy, row.approved, image, value) for row in rows for image, value in row.dice.items()]
    write_text(folder / "order.csv", _csv(("seed", "strategy", "approved", "image", "liver_dice"), flat))
    shown = [Curve(one.strategy, one.approved, one.dice, one.intervals) for one in summary]
    png = curves(shown, "Liver Dice of patients nobody trained on, 95 % intervals", "Approved cases", "Liver Dice")
    write_file(folder / "order.png", lambda path: path.write_bytes(png))
    return text


def _of_chance(one: OrderSummary) -> str:
    if one.gain_interval is None or one.gain_interval[0] <= 0 <= one.gain_interval[1]:
        return f"That {one.strategy} first is better or worse than chance is not shown here."
    return f"{one.strategy.capitalize()} first is {'better' if one.gain_interval[0] > 0 else 'worse'} than chance here."


def _page(title: str, lead: str, body: str, about: str) -> str:
    return f"# {title}\n\n{lead}\n\n{body}\n\n{about} Measured on {machine()}.\n"


def _interval(both: tuple[float, float] | None, signed: bool = False) -> str:
    form = "+.4f" if signed else ".4f"
    return "–" if both is None else f"{both[0]:{form}} to {both[1]:{form}}"


def _signed(value: float | None) -> str:
    return "–" if value is None else f"{value:+.4f}"


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.0f} %"


def _csv(headers: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(headers)
    writer.writerows(rows)
    return stream.getvalue()
