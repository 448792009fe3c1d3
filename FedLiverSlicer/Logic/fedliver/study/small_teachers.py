"""Networks small enough to be trained within a study, on a processor, in minutes."""

from pathlib import Path

from fedliver.datasets.layouts import annotated, read_layout
from fedliver.study.varied_patients import varied_patients
from fedliver.teacher.bundle import Teacher, load_bundle, save_bundle
from fedliver.teacher.network import build_network
from fedliver.teacher.plan import NetworkPlan, TeacherPlan
from fedliver.training.settings import TrainingSettings
from fedliver.training.student import TrainingWatcher, train

_OTHERS = 900
"""From this number on, generated patients are the starter's own: no study's patients have such a number."""
NAME = "small starter"


def small_plan(spacing_mm: float, side: int) -> TeacherPlan:
    """One network over the whole scan, patches of ``side`` voxels cubed; what it finds counts, sure or not."""
    network = NetworkPlan(channels=(16, 32, 64), strides=(2, 2), residual_units=0)
    return TeacherPlan(network=network, spacing_mm=(spacing_mm,) * 3, patch_size=(side,) * 3, sure_of_part=0.0)


def untrained(plan: TeacherPlan, seed: int = 0) -> Teacher:
    """A network that knows nothing, the same for the same seed."""
    import torch

    torch.manual_seed(seed)
    return Teacher(build_network(plan), plan, "untrained", "0", "none")


def small_starter(folder: Path, watcher: TrainingWatcher, steps: int, patients: int = 4) -> Teacher:
    """A teacher of another hospital: it learned from a few generated patients of its own, all with contrast medium. What lies in ``folder`` is taken."""
    bundle = folder / "bundle"
    if not bundle.is_dir():
        varied_patients(folder / "patients", patients, watcher, first=_OTHERS, phases=("portal",))
        examples = [image.example for image in annotated(read_layout(folder / "patients"))]
        first = untrained(small_plan(5.0, 48))
        settings = TrainingSettings(steps=steps, batch_size=2, learning_rate=5e-3, average_decay=0.95)
        save_bundle(train(first, examples, settings, watcher).network, first.plan, bundle, name=NAME, version="1")
    return load_bundle(bundle)
