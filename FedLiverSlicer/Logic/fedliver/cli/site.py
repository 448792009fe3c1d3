"""``fedliver site``: enrol in a federation, join it, leave it, watch it."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedliver.cli.options import Home, existing_site, new_or_existing_site, site_to_look_at

if TYPE_CHECKING:
    from fedliver.site.federation import SiteFederation, SiteStatus
    from fedliver.site.home import SiteHome

app = typer.Typer(help="This site's part in a federation.", no_args_is_help=True)
environment = typer.Typer(help="The federation's own Python environment.", no_args_is_help=True)
ledger = typer.Typer(help="What has left this site, and what came in.", no_args_is_help=True)
app.add_typer(environment, name="environment")
app.add_typer(ledger, name="ledger")

_LOOK_SECONDS = 0.5


@app.command()
def enrol(
    invitation: Annotated[Path, typer.Argument(help="The invitation file that the coordinator sent.")],
    request: Annotated[Path | None, typer.Option("--output", "-o", help="Where to write the enrolment request. Default: in the site's folder.")] = None,
    home: Home = None,
) -> None:
    """Accept an invitation. This site's key is made here and stays here; a request with its public half goes back to the coordinator."""
    from fedliver.site.agreed_training import training_in_words
    from fedliver.site.enrolment import read_request
    from fedliver.site.keys import fingerprint_of

    site = _federation(new_or_existing_site(home))
    written = site.enrol(invitation, request)
    typer.echo(training_in_words(site.policy()))
    typer.echo(f"Send this file to the coordinator, who approves it: {written}")
    typer.echo(f"When they ring up, read them this site's key: {fingerprint_of(read_request(written).public_key)}")


@app.command()
def join(follow: Annotated[bool, typer.Option(help="Show what happens; Ctrl-C leaves.")] = False, home: Home = None) -> None:
    """Join the federation: this site then trains in every round, until it leaves."""
    from fedliver.site.federation import joined

    site = _federation(existing_site(home))
    if not follow:
        typer.echo(_sentence(site.join(_tell)))
        return
    with joined(site, _tell):
        typer.echo(_sentence(site.status()) + " Ctrl-C leaves.")
        _follow(site)


@app.command()
def leave(home: Home = None) -> None:
    """Leave the federation: training stops and every process of this site ends."""
    _federation(existing_site(home)).leave()
    typer.echo("Left: no process of the federation runs on this machine for this site.")


@app.command()
def status(
    follow: Annotated[bool, typer.Option(help="Go on showing what happens; Ctrl-C ends the showing, not the membership.")] = False, home: Home = None
) -> None:
    """Show how the link stands and what this site does."""
    site = _federation(site_to_look_at(home))
    typer.echo(_sentence(site.status()))
    events = site.progress().read()
    if not follow:
        if events:
            typer.echo(events[-1].sentence)
        return
    _follow(site)


@app.command("test")
def examine(home: Home = None) -> None:
    """Test the connection to the coordinator, step by step, in words. Starts nothing and joins nothing."""
    ok = True
    for step in _federation(existing_site(home)).examine():
        ok = step.ok
        typer.echo(f"{'ok  ' if ok else 'FAIL'}  {step.name}: {step.sentence}", err=not ok)
    if not ok:
        raise typer.Exit(2)


@app.command()
def rules(
    minimum_cases: Annotated[int | None, typer.Option(help="Patients that must have trained an update before it may leave.")] = None,
    minimum_metric_cases: Annotated[int | None, typer.Option(help="Patients that a loss or a Dice must be the mean over before it may leave.")] = None,
    norm_bound: Annotated[float | None, typer.Option(help="The longest update (Euclidean norm); a longer one is shortened.")] = None,
    noise_multiplier: Annotated[float | None, typer.Option(help="Gaussian noise, in units of the norm bound; 0 for none.")] = None,
    epsilon_budget: Annotated[float | None, typer.Option(help="No update leaves once epsilon would pass this; 0 for no budget.")] = None,
    require_secure_aggregation: Annotated[
        bool | None, typer.Option(help="Let an update leave masked only, so that the coordinator sees no more than the sum.")
    ] = None,
    minimum_sites: Annotated[int | None, typer.Option(help="The fewest sites whose masked sum this one helps to open.")] = None,
    home: Home = None,
) -> None:
    """Show the rules of this site's egress filter, and change those that are given. The coordinator can make them stricter, never laxer."""
    from fedliver.site.rules import changed_rules

    site = _federation(existing_site(home))
    wanted = {
        "minimum_cases": minimum_cases,
        "minimum_metric_cases": minimum_metric_cases,
        "norm_bound": norm_bound,
        "noise_multiplier": noise_multiplier,
        "epsilon_budget": epsilon_budget,
        "require_secure_aggregation": require_secure_aggregation,
        "minimum_sites": minimum_sites,
    }
    changes: dict[str, object] = {name: value for name, value in wanted.items() if value is not None}
    if epsilon_budget == 0:
        changes["epsilon_budget"] = None
    if changes:
        changed_rules(site.files.home, **changes)
    for sentence in site.rules().sentences:
        typer.echo(sentence)


@ledger.command("show")
def show(home: Home = None) -> None:
    """Show every update that left this site and every model that came in."""
    entries = _federation(existing_site(home)).ledger().entries()
    for entry in entries:
        typer.echo(f"{entry.time:%Y-%m-%d %H:%M:%S} UTC  {entry.sentence}")
    if not entries:
        typer.echo("Nothing has left this site, and no model came in.")


@ledger.command("verify")
def verify(
    head: Annotated[str | None, typer.Option(help="A head that an earlier verify printed, and that you noted elsewhere.")] = None,
    home: Home = None,
) -> None:
    """Check that the ledger is as it was written: nothing changed, missing, added or in another order."""
    found = _federation(existing_site(home)).ledger().verify(head)
    typer.echo(found.sentence, err=bool(found.fault))
    if found.fault:
        raise typer.Exit(2)


@environment.command("create")
def create(
    wheels: Annotated[Path | None, typer.Option(help="A folder of wheels, for a machine without internet.")] = None,
    home: Home = None,
) -> None:
    """Make the environment that Flower's processes run in. Slicer's own Python cannot hold them."""
    from fedliver.site.environment import create_environment
    from fedliver.site.home import SiteHome

    place = SiteHome.locate(home)
    if not place.holds_coordinator:  # which has such an environment too, at the same place, and no command of its own to make it
        place = new_or_existing_site(home)
    create_environment(place.path, wheels, typer.echo)


def _federation(site: "SiteHome") -> "SiteFederation":
    from fedliver.site.federation import SiteFederation

    return SiteFederation(site.path)


def _sentence(status: "SiteStatus") -> str:
    if not status.enrolled:
        return "Not enrolled: open a coordinator's invitation with 'fedliver site enrol'."
    return f"{status.site_name} in the federation of {status.coordinator_name}: {status.link.value}."


def _follow(site: "SiteFederation") -> None:
    """Show progress and changes of the link until the site has left."""
    tail, before = site.progress(), site.status()
    while True:
        for event in tail.read():
            typer.echo(event.sentence)
        now = site.status()
        if now.link is not before.link:
            typer.echo(_sentence(now))
        if not now.joined:
            return
        before = now
        time.sleep(_LOOK_SECONDS)


def _tell(sentence: str) -> None:
    typer.echo(sentence, err=True)
