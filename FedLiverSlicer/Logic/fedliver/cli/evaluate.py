"""``fedliver evaluate``: how close segmentations are to their references, one by one or over a data set."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedliver.cli.progress import Bar
from fedliver.errors import Cancelled, FedLiverError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fedliver.datasets.evaluation import DatasetScores, Refusal
    from fedliver.datasets.evaluation_report import WorstPictures
    from fedliver.evaluation.summary import ImageScores

SOME_REFUSED = 1


def evaluate(
    prediction: Annotated[
        Path | None, typer.Argument(metavar="PREDICTION", help="The segmentation to score: .nii.gz, .nrrd, .seg.nrrd or .mha; or a folder of them.")
    ] = None,
    reference: Annotated[
        Path | None, typer.Argument(metavar="REFERENCE", help="The segmentation to score it against, on the same grid; or a folder with the same names.")
    ] = None,
    dataset: Annotated[
        Path | None,
        typer.Option(help="Segment and score a data set instead: NAME/{ct,labels}.nii.gz, MSD or nnU-Net (dataset.json), LiTS names, or a site's folder."),
    ] = None,
    teacher: Annotated[Path | None, typer.Option(help="With --dataset: the teacher bundle to score. Default: the shipped one.")] = None,
    tumours_as_liver: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="With --dataset: an image with tumours annotated as liver; may be repeated.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the scores as JSON.")] = False,
    out: Annotated[Path | None, typer.Option(help="Also write an HTML report with pictures of the worst images.")] = None,
) -> None:
    """Score segmentations: Dice, HD95, NSD at 2 mm, sensitivity, specificity, volumes, tumours found; over a data set with 95 % intervals.

    Exit code 1 if some images of a data set could not be scored.
    """
    if out and out.suffix.lower() not in (".html", ".htm"):
        raise FedLiverError("unknown-suffix", f"A report is not saved as {out.name}: end the name in .html.")
    if not dataset and (teacher or tumours_as_liver):
        raise FedLiverError("two-questions", "--teacher and --tumours-as-liver go with --dataset: leave them away, or give a data set.")
    if dataset:
        if prediction or reference:
            raise FedLiverError("two-questions", "Give either two segmentations (or folders of them), or --dataset: not both.")
        _evaluate_dataset(dataset, teacher, tumours_as_liver or [], as_json, out)
    elif not prediction or not reference:
        raise FedLiverError("nothing-to-score", "Give a segmentation and its reference (or folders of them), or --dataset with a folder of annotated CTs.")
    elif prediction.is_dir() and reference.is_dir():
        _evaluate_folders(prediction, reference, as_json, out)
    elif out:
        raise FedLiverError("no-report", "A report is written for folders and data sets: for one segmentation leave --out away.")
    else:
        _evaluate_pair(prediction, reference, as_json)


def _evaluate_pair(prediction: Path, reference: Path, as_json: bool) -> None:
    from fedliver.cli.evaluation_tables import print_scores
    from fedliver.evaluation.metrics import compare
    from fedliver.segmentation_file import read_segmentation

    truth = read_segmentation(reference)
    scores = compare(read_segmentation(prediction, onto=truth.geometry), truth)
    if as_json:
        typer.echo(scores.model_dump_json(indent=2))
    else:
        print_scores(scores)


def _evaluate_dataset(folder: Path, bundle: Path | None, as_liver: list[str], as_json: bool, out: Path | None) -> None:
    from fedliver.datasets.evaluation import TeacherSegmenter, score_images
    from fedliver.datasets.evaluation_report import WorstPictures
    from fedliver.datasets.layouts import for_evaluation, read_layout, with_tumours_as_liver

    images = for_evaluation(with_tumours_as_liver(read_layout(folder), as_liver))
    with Bar("Evaluating") as bar:
        bar.report("Starting", 0.0)
        from fedliver.teacher.bundle import STARTER, load_bundle

        teacher = load_bundle(bundle or STARTER)
        worst = WorstPictures() if out else None
        results = score_images(images, TeacherSegmenter(teacher), watcher=bar, onlooker=worst)
        scores, stopped = _collect(f"{teacher.name} {teacher.version}", len(images), results)
    _tell(scores, worst, stopped, as_json, out)


def _evaluate_folders(predictions: Path, references: Path, as_json: bool, out: Path | None) -> None:
    from fedliver.datasets.evaluation import score_predictions
    from fedliver.datasets.evaluation_report import WorstPictures
    from fedliver.datasets.layouts import segmentations_in

    expected = segmentations_in(references)
    with Bar("Evaluating") as bar:
        worst = WorstPictures() if out else None
        results = score_predictions(segmentations_in(predictions), expected, watcher=bar, onlooker=worst)
        scores, stopped = _collect(f"Segmentations in {predictions.name}", len(expected), results)
    _tell(scores, worst, stopped, as_json, out)


def _collect(subject: str, asked: int, results: "Iterator[ImageScores | Refusal]") -> tuple["DatasetScores", bool]:
    """Everything that was scored before the end or before Ctrl-C, and whether it was stopped."""
    from fedliver.datasets.evaluation import DatasetScores

    kept: list[ImageScores | Refusal] = []
    try:
        kept.extend(results)
    except (KeyboardInterrupt, Cancelled):
        return DatasetScores.of(subject, asked, kept), True
    return DatasetScores.of(subject, asked, kept), False


def _tell(scores: "DatasetScores", worst: "WorstPictures | None", stopped: bool, as_json: bool, out: Path | None) -> None:
    """Print and write what there is; then end as a stopped command does, or with code 1 if some images were refused."""
    from fedliver.cli.evaluation_tables import print_dataset_scores
    from fedliver.datasets.evaluation import require_some
    from fedliver.datasets.evaluation_report import write_dataset_report

    if stopped and not scores.images:
        raise Cancelled
    require_some(scores)
    if as_json:
        typer.echo(scores.model_dump_json(indent=2))
    else:
        print_dataset_scores(scores)
    if out:
        write_dataset_report(scores, worst.pictures if worst else [], out)
        typer.echo(f"Report: {out}", err=True)
    if stopped:
        done = len(scores.images) + len(scores.refused)
        typer.echo(f"Stopped after {done} of {scores.asked} images; the numbers are of those.", err=True)
        raise Cancelled
    if scores.refused:
        typer.echo(f"{len(scores.refused)} of {scores.asked} images could not be scored.", err=True)
        raise typer.Exit(SOME_REFUSED)
