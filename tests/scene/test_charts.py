"""Curves as MRML plot nodes, with the real ones of slicer-core."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from fedliver.site.progress import ProgressEvent
from fedliver.slicer.charts import Curve, show_curves
from fedliver.slicer.federation_work import curves_of

LOSS = Curve("Loss", ((0.5, 0.9), (1.0, 0.7), (1.5, 0.4)))
DICE = Curve("Dice", ((1.0, 0.91), (2.0, 0.93)))


def table_of(series: Any) -> list[tuple[float, float]]:
    table = series.GetTableNode().GetTable()
    columns = [table.GetColumnByName(series.GetXColumnName()), table.GetColumnByName(series.GetYColumnName())]
    return [(columns[0].GetValue(row), columns[1].GetValue(row)) for row in range(table.GetNumberOfRows())]


def series_of(chart: Any) -> dict[str, Any]:
    return {chart.GetNthPlotSeriesNode(n).GetName(): chart.GetNthPlotSeriesNode(n) for n in range(chart.GetNumberOfPlotSeriesNodes())}


def test_every_curve_becomes_a_series_with_its_points_and_the_axes_are_named(scene: Any) -> None:
    chart = show_curves("Rounds", "Round", "Loss, Dice", [LOSS, DICE])
    shown = series_of(chart)
    assert {name: table_of(series) for name, series in shown.items()} == {"Loss": list(LOSS.points), "Dice": list(DICE.points)}
    assert (chart.GetTitle(), chart.GetXAxisTitle(), chart.GetYAxisTitle(), chart.GetLegendVisibility()) == ("Rounds", "Round", "Loss, Dice", True)
    assert shown["Loss"].GetColor() != shown["Dice"].GetColor()


def test_showing_it_again_renews_the_points_and_piles_nothing_up(scene: Any) -> None:
    first = show_curves("Rounds", "Round", "y", [LOSS, DICE])
    count = scene.GetNumberOfNodes()
    longer = Curve("Loss", (*LOSS.points, (2.0, 0.2)))
    again = show_curves("Rounds", "Round", "y", [longer, Curve("Dice", ())])
    assert again is first
    assert scene.GetNumberOfNodes() == count
    assert {name: len(table_of(series)) for name, series in series_of(again).items()} == {"Loss": 4}


def test_slicers_own_logic_brings_it_into_view_where_there_is_one(scene: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import slicer

    shown: list[Any] = []
    plots = SimpleNamespace(logic=lambda: SimpleNamespace(ShowChartInLayout=shown.append))
    samples: list[int] = []
    view = SimpleNamespace(plotView=lambda: SimpleNamespace(renderWindow=lambda: SimpleNamespace(SetMultiSamples=samples.append)))
    monkeypatch.setattr(slicer.modules, "plots", plots, raising=False)
    monkeypatch.setattr(slicer, "app", SimpleNamespace(layoutManager=lambda: SimpleNamespace(plotViewCount=1, plotWidget=[view].__getitem__)), raising=False)
    chart = show_curves("Rounds", "Round", "y", [LOSS])
    assert shown == [chart]
    assert samples == [0], "or the numbers at the axes are black on black where there is no graphics card"
    monkeypatch.setattr(slicer, "app", SimpleNamespace(layoutManager=lambda: None), raising=False)
    assert show_curves("Rounds", "Round", "y", [LOSS]) is chart, "without a main window, too"


def test_the_chart_survives_the_scenes_file(scene: Any, tmp_path: Path) -> None:
    show_curves("Rounds", "Round", "y", [LOSS, DICE])
    assert scene.WriteToMRB(str(tmp_path / "scene.mrb"))
    scene.Clear(1)
    assert scene.ReadFromMRB(str(tmp_path / "scene.mrb"))
    chart = scene.GetFirstNodeByClass("vtkMRMLPlotChartNode")
    np.testing.assert_allclose(table_of(series_of(chart)["Loss"]), LOSS.points)


def event(phase: str, round_: int, **values: Any) -> ProgressEvent:
    return ProgressEvent(phase=phase, round=round_, rounds=3, **values)


def test_a_sites_history_becomes_loss_by_step_and_dice_by_round() -> None:
    history = [
        event("received", 1),
        event("evaluating", 1, dice=0.90, cases=2),
        event("training", 1, step=5, total=10, loss=0.8),
        event("training", 1, step=10, total=10, loss=0.6),
        event("evaluating", 2, dice=0.92, cases=2),
        event("training", 2, step=5, total=10, loss=0.5),
        event("training", 2, step=5, total=10, loss=0.45),  # the round was begun anew
        event("failed", 2, code=3),
    ]
    loss, dice = curves_of(history)
    assert loss.points == ((0.5, 0.8), (1.0, 0.6), (1.5, 0.45))
    assert dice.points == ((1.0, 0.90), (2.0, 0.92))
    assert [curve.points for curve in curves_of([])] == [(), ()]
