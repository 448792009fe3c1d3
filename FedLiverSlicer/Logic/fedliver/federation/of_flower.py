"""Flower's own parts, looked up by name by the programs that restrict them."""

import sys
from importlib import import_module
from typing import Any


def of_flower(module: str, name: str) -> Any:
    """What Flower calls so, ``module`` without ``flwr.``. Ends this process where it has nothing of that name: what cannot be restricted must not run."""
    try:
        return getattr(import_module(f"flwr.{module}"), name)
    except (ImportError, AttributeError):
        sys.exit(f"fedliver: this Flower has no {module}.{name}; flwr 1.41 is needed")
