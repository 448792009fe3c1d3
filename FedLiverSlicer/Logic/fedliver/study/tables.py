"""A study's results as files: a Markdown table, a CSV file, a plot. All of it from the rows; nothing typed by hand."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from fedliver.evaluation.figures import Series, lines
from fedliver.evaluation.markdown import markdown_table
from fedliver.files import write_file, write_text
from fedliver.study.effort import GOAL, NOTHING, EffortRow, summarise_effort
from fedliver.study.labels import ARMS, SEMI_SUPERVISED, ArmRow, LabelsStudy, summarise_arms
from fedliver.study.machine import machine
from fedliver.study.order import OrderRow, OrderStudy, summarise_order


def write_effort(rows: Sequence[EffortRow], folder: Path, about: str) -> str:
    """``effort.md`` and ``effort.csv`` in ``folder``; returns the Markdown."""
    folder.mkdir(parents=True, exist_ok=True)
    table = [
        (
            one.start,
            str(one.images),
            f"{one.dice:.3f}",
            f"{one.slices:.1f}",
            f"{one.ml:.1f}",
            f"{one.path_mm / 1000:.2f}",
            *(_percent(value) for value in (one.slices_saved, one.ml_saved, one.path_saved)),
        )
        for one in summarise_effort(rows)
    ]
    headers = ("start", "images", "liver Dice before", "slices", "ml edited", "contour drawn, m", "slices saved", "ml saved", "contour saved")
    text = _page(
        "Correcting to a liver Dice of " + f"{GOAL:g}",
        f"A simulated clinician corrects whole axial slices, the worst first, until the liver's Dice is {GOAL:g}. Means over images; what is saved is against "
        f"starting {NOTHING}, of the sums. It finds the worst slice at once and corrects it perfectly: every count is a lower bound.",
        markdown_table(headers, table),
        about,
    )
    write_text(folder / "effort.md", text)
    flat = [
        (row.image, row.start, row.dice, row.effort.slices_touched, row.effort.slices, row.effort.ml_changed, row.effort.added_path_length_mm) for row in rows
    ]
    write_text(folder / "effort.csv", _csv(("image", "start", "liver_dice", "slices_touched", "slices", "ml_changed", "added_path_length_mm"), flat))
    return text


def write_labels(rows: Sequence[ArmRow], study: LabelsStudy, folder: Path, about: str) -> str:
    """``labels.md``, ``labels.csv`` and ``labels.png`` in ``folder``; returns the Markdown."""
    folder.mkdir(parents=True, exist_ok=True)
    summary = summarise_arms(rows)
    table = [
        (str(one.labelled), one.arm, str(one.runs), f"{one.mean:.4f}", "–" if one.low is None else f"{one.low:.4f} to {one.high:.4f}", _percent(one.gap_closed))
        for one in summary
    ]
    text = _page(
        "What scans without labels are worth",
        f"Liver Dice of patients nobody trained on. {study.seeds} seeds; {study.steps} steps of {study.batch_size} in every arm, from the same weights. "
        "The gap closed is the part of the way from supervised with so few labels to supervised with all. The interval is a bootstrap over test images "
        "and seeds.",
        markdown_table(("labelled patients", "arm", "runs", "liver Dice", "95 % interval", "gap closed"), table) + "\n\n![Liver Dice by labels](labels.png)",
        about,
    )
    write_text(folder / "labels.md", text)
    flat = [(row.seed, row.labelled, row.arm, image, value) for row in rows for image, value in row.dice.items()]
    write_text(folder / "labels.csv", _csv(("seed", "labelled", "arm", "image", "liver_dice"), flat))
    series = [Series(arm, [one.labelled for one in summary if one.arm == arm], [one.mean for one in summary if one.arm == arm]) for arm in ARMS]
    if len(series[ARMS.index(SEMI_SUPERVISED)].x):
        # With all labels there is nothing unlabelled: both lines end at the same point.
        last = max(summary, key=lambda one: one.labelled)
        series[1] = Series(SEMI_SUPERVISED, [*series[1].x, last.labelled], [*series[1].y, last.mean])
    png = lines(series, title="Liver Dice of patients nobody trained on", x_label="Labelled patients")
    write_file(folder / "labels.png", lambda path: path.write_bytes(png))
    return text


def write_order(rows: Sequence[OrderRow], study: OrderStudy, folder: Path, about: str) -> str:
    """``order.md``, ``order.csv`` and ``order.png`` in ``folder``; returns the Markdown."""
    folder.mkdir(parents=True, exist_ok=True)
    summary = summarise_order(rows)
    headers = ("strategy", *(f"{number} approved" for number in summary[0].approved), f"cases to Dice {summary[0].goal:.3f}", "reached it")
    table = [
        (
            one.strategy,
            *(f"{value:.3f}" for value in one.dice),
            "–" if one.cases_to_goal is None else f"{one.cases_to_goal:.1f}",
            f"{one.reached} of {one.runs}",
        )
        for one in summary
    ]
    text = _page(
        "Which case to annotate next",
        f"Liver Dice of test patients after so many approved cases, mean over {study.seeds} seeds; every training takes {study.steps} steps from the same "
        "weights. The goal is 98 % of what chance reaches with the most cases.",
        markdown_table(headers, table) + "\n\n![Liver Dice by approved cases](order.png)",
        about,
    )
    write_text(folder / "order.md", text)
    flat = [(row.seed, row.strategy, row.approved, image, value) for row in rows for image, value in row.dice.items()]
    write_text(folder / "order.csv", _csv(("seed", "strategy", "approved", "image", "liver_dice"), flat))
    series = [Series(one.strategy, list(one.approved), list(one.dice)) for one in summary]
    png = lines(series, title="Liver Dice of patients nobody trained on", x_label="Approved cases")
    write_file(folder / "order.png", lambda path: path.write_bytes(png))
    return text


def _page(title: str, lead: str, body: str, about: str) -> str:
    return f"# {title}\n\n{lead}\n\n{body}\n\n{about} Measured on {machine()}.\n"


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.0f} %"


def _csv(headers: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(headers)
    writer.writerows(rows)
    return stream.getvalue()
