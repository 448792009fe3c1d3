"""The scan's grid seen from the patient: regions of it with coordinates, and brushes that paint Hounsfield units.

Patient coordinates are LPS millimetres divided by the patient's size, so that one anatomy serves every size; their origin is
in the middle of the body at the height of the liver's centre. Arrays are (k, j, i).
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from fedliver.image import AIR_HU, Geometry


@dataclass(frozen=True)
class Region:
    """A box of voxels. ``axes`` holds what i, j and k each add to a voxel's patient coordinates: (3, n) per axis."""

    slices: tuple[slice, slice, slice]
    axes: tuple[np.ndarray, np.ndarray, np.ndarray]

    def _coordinate(self, row: int) -> np.ndarray:
        i, j, k = (axis[row].astype(np.float32) for axis in self.axes)
        total = k[:, None, None]
        if np.abs(j).max(initial=0) > 1e-5:
            total = total + j[None, :, None]
        if np.abs(i).max(initial=0) > 1e-5:
            total = total + i[None, None, :]
        return total if row == 2 or total.size > 1 else total.reshape(1, 1, 1)

    @cached_property
    def xyz(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Left, posterior, superior coordinates; broadcastable, small wherever the grid is aligned with the patient."""
        return self._coordinate(0), self._coordinate(1), self._coordinate(2)

    @property
    def shape(self) -> tuple[int, int, int]:
        return (self.axes[2].shape[1], self.axes[1].shape[1], self.axes[0].shape[1])


@dataclass(frozen=True)
class Waves:
    """A smooth random field: a sum of plane waves, about unit variance. Plane waves are separable, so it is one matrix product."""

    vectors: np.ndarray
    phases: np.ndarray

    @classmethod
    def draw(cls, rng: np.random.Generator, wavelengths: tuple[float, float], count: int = 12) -> "Waves":
        directions = rng.normal(size=(count, 3))
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        lengths = rng.uniform(*wavelengths, size=(count, 1))
        return cls(2 * np.pi * directions / lengths, rng.uniform(0, 2 * np.pi, size=count))

    def on(self, region: Region) -> np.ndarray:
        """The field on a region, float32 (k, j, i)."""
        i, j, k = (np.exp(1j * (self.vectors @ axis)) for axis in region.axes)
        planes = (k[:, :, None] * j[:, None, :] * np.exp(1j * self.phases)[:, None, None]).reshape(len(self.phases), -1)
        left = np.concatenate([planes.real, -planes.imag]).T.astype(np.float32)
        right = np.concatenate([i.real, i.imag]).astype(np.float32)
        return (left @ right).reshape(region.shape) * np.float32(np.sqrt(2 / len(self.phases)))


class Canvas:
    """A CT being painted: ``hu`` float32 and ``labels`` uint8 on ``geometry``, which is placed in the patient by ``offset``."""

    def __init__(self, geometry: Geometry, offset: np.ndarray, size: float) -> None:
        self.geometry = geometry
        self.hu = np.full(geometry.shape, AIR_HU, np.float32)
        self.labels = np.zeros(geometry.shape, np.uint8)
        self.to_patient = geometry.affine_lps.copy()
        self.to_patient[:3, 3] -= offset
        self.to_patient[:3] /= size
        self.from_patient = np.linalg.inv(self.to_patient)

    def _region(self, low: np.ndarray, high: np.ndarray) -> Region:
        axes = []
        for axis in range(3):
            axes.append(np.outer(self.to_patient[:3, axis], np.arange(low[axis], high[axis])))
        axes[2] = axes[2] + self.to_patient[:3, 3:4]
        slices = tuple(slice(int(low[a]), int(high[a])) for a in (2, 1, 0))
        return Region((slices[0], slices[1], slices[2]), (axes[0], axes[1], axes[2]))

    @cached_property
    def everything(self) -> Region:
        return self._region(np.zeros(3, int), np.array(self.geometry.size))

    def box(self, low: tuple[float, float, float], high: tuple[float, float, float]) -> Region | None:
        """The voxels that may lie between two corners in patient coordinates, or None where the scan does not reach."""
        corners = np.array([[x, y, z, 1.0] for x in (low[0], high[0]) for y in (low[1], high[1]) for z in (low[2], high[2])]).T
        index = (self.from_patient @ corners)[:3]
        first = np.maximum(np.floor(index.min(axis=1)).astype(int), 0)
        last = np.minimum(np.ceil(index.max(axis=1)).astype(int) + 1, self.geometry.size)
        return self._region(first, last) if bool(np.all(last > first)) else None

    def around(self, centre: tuple[float, float, float], radii: tuple[float, float, float], margin: float = 4.0) -> Region | None:
        """The box around an ellipsoid."""
        c, r = np.asarray(centre), np.asarray(radii) + margin
        return self.box(tuple(c - r), tuple(c + r))

    def paint(self, region: Region, mask: np.ndarray, hu: float | np.ndarray) -> None:
        np.copyto(self.hu[region.slices], hu, where=mask, casting="same_kind")

    def tube(self, points: np.ndarray, radii: np.ndarray) -> np.ndarray:
        """Flat indices (with repeats) of the voxels within ``radii`` (n,) of ``points`` (n, 3), patient coordinates."""
        found = [np.zeros(0, np.int64)]
        bins = np.ceil(np.log2(np.maximum(radii, 1.0)) * 2)
        for value in np.unique(bins):
            chosen = bins == value
            found.append(self._balls(points[chosen], radii[chosen]))
        return np.concatenate(found)

    def _balls(self, points: np.ndarray, radii: np.ndarray) -> np.ndarray:
        size = np.asarray(self.geometry.size)
        reach = np.ceil(radii.max() * np.linalg.norm(self.from_patient[:3, :3], axis=1)).astype(int) + 1
        centre = points @ self.from_patient[:3, :3].T + self.from_patient[:3, 3]
        nearest = np.rint(centre).astype(np.int64)
        touches = ((nearest >= -reach) & (nearest < size + reach)).all(axis=1)
        centre, nearest, squares = centre[touches], nearest[touches], (radii[touches] ** 2).astype(np.float32)
        grid = np.stack(np.meshgrid(*(np.arange(-n, n + 1) for n in reach), indexing="ij"), axis=-1).reshape(-1, 3)
        shift = ((nearest - centre) @ self.to_patient[:3, :3].T).astype(np.float32)
        offsets = (grid @ self.to_patient[:3, :3].T).astype(np.float32)
        grid = grid[(offsets**2).sum(axis=1) < (radii.max() + np.abs(shift).sum(axis=1).max(initial=0)) ** 2]
        offsets = (grid @ self.to_patient[:3, :3].T).astype(np.float32)
        stride = np.array([1, size[0], size[0] * size[1]])
        found = [np.zeros(0, np.int64)]
        for part in range(0, len(centre), 128):
            near = slice(part, part + 128)
            distance = 2 * shift[near] @ offsets.T + (offsets**2).sum(axis=1)  # |shift + offset|^2 less |shift|^2
            point, cell = np.nonzero(distance < (squares[near] - (shift[near] ** 2).sum(axis=1))[:, None])
            flat = (nearest[near] @ stride)[point] + (grid @ stride)[cell]
            if (nearest[near] < reach).any() or (nearest[near] >= size - reach).any():
                index = nearest[near][point] + grid[cell]
                flat = flat[((index >= 0) & (index < size)).all(axis=1)]
            found.append(flat)
        return np.concatenate(found)


def ellipsoid(xyz: tuple[np.ndarray, np.ndarray, np.ndarray], centre: tuple[float, float, float], radii: tuple[float, float, float]) -> np.ndarray:
    """About the signed distance to an ellipsoid: negative inside, in the units of the coordinates near its surface."""
    square = sum(((c - m) / r) ** 2 for c, m, r in zip(xyz, centre, radii, strict=True))
    return (np.sqrt(square) - 1) * min(radii)


def smooth_max(a: np.ndarray, b: np.ndarray, width: float) -> np.ndarray:
    """The larger of two fields with the crease between them rounded off over ``width`` (polynomial smooth maximum)."""
    h = np.maximum(width - np.abs(a - b), 0) / width
    return np.maximum(a, b) + h * h * (width / 4)
