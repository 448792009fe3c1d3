"""Curves as a plot in Slicer's chart view: MRML table, series and chart nodes, which are saved with the scene."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

TAG = "FedLiver.Curves"
_TITLE_POINTS, _AXIS_POINTS = 14, 12  # a quarter of a window is narrow
_COLOURS = ((0.12, 0.47, 0.71), (0.84, 0.35, 0.12), (0.17, 0.63, 0.17), (0.58, 0.40, 0.74))


@dataclass(frozen=True)
class Curve:
    """Points (x, y) of one curve."""

    name: str
    points: tuple[tuple[float, float], ...]


def show_curves(title: str, x_title: str, y_title: str, curves: Sequence[Curve], *, scene: Any = None) -> Any:
    """Make or renew the chart called ``title`` and show it in the chart view, where there is one. Returns the chart node.

    There is one chart per title: showing it again changes its points, so that a table of a longer run does not pile up in the scene.
    """
    import slicer

    scene = scene or slicer.mrmlScene
    chart = _own(scene, "vtkMRMLPlotChartNode", title)
    wanted = {f"{title}: {curve.name}": curve for curve in curves if curve.points}
    series = [_series(scene, name, curve, _COLOURS[number % len(_COLOURS)]) for number, (name, curve) in enumerate(wanted.items())]
    chart.RemoveAllPlotSeriesNodeIDs()
    for node in series:
        chart.AddAndObservePlotSeriesNodeID(node.GetID())
    chart.SetTitle(title)
    chart.SetXAxisTitle(x_title)
    chart.SetYAxisTitle(y_title)
    chart.SetLegendVisibility(len(series) > 1)
    chart.SetTitleFontSize(_TITLE_POINTS)
    chart.SetAxisTitleFontSize(_AXIS_POINTS)
    chart.SetLegendFontSize(_AXIS_POINTS)
    _bring_into_view(chart)
    return chart


def _series(scene: Any, name: str, curve: Curve, colour: tuple[float, float, float]) -> Any:
    import slicer

    table = _own(scene, "vtkMRMLTableNode", f"{name} (table)")
    _fill(table, {"x": [x for x, _ in curve.points], "y": [y for _, y in curve.points]})
    node = _own(scene, "vtkMRMLPlotSeriesNode", name)
    node.SetName(curve.name)  # what the legend shows
    node.SetAndObserveTableNodeID(table.GetID())
    node.SetXColumnName("x")
    node.SetYColumnName("y")
    node.SetPlotType(slicer.vtkMRMLPlotSeriesNode.PlotTypeScatter)
    node.SetMarkerStyle(slicer.vtkMRMLPlotSeriesNode.MarkerStyleCircle)
    node.SetColor(*colour)
    return node


def _fill(table: Any, columns: Mapping[str, Sequence[float]]) -> None:
    import vtk

    table.RemoveAllColumns()
    for name, values in columns.items():
        array = vtk.vtkDoubleArray()
        array.SetName(name)
        for value in values:
            array.InsertNextValue(value)
        table.AddColumn(array)
    table.GetTable().Modified()


def _own(scene: Any, node_class: str, key: str) -> Any:
    """Our node of this class under this key, made if it is not there."""
    for position in range(scene.GetNumberOfNodesByClass(node_class)):
        node = scene.GetNthNodeByClass(position, node_class)
        if node.GetAttribute(TAG) == key:
            return node
    node = scene.AddNewNodeByClass(node_class, key)
    node.SetAttribute(TAG, key)
    return node


def _bring_into_view(chart: Any) -> None:
    """Slicer's own logic chooses a layout with a chart view. In slicer-core there is neither, and the nodes are all there is."""
    import slicer

    plots = getattr(slicer.modules, "plots", None)
    if plots is None:
        return
    plots.logic().ShowChartInLayout(chart)
    layout = slicer.app.layoutManager()
    for number in range(layout.plotViewCount if layout else 0):
        # Multisampled by software (a remote desktop, a machine without a graphics card), the margins with the axes' numbers stay black.
        layout.plotWidget(number).plotView().renderWindow().SetMultiSamples(0)
