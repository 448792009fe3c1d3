"""Training images made from label maps alone: random intensities per tissue (SynthSeg, Billot et al. 2023), kept near what CT can show.

Pure SynthSeg draws any contrast. In CT the Hounsfield scale is absolute, so most images draw from wide priors around each
tissue's true range and a share draws freely. Lesions and vessels, which the maps lack, are grown inside the liver; lesions
become label 2.
"""

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from fedliver.image import to_monai
from fedliver.labels import LIVER
from fedliver.teacher.plan import StagePlan
from fedliver.training.anatomy import Tissue, fill_in_body, read_organs
from fedliver.training.grains import Grains
from fedliver.training.lesions import grow_lesions
from fedliver.training.sources import Patch, box_around, cut, some
from fedliver.watch import Watcher, report

_T = Tissue
_PRIORS: dict[Tissue, tuple[float, float, float, float]] = {
    # mean HU and its spread between patients and phases; texture (fine) and mottle (coarse), HU
    _T.LIVER: (105, 28, 8, 5),
    _T.SPLEEN: (115, 30, 8, 5),
    _T.KIDNEY: (150, 50, 15, 25),
    _T.STOMACH: (40, 40, 12, 30),
    _T.GALLBLADDER: (12, 10, 6, 3),
    _T.OESOPHAGUS: (45, 20, 15, 20),
    _T.PANCREAS: (85, 25, 15, 15),
    _T.DUODENUM: (50, 35, 15, 30),
    _T.COLON: (40, 60, 30, 60),
    _T.INTESTINE: (60, 40, 20, 40),
    _T.ADRENAL: (60, 20, 10, 10),
    _T.RECTUM: (30, 40, 20, 40),
    _T.BLADDER: (15, 30, 6, 4),
    _T.BONE: (320, 130, 60, 90),
    _T.FAT: (-102, 10, 8, 14),
    _T.MUSCLE: (58, 14, 9, 12),
    _T.LUNG: (-830, 60, 30, 50),
    _T.VESSEL: (150, 50, 8, 5),
    _T.HEART: (130, 45, 8, 20),
    _T.TABLE: (-300, 250, 10, 10),
    _T.SKIN: (10, 40, 10, 10),
    _T.AIR: (-1010, 15, 6, 2),
}
_HOLLOW = (_T.STOMACH, _T.COLON, _T.INTESTINE, _T.DUODENUM, _T.RECTUM)
_FREE_CONTRAST = 0.15


class SynthesisedPatches:
    """Patches of made-up CTs of real anatomy. One body is built around each label map when it is read; with ``around_mm``, only its liver's box is kept.

    ``processes`` build bodies side by side: one for each core if not given.
    """

    def __init__(
        self, label_maps: Sequence[Path], plan: StagePlan, watcher: Watcher, *, seed: int = 0, around_mm: float | None = None, processes: int | None = None
    ) -> None:
        self._plan = plan
        self._bodies: list[np.ndarray] = []
        jobs = [(path, plan, seed + number, around_mm) for number, path in enumerate(label_maps)]
        with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
            for number, body in enumerate(pool.map(_body, jobs)):
                report(watcher, "Building bodies around label maps", number / len(label_maps))
                self._bodies.append(body)
        self._insides = [some(np.flatnonzero(body[0] != _T.AIR)) for body in self._bodies]
        self._livers = [some(np.flatnonzero(body[0] == _T.LIVER)) for body in self._bodies]

    def draw(self, rng: np.random.Generator) -> Patch:
        chosen = int(rng.integers(len(self._bodies)))
        body = self._bodies[chosen]
        places = (self._livers if rng.uniform() < 0.6 else self._insides)[chosen]
        centre = np.array(np.unravel_index(places[int(rng.integers(len(places)))], body.shape[1:])) + rng.integers(-12, 13, size=3)
        tissue = cut(body, centre, self._plan.patch_size, _T.AIR)[0]
        hu, labels = synthesise(tissue, self._plan.spacing_mm, rng)
        low, high = self._plan.window_hu
        return Patch(((hu - low) / (high - low)).clip(0, 1)[None].astype(np.float32), labels[None], True)


def _body(job: tuple[Path, StagePlan, int, float | None]) -> np.ndarray:
    path, plan, seed, around_mm = job
    body = to_monai(fill_in_body(read_organs(path, plan), plan.spacing_mm, np.random.default_rng(seed)))
    liver = body[0] == _T.LIVER
    if around_mm is None or not liver.any():
        return body
    return np.ascontiguousarray(body[(slice(None), *box_around(liver, plan.spacing_mm, around_mm))])


def synthesise(tissue: np.ndarray, spacing_mm: tuple[float, float, float], rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A made-up CT of a tissue map.

    Parameters
    ----------
    tissue:
        (i, j, k) uint8 of :class:`~fedliver.training.anatomy.Tissue`.

    Returns
    -------
    (HU float32, labels uint8), both (i, j, k)
    """
    shape = tissue.shape
    mean, texture, mottle = _draw_intensities(rng)
    grain = Grains(shape, spacing_mm, rng)
    coarse, fine = grain.noise(15), grain.noise(7.5)
    hu = mean[tissue] + mottle[tissue] * coarse + texture[tissue] * fine
    _fill_hollow_organs(hu, tissue, grain.noise(20), rng)
    _fill_mesentery(hu, tissue, grain.noise(10), mean)
    labels = (tissue == _T.LIVER).astype(np.uint8) * np.uint8(LIVER)
    if labels.any():
        _vessels(hu, labels, grain, float(mean[_T.VESSEL]), rng)
        grow_lesions(hu, labels, grain.noise(12), spacing_mm, rng)
    return _as_scanned(hu, grain.noise(60), rng), labels


def _draw_intensities(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    mean, texture, mottle = (np.zeros(len(Tissue), np.float32) for _ in range(3))
    free = rng.uniform() < _FREE_CONTRAST
    enhancement = rng.uniform(-0.9, 0.5)  # one contrast phase for all that takes up contrast
    for tissue, (centre, spread, fine, coarse) in _PRIORS.items():
        mean[tissue] = rng.normal(centre, spread)
        if tissue in (_T.LIVER, _T.SPLEEN, _T.KIDNEY, _T.VESSEL, _T.HEART, _T.PANCREAS):
            mean[tissue] = 55 + (centre - 55) * (1 + enhancement) + rng.normal(0, spread * 0.45)
            if free:
                mean[tissue] = rng.uniform(0, 220)
        strength = rng.uniform(0.3, 1.3)
        texture[tissue], mottle[tissue] = fine * strength, coarse * strength
    return mean, texture, mottle


def _fill_hollow_organs(hu: np.ndarray, tissue: np.ndarray, noise: np.ndarray, rng: np.random.Generator) -> None:
    for organ in _HOLLOW:
        place = tissue == organ
        if not place.any():
            continue
        gas, contrast = rng.uniform(0.6, 2.2), rng.uniform(0.8, 3.0)
        hu[place & (noise > gas)] = rng.uniform(-950, -400)
        hu[place & (noise < -contrast)] = rng.uniform(80, 400)


def _fill_mesentery(hu: np.ndarray, tissue: np.ndarray, noise: np.ndarray, mean: np.ndarray) -> None:
    """Between organs lie not only fat but vessels, nodes and unlabelled bowel."""
    place = (tissue == _T.FAT) & (noise > 1.45)
    hu[place] = 0.7 * mean[_T.MUSCLE] + 0.3 * mean[_T.VESSEL]


def _vessels(hu: np.ndarray, labels: np.ndarray, grain: Grains, vessel_hu: float, rng: np.random.Generator) -> None:
    """Tubes: where two smooth fields are both near zero."""
    width = rng.uniform(0.08, 0.22)
    tubes = (np.abs(grain.noise(30)) < width) & (np.abs(grain.noise(30)) < width) & (labels == LIVER)
    hu[tubes] = vessel_hu * rng.uniform(0.8, 1.05)


def _as_scanned(hu: np.ndarray, shading: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The scanner's blur and noise, and a slow shading across the field."""
    import torch
    from monai.networks.layers import GaussianFilter

    sharp = torch.from_numpy(np.clip(hu, -1024, 1500).astype(np.float32))[None, None]
    blurred = GaussianFilter(3, sigma=float(rng.uniform(0.35, 0.85)))(sharp)[0, 0].numpy()
    noise = rng.standard_normal(hu.shape, dtype=np.float32)
    return blurred + np.float32(rng.uniform(3, 22)) * noise + np.float32(rng.uniform(0, 8)) * shading
