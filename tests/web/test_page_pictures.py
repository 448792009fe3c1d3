"""The curves as SVG, the window presets, and the bounds of what a page may set."""

from types import SimpleNamespace
from xml.etree import ElementTree

import pytest

from fedliver.slicer.charts import Curve
from fedliver.web.curves_svg import svg_of
from fedliver.web.stage import SlicePosition
from fedliver.web.tools import Settings
from fedliver.web.windows import WINDOWS, apply_window, window_of

LOSS = Curve("Loss", ((0.5, 0.8), (1.0, 0.4), (2.0, 0.2)))
DICE = Curve("Dice", ((1.0, 0.9), (2.0, 0.95)))
SVG = "{http://www.w3.org/2000/svg}"


def test_no_points_no_picture() -> None:
    assert svg_of([Curve("Loss", ())], "Rounds", "Round") == ""


def test_each_curve_is_a_line_that_differs_by_more_than_colour_and_is_named() -> None:
    root = ElementTree.fromstring(svg_of([LOSS, DICE], "Rounds", "Round"))  # noqa: S314 our own
    lines = [path for path in root.iter(f"{SVG}path") if path.get("fill") == "none" and "L" in path.get("d", "")]
    assert len(lines) == 2
    assert len({line.get("stroke") for line in lines}) == 2
    assert len({line.get("stroke-dasharray") for line in lines}) == 2
    assert {"Loss", "Dice", "Round"} <= {text.text for text in root.iter(f"{SVG}text")}
    assert root.findtext(f"{SVG}title") == "Rounds. Loss: 0.200; Dice: 0.950"
    assert root.get("role") == "img"


def test_later_is_right_and_more_is_up_and_all_is_inside() -> None:
    root = ElementTree.fromstring(svg_of([LOSS], "Rounds", "Round"))  # noqa: S314 our own
    dots = [(float(dot.get("cx", "")), float(dot.get("cy", ""))) for dot in root.iter(f"{SVG}circle")]
    assert len(dots) == 3
    assert dots == sorted(dots)
    assert [y for _x, y in dots] == sorted(y for _x, y in dots), "the loss falls, so its dots go down the page"
    assert all(0 <= x <= 336 and 0 <= y <= 190 for x, y in dots)


def test_a_name_is_text_and_never_markup() -> None:
    assert "<script>" not in svg_of([Curve("<script>x</script>", LOSS.points)], "<b>", "&")


class Display:
    def __init__(self) -> None:
        self.at = (1.0, 2.0)

    def AutoWindowLevelOff(self) -> None:  # noqa: N802
        pass

    def SetWindowLevel(self, width: float, level: float) -> None:  # noqa: N802
        self.at = (width, level)

    def GetWindow(self) -> float:  # noqa: N802
        return self.at[0]

    def GetLevel(self) -> float:  # noqa: N802
        return self.at[1]


def test_a_preset_is_applied_and_recognised_and_an_unknown_one_changes_nothing() -> None:
    display = Display()
    node = SimpleNamespace(GetDisplayNode=lambda: display)
    assert window_of(node) == ""
    for window in WINDOWS:
        apply_window(node, window.name)
        assert window_of(node) == window.name
    apply_window(node, "Nonsense")
    assert window_of(node) == WINDOWS[-1].name
    apply_window(None, "Liver")
    assert window_of(None) == ""
    assert [window.name for window in WINDOWS] == ["Abdomen", "Liver", "Lung", "Bone"]


@pytest.mark.parametrize(
    ("name", "value"),
    [("brush_mm", 0), ("brush_mm", 1e9), ("brush_mm", float("nan")), ("brush_mm", "wide"), ("cut", "EVERYTHING"), ("nobody", 1), ("low", 900.0)],
)
def test_a_setting_that_cannot_be_changes_nothing(name: str, value: object) -> None:
    assert Settings().changed(name, value) == Settings()


def test_a_setting_that_can_be_is_taken() -> None:
    assert Settings().changed("brush_mm", 8).brush_mm == 8.0
    assert Settings().changed("high", 300).high == 300.0
    assert Settings().changed("cut", "FILL_INSIDE").cut == "FILL_INSIDE"


def test_scrolling_stops_at_the_volumes_ends() -> None:
    at = SlicePosition(first=-10.0, last=10.0, step=2.5, at=5.0)
    assert at.moved(1) == 7.5
    assert at.moved(9) == 10.0
    assert at.moved(-99) == -10.0
