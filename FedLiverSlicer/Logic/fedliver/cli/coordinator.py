"""``fedliver coordinator``: make a federation, let sites in, run rounds."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from fedliver.coordinator.coordinator import Coordinator
    from fedliver.coordinator.records import RoundRecord

VARIABLE = "FEDLIVER_COORDINATOR_HOME"
app = typer.Typer(help="Coordinate a federation.", no_args_is_help=True)

Home = Annotated[Path | None, typer.Option(help=f"The coordinator's folder. Default: ${VARIABLE} or ~/.fedliver-coordinator.")]


@app.command()
def init(
    host: Annotated[str, typer.Option(help="The name or IP address under which the sites reach this machine.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="The one port that the sites need; 0 picks a free one.")] = 0,
    control_port: Annotated[int, typer.Option(min=0, max=65535, help="The loopback port for this machine's own commands; 0 picks a free one.")] = 0,
    proxied_port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Behind a reverse proxy: the loopback port to which it brings the sites' requests.")
    ] = None,
    name: Annotated[str, typer.Option(help="What the sites call this coordinator.")] = "Coordinator",
    teacher: Annotated[Path | None, typer.Option(help="The bundle the federation begins with. Default: the shipped starter.")] = None,
    rounds: Annotated[int | None, typer.Option(min=1, help="Rounds of one run.")] = None,
    quorum: Annotated[int | None, typer.Option(min=1, help="Fewer usable updates than this, and the run ends.")] = None,
    deadline: Annotated[float | None, typer.Option(min=1, help="Seconds that a round waits for its sites.")] = None,
    weight_cap: Annotated[int | None, typer.Option(min=1, help="The most cases that count for one site's weight.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Training steps per site and round.")] = None,
    strategy: Annotated[
        str | None, typer.Option(help="How updates become one: fedavg, fedprox, fedavgm, fedadam, trimmed-mean or multi-krum; parameters in policy.json.")
    ] = None,
    secure_aggregation: Annotated[
        bool, typer.Option("--secure-aggregation", help="See only the sum of the sites' updates; their filters then send no update in the open.")
    ] = False,
    minimum_sites: Annotated[
        int | None, typer.Option(min=2, help="With --secure-aggregation: the fewest sites of a sum; the quorum is at least that. Default: 3.")
    ] = None,
    home: Home = None,
) -> None:
    """Make a coordinator: certificate authority, server certificate, policy, first teacher. Needed once; edit policy.json later."""
    from fedliver.coordinator.coordinator import Coordinator
    from fedliver.errors import FedLiverError
    from fedliver.site.policy import Policy, changed_policy

    if minimum_sites is not None and not secure_aggregation:
        raise FedLiverError("bad-policy", "--minimum-sites is about sums: give it together with --secure-aggregation.")

    def rules(policy: Policy) -> Policy:
        wanted = {"rounds": rounds, "quorum": quorum, "deadline_seconds": deadline, "weight_cap_cases": weight_cap}
        changes: dict[str, object] = {key: value for key, value in wanted.items() if value is not None}
        if steps is not None:
            changes["training"] = policy.training.model_dump() | {"steps": steps}
        if strategy is not None:
            changes["strategy"] = {"name": strategy}
        if secure_aggregation:
            asked: dict[str, object] = {"require_secure_aggregation": True} | ({} if minimum_sites is None else {"minimum_sites": minimum_sites})
            privacy = policy.privacy.model_copy(update=asked)
            changes |= {"privacy": privacy.model_dump(), "quorum": quorum or max(policy.quorum, privacy.minimum_sites)}
        return changed_policy(policy, **changes)

    rules(Policy(contract="0" * 64))  # what is wrong with the options is said before anything is made
    made = Coordinator.create(
        _folder(home), host=host, name=name, port=port, control_port=control_port, proxied_port=proxied_port, teacher=teacher, policy=rules
    )
    settings = made.home.settings()
    typer.echo(f"The coordinator {settings.name} is made in {made.home.path}; the sites will reach it at {settings.host}:{settings.port}.")
    typer.echo('Next: fedliver coordinator start, then for each site: fedliver coordinator invite "SITE NAME" -o FILE')


@app.command()
def change(
    host: Annotated[str | None, typer.Option(help="The new name or IP address; the server's certificate is renewed for it, also for the same one.")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="The one port that the sites need; 0 picks a free one.")] = None,
    control_port: Annotated[int | None, typer.Option(min=0, max=65535, help="The loopback port for this machine's own commands; 0 picks a free one.")] = None,
    proxied_port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Behind a reverse proxy: the loopback port to which it brings the sites' requests; 0 for no proxy.")
    ] = None,
    home: Home = None,
) -> None:
    """Give a coordinator that is stopped another address. Its certificate authority, sites, models and rounds stay."""
    changed = _coordinator(home).change(host=host, port=port, control_port=control_port, proxied_port=proxied_port)
    settings = changed.settings
    typer.echo(f"The coordinator {settings.name} is changed; from its next start the sites will reach it at {settings.host}:{settings.port}.")
    if settings.proxied_port is not None:
        typer.echo("The reverse proxy: write its file again (fedliver coordinator deploy nginx) and reload it.")
    if changed.old_address:
        typer.echo(f"These sites know the old address only: {', '.join(changed.old_address)}.")
        typer.echo('Invite each of them again: fedliver coordinator invite "SITE NAME" -o FILE')
        typer.echo(
            "At the site: leave, then fedliver site enrol FILE (or open it in the panel), then join. Its key stays; if it is approved, it need not be again."
        )


@app.command()
def invite(
    site_name: Annotated[str, typer.Argument(help="The site's name, as it shall stand in tables.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The invitation file to write.")],
    days: Annotated[float, typer.Option(help="How long the invitation is good for; at most 365.")] = 14.0,
    home: Home = None,
) -> None:
    """Write an invitation for one site. It holds no secret: send it by ordinary mail."""
    invitation = _coordinator(home).invite(site_name, output, days)
    typer.echo(f"Invitation for {invitation.site_name}, good until {invitation.expires:%d %B %Y}: {output}")


@app.command()
def approve(request: Annotated[Path, typer.Argument(help="The enrolment request that the site sent back.")], home: Home = None) -> None:
    """Let a site in. Make sure, by telephone for instance, that the file is really from that site."""
    from fedliver.site.keys import fingerprint_of

    site = _coordinator(home).approve(request)
    registered = "may join now" if site.node_id is not None else "may join as soon as the coordinator is started"
    typer.echo(f"{site.name} is approved and {registered}. Its key: {fingerprint_of(site.public_key)}; compare it with what they see there.")


@app.command("list")
def members(home: Home = None) -> None:
    """List the sites: approved, invited, revoked; each with its key's fingerprint."""
    from rich.console import Console
    from rich.table import Table

    table = Table("Site", "State", "Key")
    for member in _coordinator(home).members():
        table.add_row(member.name, member.state, member.fingerprint)
    if table.row_count:
        Console(width=160).print(table)
    else:
        typer.echo("No site is invited yet.")


@app.command()
def revoke(site_name: Annotated[str, typer.Argument(help="The site's name, as 'list' shows it.")], home: Home = None) -> None:
    """Put a site out of the federation, at once. Its key cannot come back; a round that is on goes on without it."""
    revocation = _coordinator(home).revoke(site_name)
    typer.echo(f"{revocation.name} is revoked: its key is refused from now on. What it has sent before is in the models that were made of it.")


@app.command()
def start(follow: Annotated[bool, typer.Option(help="Stay until it ends or Ctrl-C stops it: for systemd and containers.")] = False, home: Home = None) -> None:
    """Start the SuperLink; it runs until 'stop'."""
    coordinator = _coordinator(home)
    coordinator.start()
    typer.echo(f"The coordinator is started at {coordinator.status().address}.")
    if follow:
        try:
            coordinator.wait()
        finally:
            coordinator.stop()


@app.command()
def deploy(
    what: Annotated[str, typer.Argument(help="nginx or systemd.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="The file to write. Default: standard output.")] = None,
    home: Home = None,
) -> None:
    """Write the configuration of nginx, or the systemd unit, for this coordinator."""
    from fedliver.coordinator.deployment import configuration
    from fedliver.files import write_text

    text = configuration(what, _coordinator(home).home)
    if output is None:
        typer.echo(text, nl=False)
    else:
        write_text(output, text)
        typer.echo(f"Written: {output}")


@app.command()
def run(rounds: Annotated[int | None, typer.Option(min=1, help="How many more rounds. Default: the policy's.")] = None, home: Home = None) -> None:
    """Run rounds, from the newest checkpoint on. Ctrl-C stops the run; finished rounds are kept."""
    outcome = _coordinator(home).run(rounds, lambda event: typer.echo(event.sentence))
    for record in outcome.rounds:
        _show(record)
    typer.echo(f"The new teacher: {outcome.teacher}")


@app.command()
def rollback(
    to: Annotated[int, typer.Argument(min=0, metavar="ROUND", help="Its model; 0 is the one that the federation began with.")], home: Home = None
) -> None:
    """Have the next run begin from the model of an earlier round. Nothing is deleted."""
    record = _coordinator(home).roll_back(to)
    typer.echo(f"The next run begins from the model of round {to}, which is that of round {record.round} from now on: its sites get it with their next round.")


@app.command()
def status(home: Home = None) -> None:
    """Show whether the coordinator runs, its sites, and its newest rounds."""
    found = _coordinator(home).status()
    typer.echo(f"The coordinator at {found.address} is {'started' if found.started else 'not started'}.")
    for site in found.sites:
        typer.echo(f"  {site.name}: {site.state}")
    if not found.sites:
        typer.echo("  No site is approved yet.")
    for record in found.rounds[-5:]:
        _show(record)


@app.command()
def stop(home: Home = None) -> None:
    """End every process of this coordinator."""
    _coordinator(home).stop()
    typer.echo("Stopped: no process of this coordinator runs.")


def _show(record: "RoundRecord") -> None:
    from rich.console import Console
    from rich.table import Table

    if record.kind == "rollback":
        typer.echo(f"Round {record.round}: back to the model of round {record.back_to}.")
        return
    words = "Delivery after round" if record.kind == "delivery" else "Round"
    table = Table(title=f"{words} {record.round}: {record.seconds:.0f} s", title_justify="left")
    for column in ("Site", "Cases", "Weight", "Loss", "Dice", "MB up", "MB down", "Time", "Note"):
        table.add_column(column)
    for update in record.updates:
        dice = f"{update.dice:.3f} ({update.dice_cases})" if update.dice is not None else ""
        loss = f"{update.loss:.3f}" if update.loss is not None and record.kind == "round" and not update.refused else ""
        numbers = (f"{update.megabytes_up:.1f}", f"{update.megabytes_down:.1f}", f"{update.seconds:.0f} s")
        table.add_row(update.site, str(update.cases or ""), f"{update.weight:.2f}" if update.weight else "", loss, dice, *numbers, update.refused)
    if together := record.summed:
        means = ("" if mean is None else f"{mean:.3f}" for mean in (together.loss, together.dice))
        table.add_section()
        table.add_row(f"Sum of {together.sites}", str(together.cases), "", *means)
    Console().print(table)


def _folder(home: Path | None) -> Path:
    return home or Path(os.environ.get(VARIABLE) or Path.home() / ".fedliver-coordinator")


def _coordinator(home: Path | None) -> "Coordinator":
    from fedliver.coordinator.coordinator import Coordinator

    return Coordinator(_folder(home))
