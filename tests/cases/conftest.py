"""Small, quick patients for the case store: oblique, anisotropic, a liver of about 1.2 litres, no two alike."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from fedliver.cases.store import CaseStore
from fedliver.ct_reader import Ct, SourceIdentity
from fedliver.image import Geometry, Volume

SECRET = bytes(range(32))
NAME, PATIENT_ID = "Rosenkavalier^Ottilie", "PID-4711-OTTILIE"


def oblique_grid(size: tuple[int, int, int] = (40, 36, 30), spacing: tuple[float, float, float] = (5.0, 5.5, 7.0)) -> Geometry:
    a, b = np.deg2rad(11.0), np.deg2rad(-7.0)
    turn = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]]) @ np.array(
        [[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]]
    )
    return Geometry(size, spacing, (-123.456789, 77.1234567, -901.7654321), tuple(float(x) for x in turn.ravel()))


def make_patient(seed: int, liver_hu: float | None = None, radius_mm: float = 68.0) -> tuple[Ct, Volume]:
    """A CT and its labels: an ellipsoid liver with one tumour, all of it depending on the seed."""
    rng = np.random.default_rng(seed)
    grid = oblique_grid()
    k, j, i = np.meshgrid(*(np.arange(n) for n in grid.shape), indexing="ij")
    radii = radius_mm * rng.uniform(0.9, 1.1, 3)
    centre = np.array(grid.size) / 2
    mm = [(x - c) * s for x, c, s in zip((i, j, k), centre, grid.spacing, strict=True)]
    liver = sum((m / r) ** 2 for m, r in zip(mm, radii, strict=True)) < 1
    tumour = sum((m - 20) ** 2 for m in mm) < 15**2
    hu = liver_hu if liver_hu is not None else float(rng.uniform(60, 130))
    array = np.where(liver, hu, -80.0) + rng.normal(0, 12, grid.shape)
    array[tumour] -= 40
    array[:, :2, :] = -1000  # air in front of the patient, as in every scan
    labels = np.where(liver & tumour, 2, np.where(liver, 1, 0)).astype(np.uint8)
    identity = SourceIdentity(f"{PATIENT_ID}-{seed} {NAME}", f"1.2.840.99999.{seed}", f"1.2.840.99999.{seed}.7")
    return Ct(Volume(array.round().astype(np.int16), grid), identity, ()), Volume(labels, grid)


@pytest.fixture
def patient() -> Callable[..., tuple[Ct, Volume]]:
    return make_patient


class Clock:
    """A minute passes with every look."""

    def __init__(self) -> None:
        self.time = datetime(2026, 1, 1, 8, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        self.time += timedelta(minutes=1)
        return self.time


@pytest.fixture
def store(tmp_path: Path) -> CaseStore:
    return CaseStore(tmp_path, SECRET, clock=Clock())


@pytest.fixture
def approve_patient(store: CaseStore) -> Callable[[int], str]:
    def approve(seed: int) -> str:
        ct, labels = make_patient(seed)
        return store.approve(store.attach(store.add(ct), labels)).pseudonym

    return approve
