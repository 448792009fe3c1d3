"""``fedliver case ...``: the cases of this site, from adding a scan to approving its segmentation."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedliver.cli.progress import Bar
from fedliver.errors import FedLiverError

if TYPE_CHECKING:
    from fedliver.cases.case import Attached, Case
    from fedliver.cases.checks import CheckResult
    from fedliver.cases.store import CaseStore
    from fedliver.site.home import SiteHome

app = typer.Typer(help="Cases of this site: add, segment, correct, check, approve.", no_args_is_help=True)

Home = Annotated[Path | None, typer.Option("--home", help="The site's folder. Default: $FEDLIVER_HOME or ~/.fedliver.", show_default=False)]
Name = Annotated[str, typer.Argument(metavar="ID", help="The case's pseudonym, or the beginning of it.")]


def _home(home: Path | None) -> "SiteHome":
    from fedliver.site.home import SiteHome

    return SiteHome.open(home)


def _store(home: Path | None) -> "CaseStore":
    return _home(home).store()


@app.command()
def add(
    ct: Annotated[Path, typer.Argument(metavar="CT", help="DICOM folder, .nii.gz, .nrrd or .mha.")],
    series: Annotated[str | None, typer.Option(help="Which series of a DICOM folder.")] = None,
    home: Home = None,
) -> None:
    """Keep a CT on this machine under a pseudonym."""
    from fedliver.ct_reader import read_ct

    read = read_ct(ct, series)
    case = _store(home).add(read)
    for warning in read.warnings:
        typer.echo(f"Note: {warning}", err=True)
    typer.echo(case.pseudonym)


@app.command()
def segment(
    name: Name,
    output: Annotated[Path | None, typer.Option(help="Also write the segmentation here, to correct it.", show_default=False)] = None,
    home: Home = None,
) -> None:
    """Let this site's current teacher pre-segment a case."""
    from fedliver.cases.case import TeacherProvenance
    from fedliver.segmentation_file import write_segmentation
    from fedliver.teacher.bundle import load_bundle
    from fedliver.teacher.inference import segment as run

    site = _home(home)
    store = site.store()
    case = store.case(name)
    current = site.shelf().current()
    teacher = load_bundle(current.bundle)
    with Bar("Segmenting") as bar:
        result = run(teacher, store.ct(case), bar)
    provenance = TeacherProvenance(name=teacher.name, version=current.version, sha256=current.sha256)
    store.attach(case, result.labels, presegmentation=result.labels, teacher=provenance)
    if output is not None:
        write_segmentation(result.labels, output)
    typer.echo(result.sentence)


@app.command()
def attach(
    name: Name,
    segmentation: Annotated[Path, typer.Argument(help="The corrected segmentation, on the CT's grid.")],
    minutes: Annotated[float | None, typer.Option(help="How long the correction took.", min=0, show_default=False)] = None,
    home: Home = None,
) -> None:
    """Put a corrected segmentation beside a case's CT."""
    from fedliver.segmentation_file import read_segmentation

    store = _store(home)
    case = store.case(name)
    labels = read_segmentation(segmentation, onto=case.grid.geometry)
    changed = store.attach(case, labels, seconds_spent=None if minutes is None else minutes * 60)
    typer.echo(f"Attached to {changed.pseudonym}. Next: fedliver case approve {changed.pseudonym}")


@app.command()
def check(name: Name, home: Home = None) -> None:
    """Run the quality checks. Exit code 1 if one fails."""
    store = _store(home)
    results = store.check(store.case(name))
    _print_checklist(results)
    raise typer.Exit(0 if all(result.passed for result in results) else 1)


@app.command()
def approve(
    name: Name,
    override: Annotated[
        str | None, typer.Option(metavar="REASON", help="Why it may train although a check fails. Stays on this machine.", show_default=False)
    ] = None,
    home: Home = None,
) -> None:
    """Stand for a segmentation: from now on the case trains, or judges new teachers."""
    store = _store(home)
    case = store.approve(store.case(name), override_reason=override)
    assert case.approval is not None  # noqa: S101 just approved
    typer.echo(f"Approved {case.pseudonym}: {'held out, it judges new teachers' if case.role == 'held-out' else 'it trains'}.")
    if correction := case.approval.correction:
        for structure, change in (("liver", correction.liver), ("tumour", correction.tumour)):
            typer.echo(f"  {structure}: Dice {change.dice:.3f} against the teacher, {change.ml_added:.1f} ml added, {change.ml_removed:.1f} ml removed")


@app.command()
def export(
    name: Name,
    labels: Annotated[Path | None, typer.Option(help="Write the approved labels here (.nii.gz, .seg.nrrd, .mha).", show_default=False)] = None,
    dicom_seg: Annotated[Path | None, typer.Option(help="Write a DICOM SEG here. It names the patient, as the scan does.", show_default=False)] = None,
    source: Annotated[Path | None, typer.Option(help="The DICOM folder of the scan, which the SEG refers to.", show_default=False)] = None,
    home: Home = None,
) -> None:
    """Write an approved case's labels for others to read."""
    from fedliver.cases.export import approval_of, export_dicom_seg
    from fedliver.segmentation_file import write_segmentation

    if labels is None and dicom_seg is None:
        raise FedLiverError("nothing-to-export", "Say what to write: --labels FILE, or --dicom-seg FILE with --source FOLDER.")
    if dicom_seg is not None and source is None:
        raise FedLiverError("no-source", "A DICOM SEG refers to the slices of its scan: give their folder with --source.")
    store = _store(home)
    case = store.case(name)
    approval_of(case)
    if labels is not None:
        write_segmentation(store.approved_labels(case), labels)
        typer.echo(f"Wrote the labels of {case.pseudonym} to {labels}.")
    if dicom_seg is not None and source is not None:
        export_dicom_seg(store, case, source, dicom_seg)
        typer.echo(f"Wrote {dicom_seg}. It names the patient, as the scan does: it belongs into your archive (PACS), and nowhere else.")


@app.command("list")
def list_cases(home: Home = None) -> None:
    """Show every case of this site."""
    from rich.console import Console
    from rich.table import Table

    store = _store(home)
    table = Table("Case", "State", "Role", "Added", "Size", "Spacing (mm)", "Teacher", "Dice to teacher")
    cases = store.cases()
    for case in cases:
        table.add_row(*_row(case))
    Console().print(table if cases else "No case yet: add one with `fedliver case add CT`.")
    for pseudonym in store.damaged():
        typer.echo(f"Case {pseudonym} is damaged and not used: `fedliver case check {pseudonym}` says what to do.", err=True)


@app.command()
def withdraw(
    name: Name,
    erase: Annotated[bool, typer.Option("--erase", help="Also remove the CT and its segmentations from this machine.")] = False,
    home: Home = None,
) -> None:
    """Take a case out of training and judging."""
    from fedliver.cases.pseudonym import is_case_pseudonym

    store = _store(home)
    if erase:
        pseudonym = name.upper() if is_case_pseudonym(name.upper()) else store.case(name).pseudonym  # a damaged case can be erased by its full name
        store.erase(pseudonym)
        typer.echo(f"Erased {pseudonym}.")
        return
    typer.echo(f"Withdrew {store.withdraw(store.case(name)).pseudonym}.")


def _row(case: "Case") -> tuple[str, ...]:
    attached: Attached | None = case.draft or (case.approval.segmentation if case.approval else None)
    teacher = attached.teacher.version if attached and attached.teacher else "-"
    correction = case.approval.correction if case.approval else None
    state = "withdrawn" if case.withdrawn_at else case.state.value + (", corrected again" if case.approval and case.draft else "")
    return (
        case.pseudonym,
        state,
        case.role.value if case.role else "-",
        case.added_at.strftime("%Y-%m-%d %H:%M"),
        " x ".join(str(n) for n in case.grid.size),
        " x ".join(f"{mm:.2f}" for mm in case.grid.spacing),
        teacher,
        f"{correction.liver.dice:.3f}" if correction else "-",
    )


def _print_checklist(results: "list[CheckResult]") -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("", "Check", "Result")
    for result in results:
        mark = "[green]✓[/]" if result.passed else ("[yellow]![/]" if result.overridable else "[red]✗[/]")
        table.add_row(mark, result.name, result.sentence)
    Console().print(table)
