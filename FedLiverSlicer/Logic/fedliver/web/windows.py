"""Window presets: which Hounsfield units the grey values span."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Window:
    """``width`` and ``level`` in HU, as radiologists say them."""

    name: str
    width: float
    level: float


WINDOWS = (Window("Abdomen", 350, 40), Window("Liver", 150, 70), Window("Lung", 1500, -600), Window("Bone", 1800, 400))


def window_of(node: Any) -> str:
    """The name of the preset that a volume node is shown in, empty for any other window."""
    display = node.GetDisplayNode() if node is not None else None
    shown = (display.GetWindow(), display.GetLevel()) if display is not None else None
    return next((window.name for window in WINDOWS if shown == (window.width, window.level)), "")


def apply_window(node: Any, name: str) -> None:
    """Show a volume node in the window called so; an unknown name changes nothing."""
    display = node.GetDisplayNode() if node is not None else None
    for window in WINDOWS:
        if window.name == name and display is not None:
            display.AutoWindowLevelOff()
            display.SetWindowLevel(window.width, window.level)
