"""Is this volume a CT in Hounsfield units that a liver could be in? Refusals and warnings, each a sentence."""

import numpy as np
import SimpleITK as sitk

from fedliver.errors import FedLiverError
from fedliver.image import AIR_HU, Volume

MIN_SLICES = 5
MIN_PIXELS = 16
THICK_SLICES_MM = 5.5
COARSE_PIXELS_MM = 2.5
SHORT_SCAN_MM = 60.0
MAX_SPACING_MM = 20.0
_PADDING_HU = -1500
_SAMPLES = 4_000_000
_ONLY_AIR = "There is nothing but air in this scan: check that it is the right series and that its rescale values are right."


def clean(volume: Volume) -> tuple[Volume, list[str]]:
    """The same volume as int16 where its values are whole numbers, else float32, with padding set to air; and what was changed.

    Values below -1024 HU are padding that scanners write around the round field of view, as are NaN that touch the border.

    Raises
    ------
    FedLiverError
        ``not-finite``: infinite values, or NaN inside the image.
    """
    array, notes = volume.array, []
    if array.dtype.kind == "f":
        array, filled = _fill_nan_outside(array)
        if filled:
            notes.append("Voxels around the scan hold no number (NaN): they were set to air (-1024 HU).")
    if array.dtype.kind in "iu" and array.size:
        low, high = int(array.min()), int(array.max())
        if low < AIR_HU:
            array = np.maximum(array, AIR_HU)
        whole = high <= np.iinfo(np.int16).max
        array = array.astype(np.int16 if whole else np.float32, copy=False)
    elif array.size:
        low = int(max(array.min(), -1e9))
        if low < AIR_HU:
            array = np.maximum(array, np.asarray(AIR_HU, array.dtype))
        array = _as_whole_numbers(array)
    else:
        low = 0
    if low <= _PADDING_HU:
        notes.append(f"The scan is padded with {low} HU outside its field of view: this was set to air ({AIR_HU} HU).")
    return volume.with_array(array), notes


def check_ct(volume: Volume) -> list[str]:
    """Raise if ``volume`` is no CT in Hounsfield units that can be segmented; return warnings, each a sentence.

    Raises
    ------
    FedLiverError
        ``two-dimensional``, ``too-few-slices``, ``implausible-spacing``, ``sheared``, ``not-finite``, ``constant-image``, ``label-map``,
        ``not-hounsfield`` or ``no-body``.
    """
    _check_grid(volume)
    low, high = _check_range(volume.array)
    sample = _sample(volume.array)
    _check_hounsfield(sample, low, high)
    return _grid_warnings(volume) + _clipping_warnings(sample, low, high)


def _as_whole_numbers(array: np.ndarray) -> np.ndarray:
    """int16 if every value is a whole number that fits, slice by slice so that no big copy is made for nothing."""
    limits = np.iinfo(np.int16)
    for piece in array:
        if not (np.array_equal(piece, np.rint(piece)) and piece.max() <= limits.max and piece.min() >= limits.min):
            return array.astype(np.float32, copy=False)
    return array.astype(np.int16)


def _fill_nan_outside(array: np.ndarray) -> tuple[np.ndarray, bool]:
    """NaN connected to the border become air. NaN in the middle, whole empty slices between others, and infinities are refused."""
    empty = np.isnan(array)
    inside = _infinite(array)
    if not inside and not empty.any():
        return array, False
    if not inside:
        bare = np.flatnonzero(empty.all(axis=(1, 2)))
        inside = bool(np.any((bare > 0) & (bare < len(array) - 1) & ~_runs_to_an_end(bare, len(array))))
    if not inside:
        for piece in empty:
            components = sitk.GetArrayFromImage(sitk.ConnectedComponent(sitk.GetImageFromArray(piece.astype(np.uint8))))
            edge = np.concatenate([components[0], components[-1], components[:, 0], components[:, -1]])
            if not np.isin(components[piece], edge).all():
                inside = True
                break
    if inside:
        raise FedLiverError(
            "not-finite", "The image holds values that are no numbers (NaN or infinity) inside the scan: export it again from the original DICOM."
        )
    return np.where(empty, np.asarray(AIR_HU, array.dtype), array), True


def _infinite(array: np.ndarray) -> bool:
    return bool(np.isinf(array).any())


def _runs_to_an_end(bare: np.ndarray, length: int) -> np.ndarray:
    """Which of the empty slices belong to a run that starts at the first slice or ends at the last."""
    taken = set(bare.tolist())
    head = next((n for n in range(length) if n not in taken), length)
    tail = next((n for n in range(length - 1, -1, -1) if n not in taken), -1)
    return (bare < head) | (bare > tail)


def _check_grid(volume: Volume) -> None:
    grid = volume.geometry
    slices, in_plane = grid.size[2], min(grid.size[:2])
    if slices == 1 or in_plane < MIN_PIXELS:
        raise FedLiverError("two-dimensional", f"The image is {' × '.join(map(str, grid.size))} voxels, which is no CT volume: give the whole series.")
    if slices < MIN_SLICES:
        raise FedLiverError("too-few-slices", f"The scan has {slices} slices; at least {MIN_SLICES} are needed to segment a liver: give the whole series.")
    if not all(0.05 <= s <= MAX_SPACING_MM for s in grid.spacing):
        text = " × ".join(f"{s:g}" for s in grid.spacing)
        raise FedLiverError("implausible-spacing", f"Voxels of {text} mm are not those of a CT: correct the spacing or export the series again.")
    axes = np.reshape(grid.direction, (3, 3))
    if not np.allclose(axes.T @ axes, np.eye(3), atol=1e-3):
        raise FedLiverError("sheared", "The volume's axes are not at right angles (gantry tilt): resample it onto a straight grid first.")


def _check_range(array: np.ndarray) -> tuple[float, float]:
    if array.dtype.kind not in "iuf":
        raise FedLiverError("not-hounsfield", f"The image holds {array.dtype} values, not Hounsfield units: export the CT as 16-bit signed numbers.")
    low, high = float(array.min()), float(array.max())
    if not np.isfinite(low + high):
        raise FedLiverError("not-finite", "The image holds values that are no numbers (NaN or infinity): export it again from the original DICOM.")
    if low == high:
        raise FedLiverError("constant-image", f"Every voxel of the image is {low:g}: there is nothing in it. Export the series again.")
    return low, high


def _sample(array: np.ndarray) -> np.ndarray:
    """Every n-th voxel along each axis, about four million at most: enough for fractions, quick for any scan."""
    step = max(1, int(np.ceil((array.size / _SAMPLES) ** (1 / 3))))
    return array[::step, ::step, ::step]


def _check_hounsfield(sample: np.ndarray, low: float, high: float) -> None:
    if high < -100:
        raise FedLiverError("no-body", _ONLY_AIR)
    if low >= 0 and high <= 255 and np.array_equal(sample, np.rint(sample)):
        if len(np.unique(sample)) <= 64:
            raise FedLiverError("label-map", "This is a label map (few whole numbers from 0), not a CT: give the CT itself.")
        raise FedLiverError("not-hounsfield", "The image has 8-bit grey values (0 to 255), not Hounsfield units: export the original DICOM, no picture of it.")
    if low >= 0:
        raise FedLiverError(
            "not-hounsfield",
            f"All values are positive ({low:g} to {high:g}), so these are not Hounsfield units (air would be -1000; perhaps the rescale intercept is missing, "
            "or it is an MR): export the CT again with its rescale intercept applied.",
        )
    if high - low < 250 or high > 1e5:
        raise FedLiverError(
            "not-hounsfield", f"The values run from {low:g} to {high:g}, which is not the range of Hounsfield units: give the CT before any normalisation."
        )
    body = sample[sample > -250]
    if body.size < 0.003 * sample.size:
        raise FedLiverError("no-body", _ONLY_AIR)
    soft = np.count_nonzero((body >= -200) & (body <= 300)) / body.size
    dark = np.count_nonzero(sample <= -40) / sample.size
    if soft < 0.25 or dark < 0.005:
        raise FedLiverError(
            "not-hounsfield",
            "The values are not those of a body in Hounsfield units (water 0, air -1000, fat -100): export the CT again with its rescale slope and intercept.",
        )


def _grid_warnings(volume: Volume) -> list[str]:
    grid, warnings = volume.geometry, []
    axes = np.abs(np.reshape(grid.direction, (3, 3)))
    along = int(np.argmax(axes[2]))  # the voxel axis closest to head-foot
    thickness, length = grid.spacing[along], grid.spacing[along] * grid.size[along]
    if max(grid.spacing) > THICK_SLICES_MM:
        warnings.append(f"The slices are {max(grid.spacing):.1f} mm apart: small tumours can be missed and volumes are less exact.")
    elif sorted(grid.spacing)[1] > COARSE_PIXELS_MM:
        warnings.append(f"The pixels are {sorted(grid.spacing)[1]:.1f} mm wide: small tumours can be missed.")
    if length < SHORT_SCAN_MM:
        warnings.append(
            f"The scan covers only {length:.0f} mm from head to foot ({grid.size[along]} slices of {thickness:.1f} mm): the liver cannot be whole in it."
        )
    angle = float(np.degrees(np.arccos(np.clip(axes.max(axis=0).min(), 0, 1))))
    if angle > 0.5:
        warnings.append(f"The volume is oblique (turned by {angle:.0f} degrees): it is segmented as it lies.")
    return warnings


def _clipping_warnings(sample: np.ndarray, low: float, high: float) -> list[str]:
    if low < -600:
        return []
    at_low, at_high = np.count_nonzero(sample == low) / sample.size, np.count_nonzero(sample == high) / sample.size
    if at_low < 0.02 and at_high < 0.001:
        return []
    return [f"The Hounsfield units are clipped to {low:g} to {high:g}: lung, fat or bone may look alike, and the segmentation may be less exact."]
