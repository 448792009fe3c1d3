"""What each step after the network is worth: the same images, scored without it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from fedliver.datasets.evaluation import DatasetScores, TeacherSegmenter, score_images
from fedliver.datasets.layouts import DatasetImage
from fedliver.teacher.bundle import Teacher
from fedliver.teacher.plan import ONCE
from fedliver.watch import Watcher

_STEPS: dict[str, dict[str, Any]] = {
    "without keeping the largest liver only": {"largest_liver_only": False},
    "without filling holes": {"fill_holes": False},
    "without dropping small tumours": {"minimum_tumour_ml": 0.0},
}
WHOLE = "as shipped"
ONE_LOOK = "with one look, at the network's own spacing"
WITHOUT_FINDER = "without the finder: the fine network over the whole scan"


@dataclass(frozen=True)
class Judged:
    """A teacher and the images it may be judged on."""

    teacher: Teacher
    images: Sequence[DatasetImage]


def ablation(judged: Sequence[Judged], whole: DatasetScores, watcher: Watcher) -> dict[str, DatasetScores]:
    """Scores by step left out; ``whole``, the same images with all steps, comes first as :data:`WHOLE`."""
    names = [*_STEPS]
    names += [ONE_LOOK] if any(one.teacher.plan.scales != ONCE for one in judged) else []
    names += [WITHOUT_FINDER] if all(one.teacher.plan.finder for one in judged) else []
    return {WHOLE: whole} | {name: DatasetScores.joined(name, [_scores(without(one.teacher, name), one.images, watcher) for one in judged]) for name in names}


def without(teacher: Teacher, name: str) -> Teacher:
    """The teacher with one step left out."""
    if name == WITHOUT_FINDER:
        return replace(teacher, network=teacher.network.get_submodule("fine"), plan=teacher.plan.model_copy(update={"finder": None}))
    changed = {"scales": ONCE} if name == ONE_LOOK else _STEPS.get(name, {})
    return replace(teacher, plan=teacher.plan.model_copy(update=changed))


def _scores(teacher: Teacher, images: Sequence[DatasetImage], watcher: Watcher) -> DatasetScores:
    return DatasetScores.of(teacher.name, len(images), score_images(images, TeacherSegmenter(teacher), watcher=watcher))
