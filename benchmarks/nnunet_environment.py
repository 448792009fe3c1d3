"""nnU-Net in a virtual environment of its own."""

from pathlib import Path

from own_environment import NotInstalled, python_with

__all__ = ["ENVIRONMENT", "NotInstalled", "python_with_nnunet"]

HERE = Path(__file__).resolve().parent
ENVIRONMENT = HERE / ".venv"


def python_with_nnunet(environment: Path = ENVIRONMENT) -> Path:
    """The Python that has nnU-Net. Raises :class:`NotInstalled`."""
    return python_with("nnU-Net", environment, HERE / "requirements-nnunet.txt")
