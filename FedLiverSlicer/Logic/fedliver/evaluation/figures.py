"""Pictures for reports, as PNG bytes: a CT in three planes with outlines, and lines over rounds or steps.

matplotlib's Figure objects are used directly, without pyplot, so nothing is shared between threads. Colours are Okabe and Ito's, which
colour-blind readers tell apart; lines also differ by their dashes and markers.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from fedliver.image import Geometry, Volume, axis_aligned_grid, resample, to_sitk
from fedliver.labels import TUMOUR

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ORANGE, SKY, GREEN, YELLOW, BLUE, VERMILION, PURPLE = "#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7"
_LINE_COLOURS = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, "#000000")
_DASHES = ("-", (0, (5, 2)), (0, (1, 1.3)), (0, (5, 1.5, 1, 1.5)), (0, (8, 2)), (0, (3, 1, 1, 1, 1, 1)), (0, (2, 3)))
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_DPI = 150
_FINEST_MM, _COARSE_MM, _AIR_VOXELS = 0.7, 6.0, 3
_HALF_HEIGHT_MM = 190.0  # a whole-body scan is shown around the liver only


@dataclass(frozen=True)
class Outline:
    """A segmentation (0, 1 liver, 2 tumour) to draw around: the liver in ``colour``, its tumours in ``tumour_colour``."""

    labels: Volume
    name: str
    colour: str = SKY
    linestyle: str = "-"
    tumour_colour: str = ORANGE


@dataclass(frozen=True)
class Series:
    """One line: ``y`` may hold None or NaN where there is no value."""

    name: str
    x: Sequence[float]
    y: Sequence[float | None]


@dataclass(frozen=True)
class _Plane:
    """How one plane is cut from a (k, j, i) array and shown: the names of its edges left, right, top, bottom."""

    name: str
    axis: int
    edges: tuple[str, str, str, str]
    flip_rows: bool


# On the grid that axis_aligned_grid gives, i runs to the patient's left, j to the back, k to the head. Radiological convention.
_PLANES = (
    _Plane("Axial", 0, ("R", "L", "A", "P"), False),
    _Plane("Coronal", 1, ("R", "L", "S", "I"), True),
    _Plane("Sagittal", 2, ("A", "P", "S", "I"), True),
)


def as_png(figure: "Figure") -> bytes:
    """A figure's picture."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    stream = io.BytesIO()
    FigureCanvasAgg(figure).print_figure(stream, format="png", dpi=_DPI, facecolor=figure.get_facecolor())
    return stream.getvalue()


def crossing(labels: Volume) -> tuple[float, float, float] | None:
    """Where :func:`three_planes` cuts for ``labels``: deepest in the largest tumour, else in the liver. LPS millimetres; None if empty."""
    import SimpleITK as sitk

    for mask in (labels.array == TUMOUR, labels.array > 0):
        if not mask.any():
            continue
        image = to_sitk(labels.with_array(mask.astype(np.uint8)))
        largest = sitk.RelabelComponent(sitk.ConnectedComponent(image), sortByObjectSize=True) == 1
        shape = sitk.LabelShapeStatisticsImageFilter()
        shape.Execute(largest)
        box = shape.GetBoundingBox(1)
        piece = sitk.ConstantPad(sitk.RegionOfInterest(largest, box[3:], box[:3]), (1, 1, 1), (1, 1, 1), 0)
        depth = sitk.SignedMaurerDistanceMap(piece, insideIsPositive=True, squaredDistance=False, useImageSpacing=True)
        k, j, i = np.unravel_index(int(sitk.GetArrayFromImage(depth).argmax()), piece.GetSize()[::-1])
        x, y, z = piece.TransformIndexToPhysicalPoint((int(i), int(j), int(k)))
        return (x, y, z)
    return None


def _body_grid(ct: Volume, centre: np.ndarray | None) -> Geometry:
    """A grid along the patient's axes around the body without the air beside it; high scans are cut to what lies around ``centre``."""
    import SimpleITK as sitk

    coarse = resample(ct, axis_aligned_grid(ct.geometry, (_COARSE_MM,) * 3))
    body = sitk.RelabelComponent(sitk.ConnectedComponent(to_sitk(coarse.with_array((coarse.array > -300).astype(np.uint8)))), sortByObjectSize=True) == 1
    shape = sitk.LabelShapeStatisticsImageFilter()
    shape.Execute(body)
    size, origin = np.array(coarse.geometry.size), np.array(coarse.geometry.origin)
    low, high = np.zeros(3), size - 1.0
    if shape.HasLabel(1):
        box = np.array(shape.GetBoundingBox(1))
        low, high = np.maximum(box[:3] - _AIR_VOXELS, low), np.minimum(box[:3] + box[3:] - 1 + _AIR_VOXELS, high)
    low, high = origin + (low - 0.5) * _COARSE_MM, origin + (high + 0.5) * _COARSE_MM
    if centre is not None:
        low[2], high[2] = max(low[2], centre[2] - _HALF_HEIGHT_MM), min(high[2], centre[2] + _HALF_HEIGHT_MM)
    step = max(min(ct.geometry.spacing), _FINEST_MM)
    count = np.maximum(np.rint((high - low) / step).astype(int), 1)
    first = low + step / 2
    return Geometry(
        size=(int(count[0]), int(count[1]), int(count[2])),
        spacing=(step, step, step),
        origin=(float(first[0]), float(first[1]), float(first[2])),
        direction=(1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0),
    )


def _slice_grid(grid: Geometry, axis: int, at_mm: float) -> Geometry:
    """The one-voxel-thick part of ``grid`` at a coordinate along the patient's x, y or z (``axis`` 0, 1, 2)."""
    size, origin = list(grid.size), list(grid.origin)
    size[axis], origin[axis] = 1, at_mm
    return replace(grid, size=(size[0], size[1], size[2]), origin=(origin[0], origin[1], origin[2]))


def three_planes(
    ct: Volume,
    outlines: Sequence[Outline] = (),
    *,
    title: str = "",
    centre_mm: tuple[float, float, float] | None = None,
    level: float = 40.0,
    width: float = 400.0,
) -> bytes:
    """A CT in an axial, a coronal and a sagittal plane, in true proportions and radiological convention, as PNG.

    The planes are the patient's, whatever the scan's grid: an oblique CT is resampled. They cross in the largest tumour of the first
    outline that has one, else in the liver, else in the middle.

    Parameters
    ----------
    ct:
        Hounsfield units.
    outlines:
        Segmentations, on any grid. Later ones are drawn over earlier ones.
    title:
        Shown above the planes.
    centre_mm:
        Where the planes cross instead, LPS millimetres. Give it (from :func:`crossing`) to show several pictures in the same planes.
    level, width:
        The window, Hounsfield units.
    """
    from matplotlib.figure import Figure

    centre = centre_mm or next((found for outline in outlines if (found := crossing(outline.labels))), None)
    grid = _body_grid(ct, None if centre is None else np.array(centre))
    middle = np.array(grid.origin) + (np.array(grid.size) - 1) / 2 * np.array(grid.spacing) if centre is None else np.array(centre)
    step = grid.spacing[0]
    slices, masks = [], []
    for plane in _PLANES:
        here = _slice_grid(grid, 2 - plane.axis, float(middle[2 - plane.axis]))
        slices.append(_picture(resample(ct, here), plane))
        masks.append([_picture(resample(outline.labels, here, order=0, outside=0), plane) for outline in outlines])
    widths = [s.shape[1] * step for s in slices]
    height = max(s.shape[0] * step for s in slices)
    inches = 11.0
    plane_inches = (inches - 0.3) / sum(widths) * height
    foot, head = 0.42 if outlines else 0.12, 0.62 if title else 0.34
    figure = Figure(figsize=(inches, min(plane_inches, 7.5) + foot + head), facecolor="black")
    total = figure.get_size_inches()[1]
    axes = figure.subplots(1, 3, width_ratios=widths)
    figure.subplots_adjust(left=0.012, right=0.988, bottom=foot / total, top=1 - head / total, wspace=0.03)
    for panel, plane, image, labels in zip(axes, _PLANES, slices, masks, strict=True):
        panel.imshow(image, cmap="gray", vmin=level - width / 2, vmax=level + width / 2, interpolation="bilinear", aspect="equal")
        for outline, mask in zip(outlines, labels, strict=True):
            _draw_outline(panel, mask, outline)
        _dress(panel, plane)
    if title:
        figure.text(0.012, 1 - 0.1 / total, title, color="white", fontsize=13, fontweight="bold", ha="left", va="top")
    if outlines:
        _legend(figure, outlines)
    return as_png(figure)


def _picture(flat: Volume, plane: _Plane) -> np.ndarray:
    """A one-voxel-thick volume as rows and columns, the head or the front on top."""
    image = flat.array.take(0, axis=plane.axis)
    return image[::-1] if plane.flip_rows else image


def _draw_outline(panel: "Axes", labels: np.ndarray, outline: Outline) -> None:
    for mask, colour in ((labels > 0, outline.colour), (labels == TUMOUR, outline.tumour_colour)):
        if mask.any() and not mask.all():
            # Padded, so that an outline is closed where the scan ends.
            rows, columns = mask.shape
            lines: Any = outline.linestyle
            panel.contour(
                np.arange(-1, columns + 1),
                np.arange(-1, rows + 1),
                np.pad(mask, 1).astype(float),
                levels=[0.5],
                colors=[colour],
                linewidths=1.4,
                linestyles=lines,
            )


def _dress(panel: "Axes", plane: _Plane) -> None:
    from matplotlib.patheffects import withStroke

    rows, columns = panel.get_images()[0].get_array().shape[:2]  # type: ignore[union-attr]
    panel.set_xlim(-0.5, columns - 0.5)
    panel.set_ylim(rows - 0.5, -0.5)
    panel.set_axis_off()
    panel.set_title(plane.name, color="white", fontsize=11, pad=4)
    left, right, top, bottom = plane.edges
    for x, y, letter, across, along in (
        (0.015, 0.5, left, "left", "center"),
        (0.985, 0.5, right, "right", "center"),
        (0.5, 0.985, top, "center", "top"),
        (0.5, 0.015, bottom, "center", "bottom"),
    ):
        text = panel.text(
            x, y, letter, transform=panel.transAxes, color="white", fontsize=13, fontfamily="DejaVu Sans Mono", fontweight="bold", ha=across, va=along
        )
        text.set_path_effects([withStroke(linewidth=2.5, foreground="black")])


def _legend(figure: "Figure", outlines: Sequence[Outline]) -> None:
    from matplotlib.lines import Line2D

    handles = []
    for outline in outlines:
        dashes: Any = outline.linestyle
        handles.append(Line2D([], [], color=outline.colour, linestyle=dashes, linewidth=2, label=f"{outline.name}: liver"))
        if (outline.labels.array == TUMOUR).any():
            handles.append(Line2D([], [], color=outline.tumour_colour, linestyle=dashes, linewidth=2, label=f"{outline.name}: tumour"))
    figure.legend(handles=handles, loc="lower center", ncols=min(len(handles), 4), frameon=False, labelcolor="white", fontsize=10.5, borderaxespad=0.4)


def tidy(axes: "Axes", grid: Literal["both", "x", "y"] = "both") -> None:
    """What every plot has: a light grid behind what is shown, and no frame above and on the right."""
    axes.grid(visible=True, axis=grid, color="#dddddd", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def lines(
    series: Sequence[Series],
    *,
    title: str = "",
    x_label: str = "Round",
    y_label: str = "Liver Dice",
    whole_x: bool = True,
    y_range: tuple[float, float] | None = None,
) -> bytes:
    """Lines over rounds, or over training steps, as PNG. A line of many points is drawn without markers; gaps are left open.

    Parameters
    ----------
    whole_x:
        Ticks at whole numbers only, as for rounds and steps.
    y_range:
        Limits of the vertical axis; without it they fit the data.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(7.5, 3.9), facecolor="white", layout="constrained")
    axes = figure.subplots()
    for number, one in enumerate(series):
        y = np.array([np.nan if value is None else value for value in one.y], dtype=float)
        style: Any = _DASHES[number % len(_DASHES)]
        marker = _MARKERS[number % len(_MARKERS)] if len(y) <= 40 else None
        axes.plot(
            np.asarray(one.x, dtype=float),
            y,
            color=_LINE_COLOURS[number % len(_LINE_COLOURS)],
            linestyle=style,
            marker=marker,
            markersize=6,
            linewidth=2,
            label=one.name,
        )
    axes.set_xlabel(x_label, fontsize=12)
    axes.set_ylabel(y_label, fontsize=12)
    axes.tick_params(labelsize=11)
    tidy(axes)
    if whole_x:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if y_range is not None:
        axes.set_ylim(*y_range)
    if title:
        axes.set_title(title, fontsize=13, loc="left", fontweight="bold")
    if len(series) > 1 or (series and series[0].name):
        axes.legend(fontsize=11, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5), handlelength=3.2)
    return as_png(figure)
