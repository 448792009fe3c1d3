"""A process of its own: generates the benchmark's CT and one of the same patient that is twice as long; prints their descriptions as JSON.

Usage: make_scans.py FOLDER [--quick]. Quick, the scans are small, and a tiny teacher with random weights is written beside them.
"""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from fedliver.image import Volume, to_sitk
from fedliver.phantom import PhantomSettings, generate

# A slim patient: the phantom's width is then 512 pixels of 0.57 mm.
FULL = PhantomSettings(seed=3, spacing_mm=(0.57, 0.57, 1.6), field_of_view="torso", patient_size=0.8, fat_mm=8.0, lesions=3)
QUICK = replace(FULL, spacing_mm=(8.0, 8.0, 8.0))
SLICES, QUICK_SLICES = 129, 26
TINY = "tiny"


def main(folder: Path, quick: bool) -> None:
    settings, slices = (QUICK, QUICK_SLICES) if quick else (FULL, SLICES)
    ct, labels = generate(settings)
    filled = np.flatnonzero(labels.array.any(axis=(1, 2)))
    middle = int(filled[0] + filled[-1]) // 2
    descriptions = []
    for name, length in (("ct", slices), ("long", 2 * slices)):
        first = min(max(middle - length // 2, 0), ct.array.shape[0] - length)
        part = _part(ct, first, length)
        sitk.WriteImage(to_sitk(part), str(folder / f"{name}.nii.gz"), useCompression=True)
        liver_ml = float(np.count_nonzero(labels.array[first : first + length])) * labels.geometry.voxel_ml
        source = f"phantom, seed {settings.seed}, patient size {settings.patient_size:g}"
        descriptions.append({"size": part.geometry.size, "spacing_mm": settings.spacing_mm, "liver_ml": round(liver_ml), "source": source})
    if quick:
        _write_tiny_teacher(folder / TINY)
    print(json.dumps(descriptions))


def _write_tiny_teacher(target: Path) -> None:
    from fedliver.teacher.bundle import save_bundle
    from fedliver.teacher.network import build_network
    from fedliver.teacher.plan import TeacherPlan

    plan = TeacherPlan.tiny()
    save_bundle(build_network(plan), plan, target, name="tiny", version="0")


def _part(volume: Volume, first: int, length: int) -> Volume:
    grid = volume.geometry
    x, y, z = (grid.affine_lps @ [0, 0, first, 1])[:3].tolist()
    return Volume(volume.array[first : first + length], replace(grid, size=(*grid.size[:2], length), origin=(x, y, z)))


if __name__ == "__main__":
    main(Path(sys.argv[1]), "--quick" in sys.argv)
