"""``fedliver case ...``: the cases of this site, from adding a scan to approving its segmentation."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedliver.cli.options import Home, existing_site, new_or_existing_site, site_to_look_at
from fedliver.cli.progress import Bar
from fedliver.errors import FedLiverError

if TYPE_CHECKING:
    from fedliver.cases.case import Case
    from fedliver.cases.checks import CheckResult
    from fedliver.cases.store import CaseStore
    from fedliver.site.home import SiteHome
    from fedliver.teacher.inference import Segmentation

app = typer.Typer(help="Cases of this site: the worklist from adding a scan to exporting what was approved.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="ID", help="The case's pseudonym, or the beginning of it.")]


@app.command()
def add(
    ct: Annotated[Path, typer.Argument(metavar="CT", help="DICOM folder, .nii.gz, .nrrd or .mha.")],
    series: Annotated[str | None, typer.Option(help="Which series of a DICOM folder.")] = None,
    home: Home = None,
) -> None:
    """Keep a CT on this machine under a pseudonym."""
    from fedliver.ct_reader import read_ct

    read = read_ct(ct, series)
    case = new_or_existing_site(home).store().add(read)
    for warning in read.warnings:
        typer.echo(f"Note: {warning}", err=True)
    typer.echo(case.pseudonym)


@app.command("import")
def import_(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A data set (see docs/training.md) or a folder of DICOM files.")],
    approve: Annotated[bool, typer.Option("--approve", help="Stand for the labels that come along: approve those that pass the checks.")] = False,
    home: Home = None,
) -> None:
    """Add many scans at once, with their labels as drafts. What is refused is said, and the rest goes on. Exit code 1 if anything was."""
    from fedliver.datasets.importing import import_scans, scans_in

    scans = scans_in(folder)
    store = new_or_existing_site(home).store()
    refused = 0
    with Bar("Cases") as bar:
        for done in import_scans(store, scans, bar, approve=approve):
            refused += bool(done.problem)
            if done.case is not None:
                typer.echo(f"{done.case.pseudonym}  {done.case.state}")
            if done.problem:
                typer.echo(f"{done.name}: {done.problem}", err=True)
    typer.echo(f"{len(scans) - refused} of {len(scans)} scans are here{' as they should be' if refused else ''}.")
    raise typer.Exit(1 if refused else 0)


@app.command()
def segment(
    name: Name,
    output: Annotated[Path | None, typer.Option(help="Also write the segmentation here, to correct it.", show_default=False)] = None,
    home: Home = None,
) -> None:
    """Let this site's current teacher pre-segment a case."""
    from fedliver.segmentation_file import write_segmentation

    site = existing_site(home)
    store = site.store()
    result = _presegment(site, store, store.case(name))
    if output is not None:
        write_segmentation(result.labels, output)
    typer.echo(result.sentence)


def _presegment(site: "SiteHome", store: "CaseStore", case: "Case") -> "Segmentation":
    from fedliver.cases.case import LookAt, TeacherProvenance
    from fedliver.teacher.bundle import load_bundle
    from fedliver.teacher.inference import segment as run

    current = site.shelf().current()
    teacher = load_bundle(current.bundle)
    with Bar("Segmenting") as bar:
        result = run(teacher, store.ct(case), bar)
    provenance = TeacherProvenance(name=teacher.name, version=current.version, sha256=current.sha256)
    places = tuple(LookAt(position_mm=place.position_mm, about=place.about) for place in result.doubt.places) if result.doubt else ()
    doubt = result.doubt.map if result.doubt else None
    store.attach(case, result.labels, result.labels, provenance, expected_dice=result.expected_dice, places=places, doubt=doubt)
    return result


@app.command()
def attach(
    name: Name,
    segmentation: Annotated[Path, typer.Argument(help="The corrected segmentation, on the CT's grid.")],
    minutes: Annotated[float | None, typer.Option(help="How long the correction took.", min=0, show_default=False)] = None,
    home: Home = None,
) -> None:
    """Put a corrected segmentation beside a case's CT."""
    from fedliver.segmentation_file import read_segmentation

    store = existing_site(home).store()
    case = store.case(name)
    labels = read_segmentation(segmentation, onto=case.grid.geometry)
    changed = store.attach(case, labels, seconds_spent=None if minutes is None else minutes * 60)
    typer.echo(f"Attached to {changed.pseudonym}. Next: fedliver case approve {changed.pseudonym}")


@app.command()
def check(name: Name, home: Home = None) -> None:
    """Run the quality checks. Exit code 1 if one fails."""
    store = existing_site(home).store()
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
    from fedliver.cli.case_words import correction_words

    store = existing_site(home).store()
    case = store.approve(store.case(name), override_reason=override)
    assert case.approval is not None  # noqa: S101 just approved
    typer.echo(f"Approved {case.pseudonym}: {'held out, it judges new teachers' if case.role == 'held-out' else 'it trains'}.")
    if words := correction_words(case.approval):
        typer.echo(words)


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
    store = existing_site(home).store()
    case = store.case(name)
    approval_of(case)
    if labels is not None:
        write_segmentation(store.approved_labels(case), labels)
        typer.echo(f"Wrote the labels of {case.pseudonym} to {labels}.")
    if dicom_seg is not None and source is not None:
        export_dicom_seg(store, case, source, dicom_seg)
        typer.echo(f"Wrote {dicom_seg}. It names the patient, as the scan does: it belongs into your archive (PACS), and nowhere else.")


@app.command("list")
def list_cases(
    state: Annotated[str | None, typer.Option(help="Only cases in this state, such as “new” or “in correction”.", show_default=False)] = None,
    home: Home = None,
) -> None:
    """Show every case of this site."""
    from fedliver.cases.case import State
    from fedliver.cli.case_words import table

    if state is not None and state not in [one.value for one in State]:
        raise FedLiverError("no-such-state", f"A case cannot be {state[:40]!r}: it is {', '.join(one.value for one in State)}.")
    cases, damaged = site_to_look_at(home).store().look()
    shown = [case for case in cases if state in (None, case.state)]
    none = "No case yet: add one with `fedliver case add CT`." if not cases else f"No case is {state}."
    typer.echo(table(shown) if shown else none)
    for pseudonym in damaged:
        typer.echo(f"Case {pseudonym} is damaged and not used: `fedliver case check {pseudonym}` says what to do.", err=True)


@app.command()
def show(name: Name, home: Home = None) -> None:
    """Show what is known of a case."""
    from fedliver.cli.case_words import description

    typer.echo(description(existing_site(home).store().case(name)))


@app.command("next")
def next_(
    strategy: Annotated[
        str, typer.Option(help="first-come, uncertainty (the teacher is least sure of it) or diversity (least like the approved).")
    ] = "first-come",
    after: Annotated[str, typer.Option(metavar="ID", help="Pass this case over.", show_default=False)] = "",
    home: Home = None,
) -> None:
    """Say which case to annotate next. Exit code 1 if none waits."""
    from fedliver.cases.worklist import next_case
    from fedliver.cli.case_words import next_words

    store = site_to_look_at(home, code_if_none=1).store()
    cases = store.cases()
    found = next_case(cases, strategy, store.case(after).pseudonym if after else "")
    typer.echo(next_words(found, cases))
    raise typer.Exit(0 if found else 1)


@app.command()
def presegment(
    limit: Annotated[int | None, typer.Option(min=1, help="Stop after so many cases.", show_default=False)] = None,
    home: Home = None,
) -> None:
    """Let the current teacher pre-segment every new case, so that nobody waits for it. Stop it at any time: what is done is kept."""
    from fedliver.cases.case import State

    site = existing_site(home)
    store = site.store()
    waiting = [case for case in store.cases() if case.state is State.NEW][:limit]
    for number, case in enumerate(waiting, 1):
        result = _presegment(site, store, case)
        typer.echo(f"{number} of {len(waiting)}: {case.pseudonym}: {result.sentence}")
    if not waiting:
        typer.echo("No new case waits for the teacher.")


@app.command()
def exclude(
    name: Name,
    reason: Annotated[str | None, typer.Option(help="Why, such as “no portal venous phase”. Stays on this machine.", show_default=False)] = None,
    home: Home = None,
) -> None:
    """Take a case out of the worklist, of training and of judging; its images stay."""
    store = existing_site(home).store()
    typer.echo(f"Excluded {store.exclude(store.case(name), reason).pseudonym}.")


@app.command()
def include(name: Name, home: Home = None) -> None:
    """Take an excluded case in again."""
    store = existing_site(home).store()
    typer.echo(f"{store.include(store.case(name)).pseudonym} waits in the worklist again.")


@app.command()
def erase(name: Name, home: Home = None) -> None:
    """Remove a case, its CT and its segmentations from this machine."""
    from fedliver.cases.pseudonym import is_case_pseudonym

    store = existing_site(home).store()
    pseudonym = name.upper() if is_case_pseudonym(name.upper()) else store.case(name).pseudonym  # a damaged case can be erased by its full name
    store.erase(pseudonym)
    typer.echo(f"Erased {pseudonym}.")


def _print_checklist(results: "list[CheckResult]") -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("", "Check", "Result")
    for result in results:
        mark = "[green]✓[/]" if result.passed else ("[yellow]![/]" if result.overridable else "[red]✗[/]")
        table.add_row(mark, result.name, result.sentence)
    Console().print(table)
