"""The option ``--device`` of the commands that run a network."""

from typing import Annotated

import typer

DeviceName = Annotated[
    str | None,
    typer.Option(
        "--device",
        metavar="DEVICE",
        help="Where to run: auto (a graphics card if one can be used), cpu, cuda or cuda:N. Default: $FEDLIVER_DEVICE or auto.",
        show_default=False,
    ),
]
