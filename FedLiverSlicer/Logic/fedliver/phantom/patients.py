"""A folder of generated patients, as an annotated data set lies on disk: for studies without data, and to try things out."""

from pathlib import Path

from fedliver.files import write_folder
from fedliver.image import to_sitk
from fedliver.phantom.scan import generate
from fedliver.phantom.settings import PhantomSettings
from fedliver.watch import Watcher, report


def generate_patients(folder: Path, patients: int, watcher: Watcher, *, first: int = 0, spacing_mm: float = 3.0) -> None:
    """Write ``patient_NN/ct.nii.gz`` and ``labels.nii.gz``, no two patients, phases and noises alike; those that are there are left alone.

    Raises
    ------
    Cancelled
        Between two patients, which are kept.
    """
    import SimpleITK as sitk

    folder.mkdir(parents=True, exist_ok=True)
    for number in range(first, first + patients):
        report(watcher, f"Generating patient {number - first + 1} of {patients}", (number - first) / patients)
        target = folder / f"patient_{number:02d}"
        if target.is_dir():
            continue
        phase = ("portal", "arterial", "plain")[number % 3]
        settings = PhantomSettings(seed=number, spacing_mm=(spacing_mm,) * 3, lesions=2, noise_hu=15.0 + number % 20, phase=phase)  # type: ignore[arg-type]
        volumes = dict(zip(("ct", "labels"), generate(settings), strict=True))

        def fill(into: Path, volumes: dict = volumes) -> None:  # type: ignore[type-arg]
            for name, volume in volumes.items():
                sitk.WriteImage(to_sitk(volume), str(into / f"{name}.nii.gz"))

        write_folder(target, fill)
