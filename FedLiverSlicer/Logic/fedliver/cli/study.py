"""``fedliver study``: what a teacher saves a clinician, and what rounds, scans without labels and a good order of annotating add."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedliver.cli.progress import Bar
from fedliver.cli.study_federated import federated
from fedliver.errors import FedLiverError

if TYPE_CHECKING:
    from fedliver.datasets.layouts import DatasetImage
    from fedliver.study.effort import Starter
    from fedliver.teacher.bundle import Teacher

app = typer.Typer(help="Studies on annotated data.", no_args_is_help=True)
app.command()(federated)

Data = Annotated[
    Path | None, typer.Option(help="Annotated patients: NAME/{ct,labels}.nii.gz, MSD or nnU-Net, LiTS names, a site's folder. Without it: generated ones.")
]
Out = Annotated[Path, typer.Option(help="The folder for tables and plots.")]
LeaveOut = Annotated[list[str] | None, typer.Option(help="An image that takes no part; may be repeated.")]
Generated = Annotated[int, typer.Option("--generated", help="How many patients to generate where there is no data.", min=1, max=10_000)]


@app.command()
def effort(
    out: Out,
    data: Data = None,
    leave_out: LeaveOut = None,
    tumours_as_liver: Annotated[list[str] | None, typer.Option(help="An image with tumours annotated as liver: nobody corrects them there.")] = None,
    teacher: Annotated[list[Path] | None, typer.Option(help="A teacher to start from; may be repeated. Default: the shipped one.")] = None,
    folds: Annotated[int, typer.Option(help="Ask each patient's fold network in TEACHER-stages: it did not train on that patient.", min=0, max=100)] = 0,
    generated: Generated = 4,
) -> None:
    """A simulated clinician corrects to a liver Dice of 0.97: from nothing, and from each teacher. An interrupted study goes on where it was."""

    def run(images: "list[DatasetImage]", about: str, bar: Bar) -> str:
        from fedliver.datasets.layouts import with_tumours_as_liver
        from fedliver.study.effort import study_effort
        from fedliver.study.tables import write_effort
        from fedliver.teacher.bundle import STARTER

        images = with_tumours_as_liver(images, tumours_as_liver or [])
        starters = [_starter(path, images, folds) for path in teacher or [STARTER]]
        return write_effort(list(study_effort(images, starters, out / "effort.json", bar)), out, about)

    _show("effort", Images(out, data, generated, leave_out), run)


@app.command()
def rounds(
    out: Out,
    data: Data = None,
    leave_out: LeaveOut = None,
    teacher: Annotated[
        Path | None, typer.Option(help="The teacher before any round; it must not have been trained on these patients. Default: a small one trained here.")
    ] = None,
    sites: Annotated[int, typer.Option(help="Sites of the federation.", min=2)] = 3,
    rounds: Annotated[int, typer.Option("--rounds", help="Rounds.", min=1)] = 3,
    cases: Annotated[int, typer.Option(help="New patients at each site before every round.", min=1)] = 2,
    steps: Annotated[int, typer.Option(help="Training steps of a site in a round.", min=1)] = 80,
    starter_steps: Annotated[int, typer.Option(help="Training steps of the small teacher.", min=1)] = 150,
    generated: Generated = 26,
) -> None:
    """Whether a clinician's work falls with the rounds: sites correct new patients with the teacher of the round before. An interrupted study goes on."""

    def run(images: "list[DatasetImage]", about: str, bar: Bar) -> str:
        from fedliver.study.effort_rounds import RoundsStudy, run_rounds_study
        from fedliver.study.small_teachers import small_starter
        from fedliver.study.tables import write_rounds
        from fedliver.teacher.bundle import load_bundle
        from fedliver.training.settings import TrainingSettings

        starter = load_bundle(teacher) if teacher else small_starter(out / "work" / "starter", bar, starter_steps)
        # A teacher from elsewhere has learned from many and is trained on gently.
        training = TrainingSettings(steps=steps, batch_size=2, learning_rate=5e-4 if teacher else 2e-3, average_decay=0.9)
        named = f"{starter.name} {starter.version}"
        study = RoundsStudy(starter=f"{named} ({starter.sha256[:8]})", sites=sites, rounds=rounds, cases_per_round=cases, training=training)
        return write_rounds(list(run_rounds_study(images, starter, study, out / "work", bar)), study, out, about)

    _show("rounds", Images(out, data, generated, leave_out), run)


@app.command()
def labels(
    out: Out,
    data: Data = None,
    start: Annotated[Path | None, typer.Option(help="The teacher every arm starts from. Default: an untrained network.")] = None,
    leave_out: LeaveOut = None,
    labelled: Annotated[str, typer.Option(help="Numbers of labelled patients, with commas.")] = "1,2,4",
    seeds: Annotated[int, typer.Option(help="How many seeds.", min=1, max=100)] = 3,
    steps: Annotated[int, typer.Option(help="Training steps of every arm.", min=1)] = 800,
    generated: Generated = 24,
) -> None:
    """Few labelled patients and the rest unlabelled: supervised against semi-supervised. An interrupted study goes on where it was."""

    counts = _numbers(labelled)

    def run(images: "list[DatasetImage]", about: str, bar: Bar) -> str:
        from fedliver.study.labels import LabelsStudy, run_labels_study
        from fedliver.study.tables import write_labels

        rate = 5e-4 if start else _rate(data)
        study = LabelsStudy(labelled=counts, seeds=seeds, steps=steps, learning_rate=rate)
        rows = list(run_labels_study(images, _start(start, generated=data is None), study, out / "labels.json", bar))
        return write_labels(rows, study, out, about)

    _show("labels", Images(out, data, generated, leave_out), run)


@app.command()
def order(
    out: Out,
    data: Data = None,
    leave_out: LeaveOut = None,
    most: Annotated[int, typer.Option(help="How many cases are approved at most.", min=2)] = 6,
    seeds: Annotated[int, typer.Option(help="How many seeds.", min=1, max=100)] = 3,
    steps: Annotated[int, typer.Option(help="Training steps after every approval.", min=1)] = 200,
    generated: Generated = 24,
) -> None:
    """Which case to annotate next: the worklist's strategies against chance. An interrupted study goes on where it was."""

    def run(images: "list[DatasetImage]", about: str, bar: Bar) -> str:
        from fedliver.study.order import OrderStudy, run_order_study
        from fedliver.study.tables import write_order

        study = OrderStudy(most_approved=most, seeds=seeds, steps=steps, learning_rate=_rate(data))
        rows = list(run_order_study(images, _start(None, generated=data is None), study, out / "order.json", bar))
        return write_order(rows, study, out, about)

    _show("order", Images(out, data, generated, leave_out), run)


@dataclass(frozen=True)
class Images:
    """Where a study's images come from: ``data``, or generated patients in ``out``."""

    out: Path
    data: Path | None
    generated: int
    leave_out: list[str] | None

    def read(self, bar: Bar) -> "tuple[list[DatasetImage], str]":
        """The annotated ones, and a sentence about them."""
        from fedliver.datasets.layouts import annotated, read_layout

        if self.data is None:
            from fedliver.study.varied_patients import varied_patients

            varied_patients(self.out / "generated", self.generated, bar)
            return annotated(read_layout(self.out / "generated")), f"{self.generated} generated patients, no real ones."
        left_out = self.leave_out or []
        images = [image for image in annotated(read_layout(self.data)) if image.name not in left_out]
        if not images:
            raise FedLiverError("no-labels", f"{self.data} holds no annotated image: `fedliver dataset check` says what was found.")
        without = f", without {', '.join(left_out)}" if left_out else ""
        return images, f"{len(images)} annotated images of the folder {self.data.name}{without}."


def _show(what: str, source: Images, run: "Callable[[list[DatasetImage], str, Bar], str]") -> None:
    """Run a study behind a bar and print what it says."""
    with Bar(f"Study of the {what}") as bar:
        bar.report("Starting", 0.0)
        images, about = source.read(bar)
        text = run(images, about, bar)
    typer.echo(text)


def _rate(data: Path | None) -> float:
    """For a network that begins with nothing: phantoms are quickly learned."""
    return 1e-3 if data else 5e-3


def _numbers(text: str) -> tuple[int, ...]:
    try:
        found = tuple(int(part) for part in text.split(","))
    except ValueError:
        found = ()
    if not found or min(found) < 1:
        raise FedLiverError("not-numbers", f"{text} are not numbers from 1 on: give them as 1,2,4.")
    return found


def _start(path: Path | None, generated: bool) -> "Teacher":
    from fedliver.study.small_teachers import small_plan, untrained
    from fedliver.teacher.bundle import load_bundle
    from fedliver.teacher.plan import TeacherPlan

    if path is not None:
        return load_bundle(path)
    return untrained(small_plan(7.0, 40) if generated else TeacherPlan.whole_scan())


def _starter(path: Path, images: "list[DatasetImage]", folds: int) -> "Starter":
    from fedliver.study.effort import Starter
    from fedliver.teacher.bundle import load_bundle
    from fedliver.training.mixtures import TrainingData
    from fedliver.training.stages import fold_name, stages_of

    whole = load_bundle(path)
    name = f"{whole.name} {whole.version}"
    if not folds:
        return Starter(name, {image.name: whole for image in images})
    data = TrainingData(tuple(images))
    of_folds = {image.name: load_bundle(stages_of(path) / fold_name(number)) for number in range(folds) for image in data.fold(number, folds)}
    return Starter(f"{name}, fold networks", of_folds)
