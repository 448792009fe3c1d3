"""Generated patients that a network has something to learn from: no two of one size, fatness, contrast phase or noise.

On phantoms that are all alike one annotated patient is as good as eight, and no study of labels or of their order has anything to see.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fedliver.files import write_folder
from fedliver.image import to_sitk
from fedliver.phantom import PhantomSettings, generate
from fedliver.phantom.settings import Phase
from fedliver.watch import Watcher, report

SPACING_MM = (4.0, 4.0, 5.0)
PHASES: tuple[Phase, ...] = ("portal", "arterial", "plain")
_SEED = 77


def varied(number: int, phases: Sequence[Phase] = PHASES) -> PhantomSettings:
    """Patient ``number``: from slim to obese, from quiet to noisy, in any of ``phases``."""
    rng = np.random.default_rng([_SEED, number])
    lesions, noise, phase = int(rng.integers(0, 5)), float(rng.uniform(15, 60)), phases[int(rng.integers(len(phases)))]
    size, fat = float(rng.uniform(0.82, 1.18)), float(rng.uniform(5, 45))
    return PhantomSettings(seed=number, spacing_mm=SPACING_MM, lesions=lesions, noise_hu=noise, phase=phase, patient_size=size, fat_mm=fat)


def varied_patients(folder: Path, patients: int, watcher: Watcher, *, first: int = 0, phases: Sequence[Phase] = PHASES) -> None:
    """Write ``patient_NN/ct.nii.gz`` and ``labels.nii.gz``; those that are there are left alone.

    Raises
    ------
    Cancelled
        Between two patients, which are kept.
    """
    import SimpleITK as sitk

    for number in range(first, first + patients):
        report(watcher, f"Generating patient {number - first + 1} of {patients}", (number - first) / patients)
        target = folder / f"patient_{number:02d}"
        if target.is_dir():
            continue
        volumes = dict(zip(("ct", "labels"), generate(varied(number, phases)), strict=True))

        def fill(into: Path, volumes: dict = volumes) -> None:  # type: ignore[type-arg]
            for name, volume in volumes.items():
                sitk.WriteImage(to_sitk(volume), str(into / f"{name}.nii.gz"))

        write_folder(target, fill)
