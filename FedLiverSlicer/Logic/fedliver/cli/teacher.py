"""``fedliver teacher ...``: the teachers of this site, and which one is current."""

from datetime import UTC
from pathlib import Path
from typing import Annotated

import typer

from fedliver.cli.options import Home, existing_site, new_or_existing_site, site_if_begun, site_to_look_at
from fedliver.cli.progress import Bar
from fedliver.errors import FedLiverError

app = typer.Typer(help="Teachers of this site: list, adopt, roll back, export, import, and the log of it.", no_args_is_help=True)

Version = Annotated[str, typer.Argument(help="The teacher's version, or the beginning of it.")]


@app.command("list")
def list_teachers(home: Home = None) -> None:
    """Show every teacher this site has had."""
    from rich.console import Console
    from rich.table import Table

    table = Table("", "Version", "Name", "From", "Round", "Dice here", "Current then", "Added", "Adopted")
    for teacher in site_to_look_at(home).shelf().list():
        record = teacher.record
        score = record.local_score if record else None
        table.add_row(
            "current" if teacher.is_current else "",
            teacher.version,
            f"{record.name} {record.label}" if record else "shipped with FedLiver",
            record.origin.source if record else "starter",
            str(record.origin.round) if record and record.origin.round is not None else "-",
            f"{score.candidate:.3f}" if score else "-",
            f"{score.current:.3f}" if score else "-",
            record.added_at.strftime("%Y-%m-%d %H:%M") if record else "-",
            teacher.adopted_at.strftime("%Y-%m-%d %H:%M") if teacher.adopted_at else "-",
        )
    Console().print(table)


@app.command()
def show(version: Annotated[str | None, typer.Argument(help="A version; the current one by default.", show_default=False)] = None, home: Home = None) -> None:
    """Show what is known of one teacher, as JSON, and check that its bundle is whole."""
    from rich.console import Console

    shelf = existing_site(home).shelf()
    teacher = shelf.whole(version) if version else shelf.current()
    shown = {
        "version": teacher.version,
        "current": teacher.is_current,
        "sha256": teacher.sha256,
        "bundle": str(teacher.bundle),
        "adopted_at": teacher.adopted_at.isoformat() if teacher.adopted_at else None,
        "record": teacher.record.model_dump(mode="json", exclude_none=True) if teacher.record else None,
    }
    Console().print_json(data=shown)


@app.command()
def adopt(
    bundle: Annotated[Path | None, typer.Argument(help="A bundle folder to judge and adopt.", show_default=False)] = None,
    version: Annotated[str | None, typer.Option(help="Or a version that is on the shelf.", show_default=False)] = None,
    force: Annotated[bool, typer.Option("--force", help="Adopt it whatever the held-out cases say. The log keeps that it was your choice.")] = False,
    home: Home = None,
) -> None:
    """Judge a teacher on this site's held-out cases and adopt it if it is not worse. Exit code 1 if it was not adopted."""
    from fedliver.site.adoption import compare_and_adopt

    if (bundle is None) == (version is None):
        raise FedLiverError("which-teacher", "Say which teacher to adopt: either a bundle folder or --version.")
    site = site_if_begun(home) or new_or_existing_site(home)  # a new computer may begin with a teacher; a folder that was named must be a site
    shelf = site.shelf()
    candidate = bundle if bundle is not None else shelf.whole(version or "").bundle
    with Bar("Judging") as bar:
        decision = compare_and_adopt(shelf, site.store(), candidate, bar, force=force)
    typer.echo(decision.sentence)
    raise typer.Exit(0 if decision.adopted else 1)


@app.command()
def rollback(home: Home = None) -> None:
    """Go back to the teacher before the current one."""
    from fedliver.site.adoption import roll_back

    typer.echo(roll_back(existing_site(home).shelf()))


@app.command()
def log(home: Home = None) -> None:
    """Show what was decided about teachers at this site: when, of which, and why."""
    from rich.console import Console
    from rich.table import Table

    from fedliver.site.adoption import read_log

    entries = read_log(site_to_look_at(home).adoption_log)
    if not entries:
        typer.echo("Nothing was decided yet: `fedliver teacher adopt` judges a teacher, and keeps here what came of it.")
        return
    table = Table()
    for heading in ("When (UTC)", "Candidate", "Decision"):
        table.add_column(heading, no_wrap=True)
    table.add_column("Why")
    for entry in entries:
        table.add_row(f"{entry.at.astimezone(UTC):%Y-%m-%d %H:%M}", entry.candidate, entry.decision, entry.sentence)
    Console(markup=False).print(table)  # sentences are shown as they are, also where they hold a square bracket


@app.command()
def export(version: Version, target: Annotated[Path, typer.Argument(help="The new folder to write the bundle to.")], home: Home = None) -> None:
    """Write a teacher as a MONAI bundle folder."""
    typer.echo(f"Written to {existing_site(home).shelf().export(version, target)}.")


@app.command("import")
def import_teacher(bundle: Annotated[Path, typer.Argument(help="A bundle folder.")], home: Home = None) -> None:
    """Put a bundle on the shelf without adopting it."""
    teacher = new_or_existing_site(home).shelf().import_(bundle)
    typer.echo(f"{teacher.version} is on the shelf. Next: fedliver teacher adopt --version {teacher.version}")
