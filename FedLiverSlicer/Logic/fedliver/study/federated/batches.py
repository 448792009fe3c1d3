"""Batches for one site: drawn from its own images, augmented, the same for the same seed."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, overload

import numpy as np

from fedliver.study.federated.prepared import Prepared
from fedliver.study.federated.task import Task

if TYPE_CHECKING:
    import torch

_ON_A_STRUCTURE = 0.8
_SHIFT = 6


class Batches(Protocol):
    """Seam between training and its data."""

    def next(self) -> "tuple[torch.Tensor, torch.Tensor]":
        """Images (batch, 1, ...) float32 and their targets: (batch, 1, i, j, k) or (batch,), int64."""


def batches_of(task: Task, prepared: Prepared, images: Sequence[int], seed: Sequence[int]) -> Batches:
    """The batches of a site with these images."""
    kind = PictureBatches if task.kind == "classification" else PatchBatches
    return kind(task, prepared, images, seed)


class PatchBatches:
    """Cubes of volumes, four of five around a voxel of a structure, each structure as often."""

    def __init__(self, task: Task, prepared: Prepared, images: Sequence[int], seed: Sequence[int]) -> None:
        self._plan = task.training
        self._prepared = prepared
        self._images = list(images)
        self._rng = np.random.default_rng(list(seed))

    def next(self) -> "tuple[torch.Tensor, torch.Tensor]":
        import torch

        pairs = [self._patch() for _ in range(self._plan.batch_size)]
        images = torch.from_numpy(np.stack([image for image, _ in pairs]))
        labels = torch.from_numpy(np.stack([labels for _, labels in pairs]))
        if not self._plan.augment:
            return images, labels.long()
        images, moved = augmented(images, labels, self._rng)
        return images, moved.long()

    def _patch(self) -> tuple[np.ndarray, np.ndarray]:
        from fedliver.training.sources import cut

        index = self._images[int(self._rng.integers(len(self._images)))]
        image, labels = self._prepared.stored(index), self._prepared.labels(index)
        centre = self._centre(index, labels.shape[1:])
        return cut(image, centre, self._plan.patch_size, 0.0).astype(np.float32), cut(labels, centre, self._plan.patch_size, 0).astype(np.float32)

    def _centre(self, index: int, shape: tuple[int, ...]) -> np.ndarray:
        places = self._prepared.places(index)
        there = np.flatnonzero(places[:, 0] >= 0)
        if len(there) and self._rng.random() < _ON_A_STRUCTURE:
            voxel = int(places[there[int(self._rng.integers(len(there)))], int(self._rng.integers(places.shape[1]))])
            return np.array(np.unravel_index(voxel, shape)) + self._rng.integers(-_SHIFT, _SHIFT + 1, 3)
        return self._rng.integers(0, shape)


class PictureBatches:
    """Whole images. An image comes again when all others have come."""

    def __init__(self, task: Task, prepared: Prepared, images: Sequence[int], seed: Sequence[int]) -> None:
        self._plan = task.training
        self._prepared = prepared
        self._images = np.asarray(images)
        self._rng = np.random.default_rng(list(seed))
        self._queue: list[int] = []

    def next(self) -> "tuple[torch.Tensor, torch.Tensor]":
        import torch

        chosen = [self._one() for _ in range(self._plan.batch_size)]
        images = torch.from_numpy(np.stack([self._prepared.image(index) for index in chosen]))
        labels = torch.tensor([self._prepared.records[index].label for index in chosen])
        return (augmented(images, None, self._rng)[0] if self._plan.augment else images), labels

    def _one(self) -> int:
        if not self._queue:
            self._queue = self._rng.permutation(self._images).tolist()
        return self._queue.pop()


@overload
def augmented(images: "torch.Tensor", labels: "torch.Tensor", rng: np.random.Generator) -> "tuple[torch.Tensor, torch.Tensor]": ...
@overload
def augmented(images: "torch.Tensor", labels: None, rng: np.random.Generator) -> "tuple[torch.Tensor, None]": ...
def augmented(images: "torch.Tensor", labels: "torch.Tensor | None", rng: np.random.Generator) -> "tuple[torch.Tensor, torch.Tensor | None]":
    """A batch a little turned, scaled, moved, of other brightness and contrast; never mirrored, for hearts and livers have their sides.

    All of it at once, in two or three dimensions: MONAI's transforms, one image after the other, took as long as the training step itself.
    """
    import torch

    count, axes = len(images), images.ndim - 2
    maps = np.zeros((count, axes, axes + 1), np.float32)
    maps[:, :, :axes] = np.eye(axes) * rng.uniform(0.88, 1.12, (count, 1, 1)) + rng.normal(0, 0.06, (count, axes, axes))
    maps[:, :, axes] = rng.uniform(-0.08, 0.08, (count, axes))
    grid = torch.nn.functional.affine_grid(torch.from_numpy(maps), list(images.shape), align_corners=False)
    moved = torch.nn.functional.grid_sample(images, grid, padding_mode="border", align_corners=False)
    if labels is not None:
        labels = torch.nn.functional.grid_sample(labels, grid, mode="nearest", padding_mode="zeros", align_corners=False)
    shape = (count, *[1] * (axes + 1))
    gain, shift = (torch.from_numpy(rng.uniform(low, high, shape).astype(np.float32)) for low, high in ((0.85, 1.15), (-0.08, 0.08)))
    return ((moved - 0.5) * gain + 0.5 + shift).clamp(0, 1), labels
