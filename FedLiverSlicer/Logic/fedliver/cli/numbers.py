"""Numbers on the command line."""

import math

import typer


def finite(value: float | None) -> float | None:
    """For an option: ``nan`` and ``inf`` pass a minimum and a maximum, and are no number of minutes."""
    if value is not None and not math.isfinite(value):
        raise typer.BadParameter(f"{value} is not a number that can be used.")
    return value
