"""``fedliver train``: learn from this site's own cases, without a federation."""

from typing import Annotated

import typer

from fedliver.cli.numbers import finite
from fedliver.cli.options import Home, existing_site
from fedliver.cli.progress import Bar


def train(
    minutes: Annotated[float, typer.Option(help="How long to train at most.", min=0.01, max=10_000, callback=finite)] = 15.0,
    unlabelled: Annotated[bool, typer.Option("--unlabelled", help="Learn from scans without approval too (Mean Teacher).")] = False,
    home: Home = None,
) -> None:
    """Train the current teacher on with this site's approved cases, and adopt the result if the held-out cases say that it is not worse.

    Nothing leaves this machine. Stopped with Ctrl-C, it goes on where it was when it is started again. Exit code 1 if the new teacher was not adopted."""
    with Bar("Learning") as bar:
        bar.report("Starting", 0.0)
        from fedliver.site.local_training import learn_from_own_cases, settings_for

        learnt = learn_from_own_cases(existing_site(home), settings_for(minutes, unlabelled), bar)
    of = f"{learnt.cases} approved case{'s' if learnt.cases != 1 else ''}"
    of += f" and {learnt.unlabelled} scan{'s' if learnt.unlabelled != 1 else ''} without approval" if unlabelled else ""
    typer.echo(f"Trained {learnt.steps} steps in {learnt.minutes:.1f} min on {of}.")
    typer.echo(learnt.decision.sentence)
    raise typer.Exit(0 if learnt.decision.adopted else 1)
