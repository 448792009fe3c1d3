"""What a scan looks like, in a few numbers: enough to tell which waiting scan is least like those that are done already."""

import numpy as np

from fedliver.cases.case import Appearance, Case
from fedliver.image import Volume

_SOFT_TISSUE_HU = (-150.0, 300.0)
_DECILES = tuple(range(10, 100, 10))
_VOXELS = 2_000_000


def appearance(ct: Volume) -> Appearance:
    """The deciles of the Hounsfield units of soft tissue, which tell contrast phase, fat and noise. Looks at about two million voxels at most."""
    every = max(1, int(np.ceil(np.cbrt(ct.array.size / _VOXELS))))
    voxels = ct.array[::every, ::every, ::every]
    soft = voxels[(voxels > _SOFT_TISSUE_HU[0]) & (voxels < _SOFT_TISSUE_HU[1])]
    return Appearance(hu=tuple(round(float(x), 1) for x in np.percentile(soft, _DECILES)) if soft.size else ())


def feature_of(case: Case) -> np.ndarray:
    """A case as a point: what it shows and how it was scanned. NaN where an old record does not say."""
    hu = case.appearance.hu if case.appearance and case.appearance.hu else (np.nan,) * len(_DECILES)
    extent = [n * mm for n, mm in zip(case.grid.size, case.grid.spacing, strict=True)]
    return np.array([*hu, *np.log(extent), *np.log(case.grid.spacing)], dtype=float)


def features_of(cases: list[Case]) -> np.ndarray:
    """(cases, features), each feature with mean 0 and deviation 1 over the cases; what is unknown is the mean."""
    table = np.array([feature_of(case) for case in cases], dtype=float)
    known = ~np.isnan(table)
    count = np.maximum(known.sum(axis=0), 1)
    mean = np.where(known, table, 0).sum(axis=0) / count
    centred = np.where(known, table - mean, 0.0)
    deviation = np.sqrt((centred**2).sum(axis=0) / count)
    return centred / np.where(deviation > 0, deviation, 1.0)
