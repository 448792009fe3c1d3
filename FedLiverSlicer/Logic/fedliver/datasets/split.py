"""Training, validation and test: by patient, so that the *images* come as near to the asked ratio as whole patients allow.

No patient is ever on two sides. Patients are stratified by how many tumours they have, so that every side sees healthy livers and full ones.
The split is a JSON file with one line per patient: it can be read, compared line by line, and used again.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from pathlib import Path
from typing import Literal, Self, get_args

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from fedliver.datasets.layouts import DatasetImage
from fedliver.errors import FedLiverError
from fedliver.files import write_text

Part = Literal["training", "validation", "test"]
PARTS: tuple[Part, ...] = get_args(Part)
Ratio = tuple[float, float, float]
_TUMOUR_STRATA = (0, 1, 2, 4, 8)
"""Where a stratum of tumour counts begins: none, 1, 2 to 3, 4 to 7, 8 or more."""
_RESTARTS = 30
_FEW = 50_000
_FILE_LIMIT = 256 << 20


@dataclass(frozen=True)
class PatientImages:
    """A patient as the split sees one: the names of the images, and how many tumours; None where nobody counted."""

    patient: str
    images: tuple[str, ...]
    tumours: int | None = None


class SplitPatient(BaseModel):
    """Where one patient went."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    patient: str = Field(min_length=1)
    part: Part
    images: tuple[str, ...] = Field(min_length=1)
    tumours: int | None = Field(None, ge=0)


class Split(BaseModel):
    """Which patients train, validate and test."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[1] = 1
    ratio: Ratio
    seed: int
    patients: tuple[SplitPatient, ...]

    @model_validator(mode="after")
    def _nobody_twice(self) -> Self:
        for what, names in (("patient", [one.patient for one in self.patients]), ("image", [name for one in self.patients for name in one.images])):
            doubled = next((a for a, b in pairwise(sorted(names)) if a == b), None)
            if doubled is not None:
                raise ValueError(f"the {what} {doubled} is there twice")
        return self

    def images(self, part: Part) -> frozenset[str]:
        """The names of a part's images."""
        return frozenset(name for one in self.patients if one.part == part for name in one.images)

    def count(self, part: Part) -> tuple[int, int]:
        """How many patients and how many images a part has."""
        return sum(one.part == part for one in self.patients), len(self.images(part))

    def of(self, images: Iterable[DatasetImage], part: Part) -> list[DatasetImage]:
        """The images of a data set that belong to a part.

        Raises
        ------
        FedLiverError
            ``split-does-not-fit`` if the data set has images that the split does not know, or lacks some that it names, or counts one to another patient.
        """
        kept = list(images)
        known = {name: one for one in self.patients for name in one.images}
        strange = next((image.name for image in kept if image.name not in known or known[image.name].patient != image.patient), None)
        if strange is not None:
            raise FedLiverError(
                "split-does-not-fit", f"The split does not know the image {strange} of this patient: make a new one, with --keep to keep the old."
            )
        missing = next(iter(sorted(set(known) - {image.name for image in kept})), None)
        if missing is not None:
            raise FedLiverError("split-does-not-fit", f"The split names the image {missing}, which the data set does not hold: bring it back or split again.")
        return [image for image in kept if known[image.name].part == part]

    def text(self) -> str:
        """The file's content: one line per patient."""
        counts = {part: dict(zip(("patients", "images"), self.count(part), strict=True)) for part in PARTS}
        head = [f'  "schema_version": {self.schema_version}', f'  "ratio": {json.dumps(self.ratio)}', f'  "seed": {self.seed}']
        lines = ",\n".join(f"    {one.model_dump_json()}" for one in self.patients)
        comment = "\n".join(f"    {json.dumps(part)}: {json.dumps(count)}," for part, count in counts.items()).rstrip(",")
        return "{\n" + ",\n".join(head) + f',\n  "counts": {{\n{comment}\n  }},\n  "patients": [\n{lines}\n  ]\n}}\n'

    def write(self, path: Path) -> None:
        write_text(path, self.text())

    @classmethod
    def read(cls, path: Path) -> "Split":
        """Read a split. Its counts are for people and are counted anew. Raises FedLiverError ``bad-split``."""
        try:
            if path.stat().st_size > _FILE_LIMIT:
                raise ValueError("it is too large")
            content = json.loads(path.read_bytes())
            if isinstance(content, dict):
                content.pop("counts", None)
            return cls.model_validate(content)
        except FileNotFoundError as error:
            raise FedLiverError("bad-split", f"There is no split file {path}: make one with `fedliver dataset split`.") from error
        except (ValueError, ValidationError) as error:
            reason = error.errors(include_input=False)[0]["msg"] if isinstance(error, ValidationError) else "it is no JSON"
            raise FedLiverError("bad-split", f"{path} is not a split that can be used ({reason}): make it again with `fedliver dataset split`.") from error


def parse_ratio(text: str) -> Ratio:
    """``54:6:40`` (training:validation:test) as numbers. Image counts, as 3290:399:2500, are a ratio too. Raises FedLiverError ``bad-ratio``."""
    try:
        parts = tuple(float(part) for part in text.split(":"))
    except ValueError:
        parts = ()
    if len(parts) != len(PARTS) or not all(np.isfinite(parts)) or min(parts, default=-1) < 0 or parts[0] <= 0:
        raise FedLiverError("bad-ratio", f"{text!r} is not a ratio: give training:validation:test, for instance 54:6:40; training may not be 0.")
    return parts[0], parts[1], parts[2]


def split_by_patient(patients: Sequence[PatientImages], ratio: Ratio, *, seed: int = 0, keep: Split | None = None) -> Split:
    """Divide patients so that the sum over the parts of how far its images are from its share is as small as can be, then each stratum's.

    The same patients, ratio and seed give the same split, in whatever order the patients come.

    Parameters
    ----------
    ratio:
        Shares of the images: training, validation, test.
    keep:
        An earlier split: its patients stay where they are, and only new ones are placed.

    Raises
    ------
    FedLiverError
        ``too-few-patients`` if a part with a share above 0 would get nobody.
    """
    ordered = sorted(patients, key=lambda one: one.patient)
    fixed = {one.patient: one.part for one in keep.patients} if keep else {}
    free = [one for one in ordered if one.patient not in fixed]
    wanted = sum(share > 0 for share in ratio)
    if len(ordered) < wanted:
        raise FedLiverError("too-few-patients", f"{len(ordered)} patients cannot be divided into {wanted} parts: add patients, or give a part the share 0.")
    rng = np.random.default_rng(seed)
    placed = dict(fixed)
    for kind, counts in zip(*_divide(ordered, free, fixed, ratio, rng), strict=True):
        members = [kind[n] for n in rng.permutation(len(kind))]
        parts = [part for part, count in zip(PARTS, counts, strict=True) for _ in range(count)]
        placed |= {one.patient: part for one, part in zip(members, parts, strict=True)}
    rows = tuple(SplitPatient(patient=one.patient, part=placed[one.patient], images=tuple(sorted(one.images)), tumours=one.tumours) for one in ordered)
    return Split(ratio=ratio, seed=seed, patients=rows)


def _stratum(tumours: int | None) -> int:
    return -1 if tumours is None else int(np.searchsorted(_TUMOUR_STRATA, tumours, side="right"))


def _divide(
    everyone: Sequence[PatientImages], free: Sequence[PatientImages], fixed: dict[str, Part], ratio: Ratio, rng: np.random.Generator
) -> tuple[list[list[PatientImages]], list[list[int]]]:
    """Patients of one kind (stratum, number of images) are interchangeable: how many of each kind go to each part?"""
    groups: dict[tuple[int, int], list[PatientImages]] = {}
    for one in free:
        groups.setdefault((_stratum(one.tumours), len(one.images)), []).append(one)
    kinds = sorted(groups)
    strata = sorted({_stratum(one.tumours) for one in everyone})
    base = np.zeros((len(strata), len(PARTS)))
    settled = np.zeros(len(PARTS), int)
    for one in everyone:
        if one.patient in fixed:
            base[strata.index(_stratum(one.tumours)), PARTS.index(fixed[one.patient])] += len(one.images)
            settled[PARTS.index(fixed[one.patient])] += 1
    in_stratum = np.array([sum(len(one.images) for one in everyone if _stratum(one.tumours) == stratum) for stratum in strata], dtype=float)
    shares = np.array(ratio) / sum(ratio)
    task = _Task(
        sizes=np.array([size for _, size in kinds], dtype=float),
        stratum=np.array([strata.index(stratum) for stratum, _ in kinds], dtype=int),
        base=base,
        settled=settled,
        goal=np.outer(in_stratum, shares),
        shares=shares,
    )
    numbers = np.array([len(groups[kind]) for kind in kinds], dtype=int)
    return [groups[kind] for kind in kinds], task.solve(numbers, rng).tolist()


@dataclass(frozen=True)
class _Task:
    """Counts are (kinds, parts). The cost puts empty parts first, then images over or under a part's share, then the same within strata."""

    sizes: np.ndarray
    stratum: np.ndarray
    base: np.ndarray
    settled: np.ndarray
    goal: np.ndarray
    shares: np.ndarray

    def solve(self, numbers: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """The best counts: by trying all where there are few, else by descent from the proportional ones and from random ones."""
        if np.prod([(number + 1) * (number + 2) / 2 for number in numbers]) <= _FEW:
            everything = np.array(list(product(*(_thirds(int(number)) for number in numbers))), dtype=int).reshape(-1, len(numbers), len(PARTS))
            allowed = everything[(everything[:, :, self.shares == 0] == 0).all(axis=(1, 2))]
            return allowed[int(np.argmin(self._cost(allowed)))]
        best = self._descend(self._proportional(numbers))
        for _ in range(_RESTARTS):
            if self._image_error(best) <= self._least_error() + 1e-9:
                break
            other = self._descend(np.array([rng.multinomial(number, self._open_shares) for number in numbers]).reshape(-1, len(PARTS)))
            best = min(best, other, key=lambda counts: float(self._cost(counts[None])[0]))
        return best

    @property
    def _open_shares(self) -> np.ndarray:
        """By which shares to place those who are not yet placed: what each part still lacks."""
        lacking = np.maximum(self.goal.sum(axis=0) - self.base.sum(axis=0), 0)
        return lacking / lacking.sum() if lacking.any() else self.shares

    def _proportional(self, numbers: np.ndarray) -> np.ndarray:
        """Each kind by what the parts lack; what rounding leaves over is carried to the next kind."""
        shares = self._open_shares
        counts = np.zeros((len(numbers), len(PARTS)), int)
        carried = np.zeros(len(PARTS))
        for row, number in enumerate(numbers):
            carried += number * shares
            counts[row] = np.maximum(np.floor(carried), 0)
            while counts[row].sum() > number:
                counts[row, np.argmax(counts[row] - carried + (counts[row] == 0) * -1e9)] -= 1
            while counts[row].sum() < number:
                counts[row, np.argmax(np.where(shares > 0, carried - counts[row], -np.inf))] += 1
            carried -= counts[row]
        return counts

    def _least_error(self) -> float:
        """No split of whole images can be nearer than this."""
        exact = self.goal.sum(axis=0)
        short = round(float(np.sum(exact - np.floor(exact))))
        return float(np.abs(exact - np.floor(exact) - _round_up_largest(exact, short)).sum())

    def _images(self, counts: np.ndarray) -> np.ndarray:
        """(candidates, kinds, parts) to images in (candidates, strata, parts)."""
        of_stratum = self.stratum[None] == np.arange(len(self.base))[:, None]
        return self.base + of_stratum.astype(float) @ (counts * self.sizes[:, None])

    def _image_error(self, counts: np.ndarray) -> float:
        return float(np.abs(self._images(counts[None])[0].sum(axis=0) - self.goal.sum(axis=0)).sum())

    def _weigh(self, images: np.ndarray, patients: np.ndarray) -> np.ndarray:
        empty = ((patients == 0) & (self.shares > 0)).sum(axis=-1)
        error = np.abs(images.sum(axis=-2) - self.goal.sum(axis=0)).sum(axis=-1)
        within = np.abs(images - self.goal).sum(axis=(-1, -2))
        most = 4 * self.goal.sum() + 4
        return (empty * most + error) * most + within

    def _cost(self, counts: np.ndarray) -> np.ndarray:
        return self._weigh(self._images(counts), self.settled + counts.sum(axis=1))

    def _descend(self, counts: np.ndarray) -> np.ndarray:
        """Move one patient, or exchange two, whatever helps most, until nothing helps."""
        cost = float(self._cost(counts[None])[0])
        while True:
            step = self._best_step(counts, cost)
            if step is None:
                return counts
            counts, cost = step

    def _best_step(self, counts: np.ndarray, cost: float) -> tuple[np.ndarray, float] | None:
        images, patients = self._images(counts[None])[0], self.settled + counts.sum(axis=0)
        best: tuple[float, np.ndarray] | None = None
        for source in range(len(PARTS)):
            for goal in range(len(PARTS)):
                if source == goal or self.shares[goal] == 0:
                    continue
                change = self._best_between(counts, images, patients, source, goal)
                if change is not None and change[0] < cost - 1e-6 and (best is None or change[0] < best[0]):
                    best = change
        return None if best is None else (best[1], best[0])

    def _best_between(self, counts: np.ndarray, images: np.ndarray, patients: np.ndarray, source: int, goal: int) -> tuple[float, np.ndarray] | None:
        """The best move of a patient of one kind from ``source`` to ``goal``, with or without one of another kind coming back."""
        going = np.flatnonzero(counts[:, source])
        coming = np.append(-1, np.flatnonzero(counts[:, goal]))
        pairs = np.array([(a, b) for a in going for b in coming if a != b], dtype=int).reshape(-1, 2)
        if not len(pairs):
            return None
        after = np.broadcast_to(images, (len(pairs), *images.shape)).copy()
        people = np.broadcast_to(patients, (len(pairs), len(PARTS))).copy()
        rows = np.arange(len(pairs))
        back = pairs[:, 1] >= 0
        for who, sign, there in ((pairs[:, 0], 1, np.ones(len(pairs), bool)), (pairs[:, 1], -1, back)):
            size = np.where(there, self.sizes[who], 0) * sign
            after[rows, self.stratum[who], goal] += size
            after[rows, self.stratum[who], source] -= size
            people[:, goal] += there * sign
            people[:, source] -= there * sign
        costs = self._weigh(after, people)
        chosen = int(np.argmin(costs))
        moved = counts.copy()
        first, second = pairs[chosen]
        moved[first, [source, goal]] += (-1, 1)
        if second >= 0:
            moved[second, [source, goal]] += (1, -1)
        return float(costs[chosen]), moved


def _thirds(number: int) -> list[tuple[int, int, int]]:
    """All ways to divide a number into three."""
    return [(first, second, number - first - second) for first in range(number + 1) for second in range(number + 1 - first)]


def _round_up_largest(exact: np.ndarray, short: int) -> np.ndarray:
    """1 for the ``short`` numbers with the largest remainders, which are rounded up."""
    up = np.zeros(len(exact))
    up[np.argsort(np.floor(exact) - exact, kind="stable")[:short]] = 1
    return up
