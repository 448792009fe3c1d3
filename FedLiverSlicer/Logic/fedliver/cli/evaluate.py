"""``fedliver evaluate``: how close a segmentation is to a reference."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from fedliver.evaluation.metrics import Scores


def evaluate(
    prediction: Annotated[Path, typer.Argument(metavar="PREDICTION", help="The segmentation to score: .nii.gz, .nrrd, .seg.nrrd or .mha.")],
    reference: Annotated[Path, typer.Argument(metavar="REFERENCE", help="The segmentation to score it against, on the same grid.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the scores as JSON.")] = False,
) -> None:
    """Compare two segmentations: Dice, HD95, NSD at 2 mm, sensitivity, specificity, volumes, and tumours found."""
    from fedliver.evaluation.metrics import compare
    from fedliver.segmentation_file import read_segmentation

    truth = read_segmentation(reference)
    scores = compare(read_segmentation(prediction, onto=truth.geometry), truth)
    if as_json:
        typer.echo(scores.model_dump_json(indent=2))
    else:
        _print_table(scores)


def _text(value: float | None, form: str = "{:.3f}") -> str:
    return "–" if value is None else form.format(value)


def _print_table(scores: "Scores") -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for heading in ("", "Liver", "Tumour"):
        table.add_column(heading, justify="left" if not heading else "right")
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
    console = Console()
    console.print(table)
    lesions = scores.lesions
    console.print(f"Tumours of 15 mm or more: {lesions.reference_found} of {lesions.reference} found (recall {_text(lesions.recall)}); ", end="")
    console.print(f"{lesions.prediction_true} of {lesions.prediction} shown are true (precision {_text(lesions.precision)}).", soft_wrap=True)
