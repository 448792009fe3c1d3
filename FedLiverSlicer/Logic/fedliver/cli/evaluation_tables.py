"""How scores look on the screen."""

from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from fedliver.datasets.evaluation import DatasetScores
    from fedliver.evaluation.metrics import Scores
    from fedliver.evaluation.summary import ImageScores

_WIDE = 150  # a file or a pipe has no width: do not fold there


def _text(value: float | None, form: str = "{:.3f}") -> str:
    return "–" if value is None else form.format(value)


def wide_console() -> Console:
    """The terminal as it is; a file or a pipe as wide as the tables need."""
    console = Console()
    return console if console.is_terminal else Console(width=_WIDE)


def _table(*headings: str) -> Table:
    table = Table(box=None, pad_edge=False)
    for number, heading in enumerate(headings):
        table.add_column(heading, justify="right" if number else "left", no_wrap=bool(number))
    return table


def print_scores(scores: "Scores") -> None:
    """One segmentation against one reference."""
    table = _table("", "Liver", "Tumour")
    rows = (
        ("Dice", "dice", "{:.3f}"),
        ("HD95 (mm)", "hd95_mm", "{:.1f}"),
        ("NSD at 2 mm", "nsd", "{:.3f}"),
        ("Sensitivity", "sensitivity", "{:.3f}"),
        ("Specificity", "specificity", "{:.4f}"),
        ("Precision", "precision", "{:.3f}"),
        ("F1", "f1", "{:.3f}"),
        ("Volume (ml)", "prediction_ml", "{:.1f}"),
        ("Reference volume (ml)", "reference_ml", "{:.1f}"),
        ("Volume error (%)", "volume_error_percent", "{:+.1f}"),
    )
    for name, field, form in rows:
        table.add_row(name, *(_text(getattr(structure, field), form) for structure in (scores.liver, scores.tumour)))
    console = wide_console()
    console.print(table)
    lesions = scores.lesions
    console.print(f"Tumours of 15 mm or more: {lesions.reference_found} of {lesions.reference} found (recall {_text(lesions.recall)}); ", end="")
    console.print(f"{lesions.prediction_true} of {lesions.prediction} shown are true (precision {_text(lesions.precision)}).", soft_wrap=True)


def print_dataset_scores(scores: "DatasetScores") -> None:
    """A row per image, then mean, interval and worst of every score."""
    console = wide_console()
    rows = _table("Image", "Dice", "HD95", "NSD", "Vol. %", "Sens.", "Spec.", "F1", "Tumour", "Found", "True", "s")
    for one in scores.images:
        rows.add_row(escape(one.name), *_row(one))
    console.print(rows)
    console.print("Found: lesions of 15 mm or more that were touched, of those there. True: lesions shown that are there, of those shown.", soft_wrap=True)
    for refusal in scores.refused:
        console.print(f"Not scored, {refusal.name}: {refusal.sentence}", soft_wrap=True, markup=False, highlight=False)
    console.print()
    console.print(_summary(scores))
    patients = len({one.patient for one in scores.images})
    console.print(
        f"{scores.subject}: {len(scores.images)} of {scores.asked} images scored, {patients} patients.", soft_wrap=True, highlight=False, markup=False
    )


def _row(one: "ImageScores") -> tuple[str, ...]:
    liver, tumour, lesions = one.scores.liver, one.scores.tumour, one.scores.lesions
    known = one.tumour_labelled
    return (
        _text(liver.dice),
        _text(liver.hd95_mm, "{:.1f}"),
        _text(liver.nsd),
        _text(liver.volume_error_percent, "{:+.1f}"),
        _text(liver.sensitivity),
        _text(liver.specificity, "{:.4f}"),
        _text(liver.f1),
        _text(tumour.dice if known and tumour.reference_ml else None),
        f"{lesions.reference_found}/{lesions.reference}" if known else "–",
        f"{lesions.prediction_true}/{lesions.prediction}" if known else "–",
        _text(one.seconds, "{:.1f}"),
    )


def _summary(scores: "DatasetScores") -> Table:
    from fedliver.datasets.evaluation_report import estimate_texts
    from fedliver.evaluation.summary import MEASURES

    table = _table("Score", "Mean", "95 % interval", "Worst", "in", "Patients")
    for measure in MEASURES:
        estimate = getattr(scores.summary, measure.field)
        if estimate:
            table.add_row(measure.title, *estimate_texts(measure, estimate), escape(estimate.worst_image), str(estimate.patients))
    if scores.summary.expected_dice_correlation is not None:
        table.add_row("Expected and true Dice: correlation", f"{scores.summary.expected_dice_correlation:.2f}")
    return table
