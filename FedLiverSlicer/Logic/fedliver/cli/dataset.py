"""``fedliver dataset``: check a data set, split it by patient, or make one of patients that never lived."""

import csv
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedliver.cli.numbers import finite
from fedliver.cli.progress import Bar
from fedliver.errors import FedLiverError

if TYPE_CHECKING:
    from fedliver.datasets.check import DatasetCheck
    from fedliver.datasets.split import PatientImages, Split

SOME_REFUSED = 1
_MANIFEST_ROWS = 10_000_000

app = typer.Typer(help="Annotated data sets: check them, split them by patient, generate one.", no_args_is_help=True)

Data = Annotated[Path, typer.Argument(metavar="DIR", help="NAME/{ct,labels}.nii.gz, MSD or nnU-Net (dataset.json), LiTS names, or a site's folder.")]


@app.command()
def check(
    data: Data,
    split_file: Annotated[Path | None, typer.Option("--split", help="Also say whether this split fits the data set.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was found as JSON.")] = False,
) -> None:
    """Read every image and its labels; list what would be refused, and why. Exit code 1 if anything would be."""
    found = _checked(data)
    if as_json:
        typer.echo(found.model_dump_json(indent=2))
    else:
        _print_check(found)
    if split_file:
        _check_split(data, split_file, found)
    if found.refused:
        raise typer.Exit(SOME_REFUSED)


@app.command()
def split(
    data: Annotated[Path, typer.Argument(metavar="DIR|MANIFEST", help="A data set as for `check`, or a CSV file with the columns image, patient, tumours.")],
    out: Annotated[Path, typer.Option(help="The split file to write (.json): one line per patient.")],
    ratio: Annotated[str, typer.Option("--split", "--ratio", help="training:validation:test, in shares or in numbers of images.")] = "54:6:40",
    seed: Annotated[int, typer.Option(help="Another seed, another choice among patients alike.")] = 0,
    keep: Annotated[Path | None, typer.Option(help="An earlier split: its patients stay where they are, new ones are placed.")] = None,
) -> None:
    """Divide a data set by patient: the images come as near to the ratio as whole patients allow, tumour counts are spread evenly."""
    from fedliver.datasets.split import Split, parse_ratio, split_by_patient

    wanted = parse_ratio(ratio)
    if out.suffix.lower() != ".json":
        raise FedLiverError("unknown-suffix", f"A split is not saved as {out.name}: end the name in .json.")
    earlier = Split.read(keep) if keep else None
    patients = _manifest(data) if data.is_file() else _patients(data)
    made = split_by_patient(patients, wanted, seed=seed, keep=earlier)
    made.write(out)
    _print_split(made)
    typer.echo(f"Saved {out}.")


@app.command()
def generate(
    out: Annotated[Path, typer.Argument(metavar="DIR", help="The folder to write: patient_NN/{ct,labels}.nii.gz. Patients that are there are left alone.")],
    patients: Annotated[int, typer.Option(min=1, max=1000, help="How many.")] = 3,
    first: Annotated[int, typer.Option(min=0, help="The number of the first: another number, other patients.")] = 0,
    spacing: Annotated[float, typer.Option(min=1.0, max=10.0, callback=finite, help="Voxel size in mm.")] = 3.0,
) -> None:
    """Make patients that never lived, CT and labels, to try things out with."""
    with Bar("Generating") as bar:
        bar.report("Starting", 0.0)
        from fedliver.phantom.patients import generate_patients

        generate_patients(out, patients, bar, first=first, spacing_mm=spacing)
    typer.echo(f"{patients} generated patients in {out}: fedliver case import {out} --approve puts them into a site's worklist.")


def _checked(data: Path) -> "DatasetCheck":
    from fedliver.datasets.layouts import for_training, read_layout

    images = read_layout(data)
    with Bar("Checking") as bar:
        bar.report("Starting", 0.0)
        from fedliver.datasets.check import check_dataset

        unlabelled = [image for image in images if image.example.labels is None]
        return check_dataset([*for_training(images), *unlabelled], bar)


def _patients(data: Path) -> "list[PatientImages]":
    found = _checked(data)
    for refusal in found.refused:
        typer.echo(f"Left out, {refusal.name}: {refusal.sentence}", err=True)
    if not found.accepted:
        raise FedLiverError("nothing-to-split", f"No image of {data} can train: `fedliver dataset check` says why.")
    return found.patients()


def _manifest(path: Path) -> "list[PatientImages]":
    """Patients from a CSV file. The tumours of a patient are the most that one of the images shows."""
    from fedliver.datasets.split import PatientImages

    images: dict[str, list[str]] = {}
    tumours: dict[str, int] = {}
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            for number, row in enumerate(csv.DictReader(stream)):
                if number >= _MANIFEST_ROWS:
                    raise ValueError("too many rows")
                patient, image = row["patient"].strip(), row["image"].strip()
                if not patient or not image:
                    raise ValueError(f"row {number + 2} is not whole")
                images.setdefault(patient, []).append(image)
                if row.get("tumours"):
                    tumours[patient] = max(tumours.get(patient, 0), int(row["tumours"]))
    except (KeyError, ValueError, AttributeError, csv.Error) as error:
        reason = f"column {error} is missing" if isinstance(error, KeyError) else str(error)
        raise FedLiverError(
            "bad-manifest", f"{path.name} is no manifest ({reason}): a CSV file with the columns image, patient and, if known, tumours."
        ) from error
    return [PatientImages(patient, tuple(names), tumours.get(patient)) for patient, names in images.items()]


def _check_split(data: Path, split_file: Path, found: "DatasetCheck") -> None:
    from fedliver.datasets.layouts import read_layout
    from fedliver.datasets.split import PARTS, Split

    kept = {image.name for image in found.accepted}
    known = Split.read(split_file)
    images = [image for image in read_layout(data) if image.name in kept]
    for part in PARTS:
        known.of(images, part)
    typer.echo(f"{split_file.name} fits this data set.", err=True)


def _print_check(found: "DatasetCheck") -> None:
    from rich.markup import escape
    from rich.table import Table

    from fedliver.cli.evaluation_tables import wide_console

    console = wide_console()
    table = Table(box=None, pad_edge=False)
    for number, heading in enumerate(("Image", "Patient", "Liver, ml", "Tumour, ml", "Tumours", "Notes")):
        table.add_column(heading, justify="right" if number in (2, 3, 4) else "left", overflow="fold")
    for image in found.accepted:
        tumours = "–" if image.tumours is None else str(image.tumours)
        table.add_row(escape(image.name), escape(image.patient), f"{image.liver_ml:.0f}", f"{image.tumour_ml:.1f}", tumours, escape(" ".join(image.notes)))
    if found.accepted:
        console.print(table)
    for refusal in found.refused:
        console.print(f"Refused, {refusal.name}: {refusal.sentence}", soft_wrap=True, markup=False, highlight=False)
    patients = len({image.patient for image in found.accepted})
    console.print(f"{len(found.accepted)} images of {patients} patients can train, {len(found.refused)} cannot.", soft_wrap=True, highlight=False)


def _print_split(made: "Split") -> None:
    from rich.console import Console
    from rich.table import Table

    from fedliver.datasets.split import PARTS

    table = Table(box=None, pad_edge=False)
    for number, heading in enumerate(("", "Patients", "Images", "Share of images", "Asked")):
        table.add_column(heading, justify="right" if number else "left")
    total = sum(made.count(part)[1] for part in PARTS)
    for part, asked in zip(PARTS, made.ratio, strict=True):
        patients, images = made.count(part)
        table.add_row(part.capitalize(), str(patients), str(images), f"{100 * images / total:.2f} %", f"{100 * asked / sum(made.ratio):.2f} %")
    Console().print(table)
