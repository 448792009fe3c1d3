"""The command ``fedliver``: assembles the verbs, and turns errors into one sentence and exit code 2."""

import signal
import sys
from collections.abc import Sequence
from types import FrameType

import click
import typer

from fedliver import __version__
from fedliver.cli import app as workbench
from fedliver.cli import cases, coordinator, dataset, demo, evaluate, pretrain, segment, site, study, teacher, train
from fedliver.errors import Cancelled, FedLiverError

USER_ERROR = 2
INTERRUPTED = 130

app = typer.Typer(
    help="Liver and tumour in CT, corrected by clinicians, improved by a federation. Research use only.", no_args_is_help=True, add_completion=False
)
app.command("segment")(segment.segment)
app.command("evaluate")(evaluate.evaluate)
app.command("train")(train.train)
app.command("demo")(demo.demo)
app.command("app")(workbench.app)
app.command("pretrain")(pretrain.pretrain)
app.command("card")(pretrain.card)
app.add_typer(cases.app, name="case")
app.add_typer(teacher.app, name="teacher")
app.add_typer(dataset.app, name="dataset")
app.add_typer(study.app, name="study")
app.add_typer(site.app, name="site")
app.add_typer(coordinator.app, name="coordinator")


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"fedliver {__version__}")
        raise typer.Exit


@app.callback()
def _options(version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Show the version and stop.")) -> None:
    pass


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit. A :class:`FedLiverError` becomes its sentence on standard error, without a traceback."""
    # Whoever ends this command (a panel that gives up, a service manager) must not leave children behind: end as with Ctrl-C.
    # SIGINT too: a command that a script starts in the background inherits it ignored, and Python leaves it so.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    try:
        code = app(args=list(arguments) if arguments is not None else None, standalone_mode=False)
    except FedLiverError as error:
        typer.echo(f"fedliver: {error.sentence}", err=True)
        sys.exit(USER_ERROR)
    except OSError as error:
        # Whatever the disk refuses and nobody further in has put into words: a name below a file, a drive that went away.
        typer.echo(f"fedliver: {error.filename or 'A file'} cannot be used ({error.strerror or error}): choose another file or folder.", err=True)
        sys.exit(USER_ERROR)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (Cancelled, KeyboardInterrupt, click.Abort):
        typer.echo("fedliver: stopped; nothing half-written was left.", err=True)
        sys.exit(INTERRUPTED)
    sys.exit(code if isinstance(code, int) else 0)
