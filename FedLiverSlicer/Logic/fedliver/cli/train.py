"""``fedliver train``: make a teacher from nothing, or let a student learn from approved cases."""

from pathlib import Path
from typing import Annotated

import typer

from fedliver.cli.progress import Bar

app = typer.Typer(help="Train a teacher.", no_args_is_help=True)


@app.command("starter")
def starter(
    data: Annotated[Path, typer.Option(help="A folder with liver_ct/labelled/NAME/{ct,labels}.nii.gz and label_maps/*.nii.gz.")],
    out: Annotated[Path, typer.Option(help="The bundle folder to write.")],
    version: Annotated[str, typer.Option(help="The version the bundle carries.")] = "1.0.0",
    steps: Annotated[int | None, typer.Option(help="Training steps; default: the small recipe.")] = None,
    minutes: Annotated[float | None, typer.Option(help="End after this long even if steps are left.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="The learning rate to begin with; lower it to train on.")] = None,
    start: Annotated[Path | None, typer.Option(help="Train on from this bundle instead of from nothing.")] = None,
    seed: Annotated[int | None, typer.Option(help="Another order of patches and augmentations.")] = None,
) -> None:
    """Train the starter teacher: real patients and images made from label maps."""
    with Bar("Training") as bar:
        bar.report("Starting", 0.0)
        from fedliver.training.starter import SMALL_RECIPE, train_starter

        wanted = {"steps": steps, "minutes": minutes, "learning_rate": learning_rate, "seed": seed}
        settings = SMALL_RECIPE.model_copy(update={key: value for key, value in wanted.items() if value is not None})
        outcome = train_starter(data, out, version=version, settings=settings, start=start, watcher=bar)
    typer.echo(f"Trained {outcome.steps} steps in {outcome.seconds / 60:.1f} min, loss {outcome.loss:.3f}: {out}")


@app.command("card")
def card(
    bundle: Annotated[Path, typer.Argument(help="The bundle whose card is written.")],
    data: Annotated[Path, typer.Option(help="The data folder it was trained from; its validation patients are scored.")],
    recipe: Annotated[str, typer.Option(help="How it was trained: steps, time, machine.")],
) -> None:
    """Score a starter on the patients it was not trained on, and write its model card."""
    with Bar("Model card") as bar:
        bar.report("Starting", 0.0)
        from fedliver.training.card import write_card

        text = write_card(bundle, data, recipe, bar)
    typer.echo(text)
