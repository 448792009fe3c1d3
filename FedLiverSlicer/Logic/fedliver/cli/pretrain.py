"""``fedliver pretrain``: make a teacher from a data set; ``fedliver card``: measure it and write its model card."""

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedliver.cli.device import DeviceName
from fedliver.cli.numbers import finite
from fedliver.cli.progress import Bar
from fedliver.errors import FedLiverError

if TYPE_CHECKING:
    from fedliver.datasets.layouts import DatasetImage
    from fedliver.teacher.bundle import Teacher
    from fedliver.training.student import TrainingWatcher

Data = Annotated[Path, typer.Option(help="Annotated patients: NAME/{ct,labels}.nii.gz, MSD or nnU-Net (dataset.json), LiTS names, or a site's folder.")]
KeepBack = Annotated[list[str] | None, typer.Option("--keep-back", metavar="NAME", help="An image that never trains and judges the teacher; may be repeated.")]
AsLiver = Annotated[list[str] | None, typer.Option("--tumours-as-liver", metavar="NAME", help="An image with tumours annotated as liver; may be repeated.")]


def pretrain(
    data: Data,
    out: Annotated[Path, typer.Option(help="The bundle folder to write. Its stages are kept in OUT-stages; the same command takes up where it was stopped.")],
    unlabelled: Annotated[Path | None, typer.Option(help="Scans nobody annotated: NAME/ct.nii.gz. They need --labels-by.")] = None,
    label_maps: Annotated[Path | None, typer.Option(help="Organ label maps without scans: word_*.nii.gz, amos_*.nii.gz.")] = None,
    labels_by: Annotated[Path | None, typer.Option(help="The teacher that labels the scans nobody annotated, where it is sure.")] = None,
    start: Annotated[
        Path | None, typer.Option(help="Train on from this teacher instead of from nothing; its folds go on where they lie beside it and are of the same data.")
    ] = None,
    fine_mm: Annotated[
        float | None,
        typer.Option(min=0.3, max=10.0, callback=finite, help="The fine network's grid, in mm. Default: 1.5, or that of the teacher to start from."),
    ] = None,
    keep_back: KeepBack = None,
    tumours_as_liver: AsLiver = None,
    split: Annotated[
        Path | None,
        typer.Option(help="A split (fedliver dataset split): its training part trains, its validation part says when to stop, its test part waits."),
    ] = None,
    tensorboard: Annotated[Path | None, typer.Option(metavar="DIR", help="Also write losses for TensorBoard here.")] = None,
    minutes: Annotated[float, typer.Option(help="How long to train, all stages together.", min=0.001, max=1_000_000, callback=finite)] = 600.0,
    only: Annotated[
        list[str] | None,
        typer.Option(metavar="STAGE", help="Train this stage only (finder, base, fold0, fold1, ..., final); may be repeated. Processes share the work so."),
    ] = None,
    device: DeviceName = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Processor cores to use; all of them if not given.")] = None,
    seed: Annotated[int, typer.Option(help="Another order of patches and augmentations.")] = 20261122,
    name: Annotated[str, typer.Option(help="The name the bundle carries.")] = "teacher",
    version: Annotated[str, typer.Option(help="The version the bundle carries.")] = "1.0.0",
) -> None:
    """Train a teacher on a data set: every case is checked first, then finder, base, folds (the cross-validation) and the final network."""
    with Bar("Training") as bar, _watched(bar, tensorboard) as watcher:
        bar.report("Starting", 0.0)
        from fedliver.teacher.device import choose_device
        from fedliver.training.mixtures import TrainingData
        from fedliver.training.pretraining import Recipe, Start
        from fedliver.training.pretraining import pretrain as train

        runs_on = choose_device(device)

        images, kept = _usable(data, keep_back, tumours_as_liver, bar)
        images, validation = _parts(split, images, kept)
        scans = _usable_scans(unlabelled, bar) if unlabelled else ()
        maps = tuple(sorted(label_maps.glob("*.nii.gz"))) if label_maps else ()
        everything = TrainingData(tuple(images), scans, maps, tuple(validation))
        recipe = Recipe.of(minutes, seed, threads, fine_mm)
        outcome = train(
            everything,
            out,
            name=name,
            version=version,
            recipe=recipe,
            start=Start.read(start, everything, recipe.folds) if start else None,
            believe=_teacher(labels_by),
            only=only or (),
            watcher=watcher,
            device=runs_on,
        )
    if outcome is None:
        typer.echo(f"Trained: {', '.join(only or ())}. What is left of folds and final is still to do, with --only or without it.")
        return
    how = f"{outcome.steps} steps in {outcome.seconds / 60:.1f} min {outcome.ran_on.place}"
    typer.echo(f"Trained; the last stage took {how}, loss {outcome.loss:.3f}: {out}")
    typer.echo(f"Measure it: fedliver card {out} --data {data}")


def card(
    bundle: Annotated[Path, typer.Argument(help="The bundle whose card is written.")],
    data: Data,
    text: Annotated[
        Path,
        typer.Option(
            exists=True,
            dir_okay=False,
            readable=True,
            help="A Markdown file with the sections `# Trained on`, `# Recipe` and `# Fails`: what no command can measure.",
        ),
    ],
    keep_back: KeepBack = None,
    tumours_as_liver: AsLiver = None,
    folds: Annotated[int, typer.Option(help="How many folds it was trained with.", min=2, max=100)] = 4,
) -> None:
    """Score a teacher on the images kept back, and its folds on theirs; write the model card with tables and the worst cases."""
    with Bar("Model card") as bar:
        bar.report("Starting", 0.0)
        from fedliver.training.card import measure, write_card
        from fedliver.training.mixtures import TrainingData

        words = _words(text)
        images, kept = _usable(data, keep_back, tumours_as_liver, bar)
        written = write_card(bundle, measure(bundle, TrainingData(tuple(images)), folds, kept, bar), words)
    typer.echo(written)


def _words(path: Path):  # type: ignore[no-untyped-def]
    from fedliver.training import card as model_card

    sections: dict[str, list[str]] = {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise FedLiverError("card-text", f"{path.name} is not text in UTF-8: give a Markdown file.") from error
    for line in lines:
        if line.startswith("# "):
            sections[line[2:].strip().lower()] = []
        elif sections:
            sections[list(sections)[-1]].append(line)
    missing = {"trained on", "recipe", "fails"} - set(sections)
    if missing:
        raise FedLiverError("card-text", f"{path.name} has no section `# {sorted(missing)[0].capitalize()}`: the card needs Trained on, Recipe and Fails.")
    trained_on, recipe, fails = ("\n".join(sections[key]).strip() for key in ("trained on", "recipe", "fails"))
    return model_card.CardText(trained_on, recipe, fails)


def _usable(data: Path, keep_back: list[str] | None, tumours_as_liver: list[str] | None, bar: Bar) -> "tuple[list[DatasetImage], list[DatasetImage]]":
    """The images to train on and those kept back; what the check refuses is said and left out."""
    from fedliver.datasets.check import check_dataset
    from fedliver.datasets.layouts import for_training, read_layout, with_tumours_as_liver

    images = with_tumours_as_liver(for_training(read_layout(data)), tumours_as_liver or [])
    unknown = sorted(set(keep_back or []) - {image.name for image in images})
    if unknown:
        raise FedLiverError("no-such-image", f"The data set has no image called {unknown[0]}: `fedliver dataset check` shows the names.")
    checked = check_dataset(images, bar)
    for refusal in checked.refused:
        typer.echo(f"Left out, {refusal.name}: {refusal.sentence}", err=True)
    accepted = {image.name for image in checked.accepted}
    usable = [image for image in images if image.name in accepted]
    kept = [image for image in usable if image.name in (keep_back or [])]
    patients = {image.patient for image in kept}
    return [image for image in usable if image.patient not in patients], kept


def _usable_scans(folder: Path, bar: Bar) -> tuple[Path, ...]:
    """The scans nobody annotated; what the check refuses is said and left out."""
    from fedliver.datasets.check import check_scans

    # A scan that has labels of whatever origin is for checking.
    scans = [path for path in sorted(folder.glob("*/ct.nii.gz")) if not (path.parent / "labels.nii.gz").exists()]
    checked = check_scans(scans, bar)
    for refusal in checked.refused:
        typer.echo(f"Left out, {refusal.name}: {refusal.sentence}", err=True)
    return checked.accepted


def _parts(split: Path | None, images: "list[DatasetImage]", kept: "list[DatasetImage]") -> "tuple[list[DatasetImage], list[DatasetImage]]":
    """Who trains, and who says when to stop. Without a split everybody trains."""
    from fedliver.datasets.split import Split

    if split is None:
        return images, []
    made = Split.read(split)
    out = {image.name for image in kept}
    training, validation = (made.of([*images, *kept], part) for part in ("training", "validation"))
    return [image for image in training if image.name not in out], [image for image in validation if image.name not in out]


def _watched(bar: Bar, tensorboard: Path | None) -> "AbstractContextManager[TrainingWatcher]":
    if tensorboard is None:
        return nullcontext(bar)
    from fedliver.training.tensorboard import TensorBoardWatcher

    return TensorBoardWatcher(bar, tensorboard)


def _teacher(path: Path | None) -> "Teacher | None":
    from fedliver.teacher.bundle import load_bundle

    return load_bundle(path) if path else None
