"""From a human organ label map without a CT to a whole body of tissues: what the annotators left out is filled in.

Label maps of abdominal organs (WORD, Luo et al. 2022; AMOS, Ji et al. 2022) say nothing about skin, fat, muscle, bone, lung
or the table. A network that has never seen those calls them liver. The rules below put them where a body has them; they need
to be plausible, not true.
"""

from enum import IntEnum
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from fedliver.errors import FedLiverError
from fedliver.image import from_sitk, resample
from fedliver.image_file import open_image
from fedliver.teacher.plan import StagePlan
from fedliver.teacher.preparation import network_grid


class Tissue(IntEnum):
    """What a voxel of the filled-in body is."""

    AIR = 0
    LIVER = 1
    SPLEEN = 2
    KIDNEY = 3
    STOMACH = 4
    GALLBLADDER = 5
    OESOPHAGUS = 6
    PANCREAS = 7
    DUODENUM = 8
    COLON = 9
    INTESTINE = 10
    ADRENAL = 11
    RECTUM = 12
    BLADDER = 13
    BONE = 14
    FAT = 15
    MUSCLE = 16
    LUNG = 17
    VESSEL = 18
    HEART = 19
    TABLE = 20
    SKIN = 21


_T = Tissue
_BODY_MM = 2.5
WORD = (
    _T.AIR, _T.LIVER, _T.SPLEEN, _T.KIDNEY, _T.KIDNEY, _T.STOMACH, _T.GALLBLADDER, _T.OESOPHAGUS, _T.PANCREAS, _T.DUODENUM, _T.COLON, _T.INTESTINE,
    _T.ADRENAL, _T.RECTUM, _T.BLADDER, _T.BONE, _T.BONE,
)  # fmt: skip
AMOS = (
    _T.AIR, _T.SPLEEN, _T.KIDNEY, _T.KIDNEY, _T.GALLBLADDER, _T.OESOPHAGUS, _T.LIVER, _T.STOMACH, _T.VESSEL, _T.VESSEL, _T.PANCREAS, _T.ADRENAL, _T.ADRENAL,
    _T.DUODENUM, _T.BLADDER, _T.MUSCLE,
)  # fmt: skip


def read_organs(path: Path, plan: StagePlan) -> np.ndarray:
    """An organ label map on the plan's grid as :class:`Tissue` values, (k, j, i) uint8. The file's name tells the scheme: ``word_*`` or ``amos_*``."""
    scheme = {"word": WORD, "amos": AMOS}.get(path.name.split("_")[0])
    if scheme is None:
        raise FedLiverError("unknown-label-map", f"{path.name} is neither a WORD nor an AMOS label map (word_*.nii.gz, amos_*.nii.gz).")
    volume = from_sitk(open_image(path).image)
    array = resample(volume, network_grid(volume.geometry, plan), order=0, outside=0).array
    if array.min() < 0 or array.max() >= len(scheme):
        raise FedLiverError("unknown-label-map", f"{path.name} holds labels that its scheme does not know.")
    return np.asarray(scheme, np.uint8)[array]


def fill_in_body(organs: np.ndarray, spacing_mm: tuple[float, float, float], rng: np.random.Generator) -> np.ndarray:
    """Put the organs into a body: skin, fat, muscle, spine, ribs, lungs, heart, great vessels and table.

    ``organs`` is (k, j, i) with i towards left, j towards posterior, k towards superior; the answer has the same shape.
    The body is built on every n-th voxel where voxels are smaller than 2.5 mm (it takes a minute otherwise); the organs stay as fine as they are.
    """
    step = max(1, round(_BODY_MM / min(spacing_mm)))
    body = _surroundings(organs[::step, ::step, ::step], tuple(step * mm for mm in spacing_mm), rng)  # type: ignore[arg-type]
    for axis, length in enumerate(organs.shape):
        body = body.repeat(step, axis).take(range(length), axis)
    body[organs > 0] = organs[organs > 0]
    return body


def _surroundings(organs: np.ndarray, spacing_mm: tuple[float, float, float], rng: np.random.Generator) -> np.ndarray:
    frame = _Frame(organs, spacing_mm, rng)
    body = np.full(organs.shape, _T.AIR, np.uint8)
    _table(body, frame, rng)
    wall = rng.uniform(14, 26)
    fat = rng.uniform(6, 45)
    body[frame.distance < wall + fat + 2.5] = _T.SKIN
    body[frame.distance < wall + fat] = _T.FAT
    body[frame.distance < wall] = _T.MUSCLE
    cavity = frame.distance < 0
    body[cavity] = _T.FAT
    thorax = _lungs_and_heart(body, frame, cavity, rng)
    _ribs(body, frame, thorax, rng)
    _spine_and_vessels(body, frame, rng)
    _line_the_wall(body, frame)
    return body


class _Frame:
    """Distances in mm from an elliptic wall around the organs, slice by slice, and the landmarks the rules need."""

    def __init__(self, organs: np.ndarray, spacing_mm: tuple[float, float, float], rng: np.random.Generator) -> None:
        self.organs = organs
        di, dj, self.dk = spacing_mm
        slices, rows, columns = organs.shape
        abdomen = (organs > 0) & (organs != _T.BONE)
        used = np.flatnonzero(abdomen.any(axis=(1, 2)))
        left, right, front, back = (np.empty(len(used)) for _ in range(4))
        for n, k in enumerate(used):
            across, along = np.flatnonzero(abdomen[k].any(axis=0)), np.flatnonzero(abdomen[k].any(axis=1))
            left[n], right[n], front[n], back[n] = across[0] * di, across[-1] * di, along[0] * dj, along[-1] * dj
        everywhere = np.arange(slices)
        # One width for the whole trunk, softened: single slices hold few organs and would pinch the body.
        self.x = np.full(slices, np.percentile((left + right) / 2, 50))
        self.half_width = _smooth(np.interp(everywhere, used, (right - left) / 2), 14, at_least=np.percentile(right - left, 75) / 2 * 0.93) + rng.uniform(4, 14)
        self.front = _smooth(np.interp(everywhere, used, front), 14, at_most=np.percentile(front, 30)) - rng.uniform(2, 10)
        self.back = _smooth(np.interp(everywhere, used, back), 14, at_least=np.percentile(back, 70)) + rng.uniform(8, 18)
        self.y = (self.front + self.back) / 2
        half_depth = (self.back - self.front) / 2
        self.xx = (np.arange(columns) * di)[None, None, :] - self.x[:, None, None]
        self.yy = (np.arange(rows) * dj)[None, :, None] - self.y[:, None, None]
        self.zz = (everywhere * self.dk)[:, None, None]
        a, b = self.half_width[:, None, None], half_depth[:, None, None]
        power = rng.uniform(2.2, 2.8)
        radius = ((np.abs(self.xx) / a) ** power + (np.abs(self.yy) / b) ** power) ** (1 / power)
        self.distance = ((radius - 1) * np.minimum(a, b)).astype(np.float32)
        self.half_depth = b
        liver = np.flatnonzero((organs == _T.LIVER).any(axis=(1, 2)))
        self.liver_top = float(liver[-1] * self.dk) if len(liver) else slices * self.dk
        self.liver_bottom = float(liver[0] * self.dk) if len(liver) else slices * self.dk


def _smooth(values: np.ndarray, width: int, *, at_least: float | None = None, at_most: float | None = None) -> np.ndarray:
    clipped = np.clip(values, at_least, at_most)
    padded = np.pad(clipped, width, mode="edge")
    return np.convolve(padded, np.ones(2 * width + 1) / (2 * width + 1), mode="valid")


def _lungs_and_heart(body: np.ndarray, frame: _Frame, cavity: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Lungs lie above the organs of each column, and behind and beside them in the recesses; the heart in front, a little to the left."""
    organs = frame.organs
    height = frame.liver_top - frame.liver_bottom
    occupied = np.isin(organs, (_T.LIVER, _T.SPLEEN, _T.STOMACH, _T.KIDNEY))
    top = np.where(occupied.any(axis=0), (occupied.shape[0] - 1 - occupied[::-1].argmax(axis=0)) * frame.dk, -1.0)
    recess = frame.liver_bottom + rng.uniform(0.55, 0.75) * height
    centre_height = frame.liver_top - rng.uniform(5, 20)
    floor = np.where(top > recess, top, np.where(np.abs(frame.xx[0]) > 0.55 * frame.half_width[0], recess, centre_height))
    thorax = cavity & (frame.zz > recess)
    lung = cavity & (frame.distance < -4) & (frame.zz > floor[None] + 3)
    body[thorax & (body == _T.FAT) & ~lung & (frame.distance > -8)] = _T.MUSCLE
    body[lung] = _T.LUNG
    across, along, up = rng.uniform(45, 60), rng.uniform(35, 45), rng.uniform(40, 60)
    heart = ((frame.xx - 18) / across) ** 2 + ((frame.yy + 0.35 * frame.half_depth) / along) ** 2 + ((frame.zz - frame.liver_top - 25) / up) ** 2 < 1
    body[heart & cavity & (frame.zz > frame.liver_top - 25)] = _T.HEART
    mediastinum = (np.abs(frame.xx) < 22) & (frame.yy > -0.5 * frame.half_depth) & lung & (body != _T.HEART)
    body[mediastinum] = np.where(rng.uniform(size=int(mediastinum.sum())) < 0.7, _T.FAT, _T.MUSCLE)
    return frame.zz > recess - 60


def _ribs(body: np.ndarray, frame: _Frame, thorax: np.ndarray, rng: np.random.Generator) -> None:
    shell = (frame.distance > 0) & (frame.distance < rng.uniform(7, 10)) & thorax
    height = frame.zz - 0.45 * (frame.yy - frame.half_depth) + rng.uniform(0, 30)
    ribs = shell & (np.mod(height, rng.uniform(24, 32)) < rng.uniform(8, 12)) & (frame.yy > -0.85 * frame.half_depth)
    body[ribs] = _T.BONE
    body[shell & ~ribs & (body == _T.FAT)] = _T.MUSCLE


def _spine_and_vessels(body: np.ndarray, frame: _Frame, rng: np.random.Generator) -> None:
    radius = rng.uniform(18, 24)
    centre = frame.half_depth - rng.uniform(0.2, 0.9) * radius
    from_centre = np.hypot(frame.xx, (frame.yy - centre) * 1.15)
    wall = frame.distance < 40
    behind = (np.abs(frame.xx) < rng.uniform(55, 75)) & (frame.yy > centre) & (frame.yy < centre + 60) & wall
    body[behind & (body != _T.AIR) & (body != _T.SKIN) & (body != _T.LUNG)] = _T.MUSCLE
    psoas = (np.hypot(np.abs(frame.xx) - radius - 14, frame.yy - centre) < 17) & (frame.zz < frame.liver_bottom + 40) & (body == _T.FAT)
    body[psoas] = _T.MUSCLE
    body[(from_centre < radius) & wall] = _T.BONE
    disc = np.mod(frame.zz + rng.uniform(0, 35), rng.uniform(30, 38)) < 6
    body[(from_centre < radius) & disc & wall] = _T.MUSCLE
    process = (np.abs(frame.xx) < 5) & (frame.yy > centre + radius) & (frame.yy < centre + radius + 35) & ~disc & (body == _T.MUSCLE)
    body[process] = _T.BONE
    canal = np.hypot(frame.xx, frame.yy - centre - radius - 3) < 8
    body[canal & wall] = _T.FAT
    before = centre - radius / 1.15 - 12
    body[(np.hypot(frame.xx - 6, frame.yy - before) < 10) & wall] = _T.VESSEL
    body[(np.hypot(frame.xx + 22, frame.yy - before + 2) < 11) & wall & (frame.zz < frame.liver_top)] = _T.VESSEL


def _line_the_wall(body: np.ndarray, frame: _Frame) -> None:
    """Liver and spleen lie against the diaphragm and the ribs, not in a pocket of fat."""
    solid = sitk.GetImageFromArray(np.isin(frame.organs, (_T.LIVER, _T.SPLEEN)).astype(np.uint8))
    near = sitk.GetArrayFromImage(sitk.BinaryDilate(solid, [5, 5, 1])).astype(bool)
    body[near & (frame.distance > -25) & (body == _T.FAT) & (frame.distance < 0)] = _T.MUSCLE


def _table(body: np.ndarray, frame: _Frame, rng: np.random.Generator) -> None:
    if rng.uniform() < 0.3:
        return
    gap = frame.half_depth.max() + rng.uniform(45, 75)
    sag = frame.xx**2 / rng.uniform(700, 3000)
    depth = frame.yy - gap + sag
    body[(np.abs(depth) < 3) | (np.abs(depth - rng.uniform(20, 40)) < 2)] = _T.TABLE
