"""``fedliver segment``: a CT in, liver and tumour out."""

from pathlib import Path
from typing import Annotated

import typer

from fedliver.cli.device import DeviceName
from fedliver.cli.options import Home, site_if_begun
from fedliver.cli.progress import Bar


def segment(
    ct: Annotated[Path, typer.Argument(metavar="INPUT", help="A DICOM folder, or a NIfTI, NRRD or MHA file.")],
    output: Annotated[Path, typer.Argument(metavar="OUTPUT", help="Ends in .nii.gz, .nrrd, .mha (label map) or .seg.nrrd (3D Slicer segmentation).")],
    series: Annotated[str | None, typer.Option(help="Which series of a DICOM folder that holds several.")] = None,
    teacher: Annotated[Path | None, typer.Option(help="Another teacher bundle than this site's current one.")] = None,
    home: Home = None,
    device: DeviceName = None,
) -> None:
    """Segment liver and tumour of a CT, on exactly the CT's grid, and print the volumes."""
    from fedliver.segmentation_file import check_target

    check_target(output)
    with Bar("Segmenting") as bar:
        bar.report("Starting", 0.0)
        from fedliver.ct_reader import read_ct
        from fedliver.segmentation_file import write_segmentation
        from fedliver.teacher import inference
        from fedliver.teacher.bundle import load_bundle
        from fedliver.teacher.device import choose_device

        runs_on = choose_device(device)
        bundle = load_bundle(teacher or _current_teacher(home))
        bar.report("Reading the scan", 0.01)
        scan = read_ct(ct, series)
        result = inference.segment(bundle, scan.volume, bar, runs_on)
        bar.report("Saving", 0.98)
        write_segmentation(result.labels, output)
    for warning in scan.warnings:
        typer.echo(f"Note: {warning}", err=True)
    if result.ran_on != runs_on:
        typer.echo(f"Note: {result.ran_on.sentence}", err=True)
    typer.echo(result.sentence)
    how = f"{bundle.name} {bundle.version}, {result.seconds:.1f} s {result.ran_on.place}"
    typer.echo(f"Saved {output.name} ({how}). Research use only: a clinician must check it.")


def _current_teacher(home: Path | None) -> Path:
    """The current one of the site, or the starter on a new computer: to segment one scan begins no site."""
    from fedliver.teacher.bundle import STARTER

    site = site_if_begun(home)
    return site.shelf().current().bundle if site else STARTER
