"""``fedliver study``: what a teacher saves a clinician, and what scans without labels are worth."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedliver.cli.progress import Bar
from fedliver.cli.study_federated import federated
from fedliver.errors import FedLiverError

if TYPE_CHECKING:
    from fedliver.study.effort import Starter
    from fedliver.teacher.bundle import Teacher
    from fedliver.training.layouts import DatasetImage

app = typer.Typer(help="Studies on annotated data.", no_args_is_help=True)
app.command()(federated)

Data = Annotated[
    Path | None, typer.Option(help="Annotated patients: NAME/{ct,labels}.nii.gz, MSD or nnU-Net, LiTS names, a site's folder. Without it: generated ones.")
]
Out = Annotated[Path, typer.Option(help="The folder for tables and plots.")]
LeaveOut = Annotated[list[str] | None, typer.Option(help="An image that takes no part; may be repeated.")]
Generated = Annotated[int, typer.Option("--generated", help="How many patients to generate where there is no data.")]


@app.command()
def effort(
    out: Out,
    data: Data = None,
    leave_out: LeaveOut = None,
    tumours_as_liver: Annotated[list[str] | None, typer.Option(help="An image with tumours annotated as liver: nobody corrects them there.")] = None,
    teacher: Annotated[list[Path] | None, typer.Option(help="A teacher to start from; may be repeated. Default: the shipped one.")] = None,
    folds: Annotated[int, typer.Option(help="Ask each patient's fold network in TEACHER-stages: it did not train on that patient.")] = 0,
    generated: Generated = 4,
) -> None:
    """A simulated clinician corrects to a liver Dice of 0.97: from nothing, and from each teacher."""
    with Bar("Study of the effort") as bar:
        bar.report("Starting", 0.0)
        from fedliver.study.effort import study_effort
        from fedliver.study.tables import write_effort
        from fedliver.teacher.bundle import STARTER
        from fedliver.training.layouts import with_tumours_as_liver

        images, about = _images(data, out, generated, bar, leave_out)
        images = with_tumours_as_liver(images, tumours_as_liver or [])
        starters = [_starter(path, images, folds) for path in teacher or [STARTER]]
        text = write_effort(list(study_effort(images, starters, bar)), out, about)
    typer.echo(text)


@app.command()
def labels(
    out: Out,
    data: Data = None,
    start: Annotated[Path | None, typer.Option(help="The teacher every arm starts from. Default: an untrained network.")] = None,
    leave_out: LeaveOut = None,
    labelled: Annotated[str, typer.Option(help="Numbers of labelled patients, with commas.")] = "1,2,4",
    seeds: Annotated[int, typer.Option(help="How many seeds.")] = 3,
    steps: Annotated[int, typer.Option(help="Training steps of every arm.")] = 200,
    generated: Generated = 12,
) -> None:
    """Few labelled patients and the rest unlabelled: supervised against semi-supervised. An interrupted study goes on where it was."""
    with Bar("Study of the labels") as bar:
        bar.report("Starting", 0.0)
        from fedliver.study.labels import LabelsStudy, run_labels_study
        from fedliver.study.tables import write_labels

        images, about = _images(data, out, generated, bar, leave_out)
        rate = 5e-4 if start else 1e-3 if data else 1e-2
        study = LabelsStudy(labelled=_numbers(labelled), seeds=seeds, steps=steps, learning_rate=rate)
        rows = list(run_labels_study(images, _start(start, generated=data is None), study, out / "labels.json", bar))
        text = write_labels(rows, study, out, about)
    typer.echo(text)


@app.command()
def order(
    out: Out,
    data: Data = None,
    leave_out: LeaveOut = None,
    most: Annotated[int, typer.Option(help="How many cases are approved at most.", min=2)] = 6,
    seeds: Annotated[int, typer.Option(help="How many seeds.")] = 3,
    steps: Annotated[int, typer.Option(help="Training steps after every approval.")] = 200,
    generated: Generated = 18,
) -> None:
    """Which case to annotate next: the worklist's strategies against chance. An interrupted study goes on where it was."""
    with Bar("Study of the order") as bar:
        bar.report("Starting", 0.0)
        from fedliver.study.order import OrderStudy, run_order_study
        from fedliver.study.tables import write_order

        images, about = _images(data, out, generated, bar, leave_out)
        study = OrderStudy(most_approved=most, seeds=seeds, steps=steps, learning_rate=1e-3 if data else 1e-2)
        rows = list(run_order_study(images, _start(None, generated=data is None), study, out / "order.json", bar))
        text = write_order(rows, study, out, about)
    typer.echo(text)


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise FedLiverError("not-numbers", f"{text} are no numbers: give them as 1,2,4.") from error


def _start(path: Path | None, generated: bool) -> "Teacher":
    import torch

    from fedliver.teacher import bundle
    from fedliver.teacher.network import build_network
    from fedliver.teacher.plan import TeacherPlan

    if path is not None:
        return bundle.load_bundle(path)
    torch.manual_seed(0)
    plan = TeacherPlan.tiny() if generated else TeacherPlan.whole_scan()
    return bundle.Teacher(build_network(plan), plan, "untrained", "0", "none")


def _starter(path: Path, images: "list[DatasetImage]", folds: int) -> "Starter":
    from fedliver.study.effort import Starter
    from fedliver.teacher.bundle import load_bundle
    from fedliver.training.pretraining import TrainingData, fold_name, stages_of

    whole = load_bundle(path)
    name = f"{whole.name} {whole.version}"
    if not folds:
        return Starter(name, {image.name: whole for image in images})
    data = TrainingData(tuple(images))
    of_folds = {image.name: load_bundle(stages_of(path) / fold_name(number)) for number in range(folds) for image in data.fold(number, folds)}
    return Starter(f"{name}, fold networks", of_folds)


def _images(data: Path | None, out: Path, generated: int, bar: Bar, leave_out: list[str] | None) -> "tuple[list[DatasetImage], str]":
    from fedliver.training.layouts import annotated, read_layout

    if data is not None:
        images = [image for image in annotated(read_layout(data)) if image.name not in (leave_out or [])]
        if not images:
            raise FedLiverError("no-labels", f"{data} holds no annotated image: `fedliver dataset check` says what was found.")
        return images, f"{len(images)} annotated images of {data.name}{_without(leave_out)}."
    from fedliver.phantom.patients import generate_patients

    generate_patients(out / "generated", generated, bar)
    return annotated(read_layout(out / "generated")), f"{generated} generated patients, no real ones."


def _without(leave_out: list[str] | None) -> str:
    return f", without {', '.join(leave_out)}" if leave_out else ""
