"""What a network scores on the test cases. A case has a number here, not a name: tables may be passed on."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from pydantic import BaseModel, ConfigDict

from fedliver.evaluation.metrics import compare, dice
from fedliver.image import Geometry, Volume, from_monai
from fedliver.study.federated.prepared import Prepared
from fedliver.study.federated.task import Structure, Task
from fedliver.teacher.precision import inference_precision

if TYPE_CHECKING:
    import torch

_AT_ONCE = 64
_OVERLAP = 0.25


class StructureScore(BaseModel):
    """One structure of one case; None where a score has no value (see :mod:`fedliver.evaluation.metrics`)."""

    model_config = ConfigDict(frozen=True)

    dice: float
    f1: float
    hd95_mm: float | None = None
    sensitivity: float | None = None
    specificity: float | None = None


class CaseScore(BaseModel):
    """One test case: its structures' scores, or its class and what the network gave every class."""

    model_config = ConfigDict(frozen=True)

    case: int
    patient: int | None = None
    """Cases of one patient have the same number; None where every case is a patient of its own."""
    structures: dict[str, StructureScore] = {}
    label: int | None = None
    probabilities: tuple[float, ...] = ()

    @property
    def value(self) -> float:
        """What arms are compared by: the mean Dice over structures, or 1 for the right class."""
        if self.label is not None:
            return float(int(np.argmax(self.probabilities)) == self.label)
        return float(np.mean([score.dice for score in self.structures.values()]))


def score(task: Task, network: "torch.nn.Module", prepared: Prepared, cases: Sequence[int]) -> list[CaseScore]:
    """Every score of the cases with these indexes."""
    found = _classified(network, prepared, cases) if task.kind == "classification" else [_segmented(task, network, prepared, index) for index in cases]
    first: dict[str, int] = {}
    numbers = [first.setdefault(prepared.records[index].patient, index) for index in cases]
    return [one.model_copy(update={"patient": number}) for one, number in zip(found, numbers, strict=True)]


def quick_score(task: Task, network: "torch.nn.Module", prepared: Prepared, cases: Sequence[int]) -> float:
    """The mean of :attr:`CaseScore.value` over the cases, without distances: for learning curves."""
    if task.kind == "classification":
        return float(np.mean([one.value for one in _classified(network, prepared, cases)]))
    values = []
    for index in cases:
        found, truth = _labels(task, network, prepared.image(index)), prepared.labels(index)[0]
        values += [dice(_mask(found, structure), _mask(truth, structure)) for structure in task.structures]
    return float(np.mean(values))


def _classified(network: "torch.nn.Module", prepared: Prepared, cases: Sequence[int]) -> list[CaseScore]:
    import torch

    scores, device = [], next(network.parameters()).device
    with torch.inference_mode():
        for start in range(0, len(cases), _AT_ONCE):
            part = cases[start : start + _AT_ONCE]
            images = torch.from_numpy(np.stack([prepared.image(index) for index in part])).to(device)
            for index, row in zip(part, torch.softmax(network.eval()(images).float(), dim=1).cpu().tolist(), strict=True):
                scores.append(CaseScore(case=index, label=prepared.records[index].label, probabilities=tuple(round(value, 6) for value in row)))
    return scores


def _segmented(task: Task, network: "torch.nn.Module", prepared: Prepared, index: int) -> CaseScore:
    found, truth = (from_monai(array) for array in (_labels(task, network, prepared.image(index)), np.asarray(prepared.labels(index)[0])))
    geometry = Geometry((truth.shape[2], truth.shape[1], truth.shape[0]), task.data.spacing_mm, (0.0, 0.0, 0.0), (1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0))
    structures = {}
    for structure in task.structures:
        # compare() calls whatever is labelled 1 the liver: here it is any structure.
        one = compare(*(Volume(_mask(array, structure).astype(np.uint8), geometry) for array in (found, truth))).liver
        structures[structure.name] = StructureScore(dice=one.dice, hd95_mm=one.hd95_mm, sensitivity=one.sensitivity, specificity=one.specificity, f1=one.f1)
    return CaseScore(case=index, structures=structures)


def _labels(task: Task, network: "torch.nn.Module", image: np.ndarray) -> np.ndarray:
    """The label of every voxel, (i, j, k)."""
    import torch
    from monai.inferers import SlidingWindowInferer

    inferer = SlidingWindowInferer(task.training.patch_size, sw_batch_size=4, overlap=_OVERLAP, mode="gaussian", padding_mode="constant", cval=0.0)
    device = next(network.parameters()).device
    with torch.inference_mode(), inference_precision(str(device)):
        logits = inferer(torch.from_numpy(image)[None].to(device), network.eval())
    return logits[0].argmax(0).cpu().numpy().astype(np.uint8)


def _mask(labels: np.ndarray, structure: Structure) -> np.ndarray:
    return np.isin(labels, structure.labels)
