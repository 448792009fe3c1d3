"""Aggregation that a few broken or hostile sites cannot spoil. It needs all updates at once: they wait on disk and are gone through piece by piece.

What the sites claim about themselves is not believed here: whatever its number of cases, every site counts the same.
"""

import shutil
from collections.abc import Iterable, Iterator
from math import prod
from pathlib import Path
from tempfile import mkdtemp

import numpy as np

from fedliver.federation.strategies.aggregate import Aggregate, Change
from fedliver.files import write_file

_PIECE_NUMBERS = 2_000_000
"""Numbers in memory at a time, of all sites together: some 50 MB with the copies that sorting makes."""
_FOLDER = "updates-"
Shapes = dict[str, tuple[int, ...]]


def remove_leftovers(scratch: Path) -> None:
    """Remove the updates that a run left on disk when it was killed."""
    for folder in scratch.glob(f"{_FOLDER}*"):
        shutil.rmtree(folder, ignore_errors=True)


class _UpdatesOnDisk:
    """A round's changes, one file of float32 numbers each."""

    def __init__(self, shapes: Iterable[tuple[str, tuple[int, ...]]], scratch: Path) -> None:
        self.shapes: Shapes = dict(shapes)
        scratch.mkdir(parents=True, exist_ok=True)
        self._folder = Path(mkdtemp(prefix=_FOLDER, dir=scratch))
        self._files: dict[str, Path] = {}

    @property
    def sites(self) -> list[str]:
        return list(self._files)

    def add(self, site: str, change: Change) -> None:
        target = self._folder / f"{len(self._files)}.float32"

        def write(part: Path) -> None:
            with part.open("wb") as stream:
                for name in self.shapes:
                    np.ascontiguousarray(change[name], np.float32).tofile(stream)

        write_file(target, write)
        self._files[site] = target

    def pieces(self) -> Iterator[np.ndarray]:
        """All changes from the first number to the last: (site, number) float32, some numbers at a time."""
        total, step = sum(map(prod, self.shapes.values())), max(1, _PIECE_NUMBERS // max(1, len(self._files)))
        for start in range(0, total, step):
            count = min(step, total - start)
            yield np.stack([np.fromfile(file, np.float32, count, offset=4 * start) for file in self._files.values()])

    def in_tensors(self, pieces: Iterable[np.ndarray]) -> dict[str, np.ndarray]:
        """Pieces of one change, in order, as its tensors."""
        flat = np.concatenate(list(pieces))
        ends = np.cumsum([prod(shape) for shape in self.shapes.values()])
        return {name: part.reshape(shape) for (name, shape), part in zip(self.shapes.items(), np.split(flat, ends[:-1]), strict=True)}

    def close(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)


class _OnDisk:
    """What the rules here have in common: all updates at once, which wait in ``scratch`` until :meth:`close`; no site weighs more for its claims."""

    def __init__(self, shapes: Iterable[tuple[str, tuple[int, ...]]], hostile: int, scratch: Path) -> None:
        self._updates = _UpdatesOnDisk(shapes, scratch)
        self._hostile = hostile

    def add(self, site: str, change: Change, weight: float) -> None:
        self._updates.add(site, change)

    def close(self) -> None:
        self._updates.close()


class TrimmedMean(_OnDisk):
    """Of every single number the ``hostile`` largest and smallest values are left out, and the others averaged (Yin et al. 2018)."""

    def result(self) -> Aggregate:
        sites, hostile = self._updates.sites, self._hostile
        if len(sites) <= 2 * hostile:
            raise ValueError("too few updates to leave any out")

        def trimmed(piece: np.ndarray) -> np.ndarray:
            ordered = np.partition(piece, (hostile, len(piece) - hostile - 1), axis=0)
            return ordered[hostile : len(piece) - hostile].mean(axis=0, dtype=np.float64)

        change = self._updates.in_tensors(map(trimmed, self._updates.pieces()))
        return Aggregate(change, dict.fromkeys(sites, 1 / len(sites)))


class MultiKrum(_OnDisk):
    """The mean of the n - f - 2 updates that lie nearest to their n - f - 2 nearest neighbours, of n with at most f hostile (Blanchard et al. 2017)."""

    def result(self) -> Aggregate:
        sites = self._updates.sites
        near = len(sites) - self._hostile - 2
        if near <= self._hostile:
            raise ValueError("too few updates to tell which ones stand apart")
        # A site's distance to itself is 0 and the smallest: it is passed over.
        scores = np.sort(self._squared_distances(), axis=1)[:, 1 : near + 1].sum(axis=1)
        kept = np.sort(np.argsort(scores, kind="stable")[:near])
        change = self._updates.in_tensors(piece[kept].mean(axis=0, dtype=np.float64) for piece in self._updates.pieces())
        names = [sites[number] for number in kept]
        left_out = {site: "stood apart from the others' updates, and multi-Krum left it out" for site in sites if site not in names}
        return Aggregate(change, dict.fromkeys(names, 1 / near), left_out)

    def _squared_distances(self) -> np.ndarray:
        count = len(self._updates.sites)
        squared = np.zeros((count, count))
        for piece in self._updates.pieces():
            exact = piece.astype(np.float64)
            for one in range(count - 1):
                # Not by products: the huge numbers of a hostile site would drown the distances between the others.
                squared[one, one + 1 :] += ((exact[one + 1 :] - exact[one]) ** 2).sum(axis=1)
        return squared + squared.T
