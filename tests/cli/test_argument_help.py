"""What the help of a command says of its arguments is what the code says."""

import click
import pytest
import typer

from fedliver.cli.main import app


def _commands(command: click.Command, name: str) -> list[tuple[str, click.Command]]:
    if isinstance(command, click.Group):
        return [found for word, one in command.commands.items() for found in _commands(one, f"{name} {word}")]
    return [(name, command)]


@pytest.mark.parametrize(("name", "command"), _commands(typer.main.get_command(app), "fedliver"), ids=lambda value: value if isinstance(value, str) else "")
def test_every_argument_of_a_command_is_explained(name: str, command: click.Command) -> None:
    """click 8.5 gives arguments a help of its own, and so takes away the one that typer up to 0.20 gave them."""
    assert [parameter.name for parameter in command.params if isinstance(parameter, click.Argument) and not getattr(parameter, "help", None)] == []
