"""Numbers of a model from its test cases: what a paper's table lists."""

from collections.abc import Sequence

import numpy as np

from fedliver.study.federated.results import ArmResult, Model
from fedliver.study.federated.scores import CaseScore, StructureScore
from fedliver.study.federated.task import Task

_STRUCTURE = (("Dice", "dice"), ("HD95", "hd95_mm"), ("sensitivity", "sensitivity"), ("specificity", "specificity"), ("F1", "f1"))
_CLASS = (("sensitivity", "sensitivity"), ("specificity", "specificity"), ("F1", "f1 score"))

Measures = dict[str, float]
"""By name, as "Dice myocardium" or "sensitivity pneumonia". A number that has no value is not there."""


def measures(task: Task, results: Sequence[ArmResult], classes: Sequence[str]) -> Measures:
    """The means over seeds, and over sites where each has a model of its own."""
    of_each = [_of_model(task, model, classes) for result in results for model in result.models]
    return {name: float(np.mean([one[name] for one in of_each if name in one])) for name in {name: None for one in of_each for name in one}}


def main_measures(task: Task) -> tuple[str, ...]:
    """Those that a short table shows."""
    if task.kind == "classification":
        return ("accuracy", "sensitivity", "specificity", "F1", "AUROC")
    return tuple(f"{name} {structure.name}" for name in ("Dice", "HD95") for structure in task.structures)


def value_name(task: Task) -> str:
    """What arms are compared by, in words."""
    return "accuracy" if task.kind == "classification" else "Dice"


def _of_model(task: Task, model: Model, classes: Sequence[str]) -> Measures:
    return _classification(model.cases, classes) if task.kind == "classification" else _segmentation(task, model.cases)


def _segmentation(task: Task, cases: Sequence[CaseScore]) -> Measures:
    found: Measures = {}
    for name, key in _STRUCTURE:
        for structure in task.structures:
            values = [_value(case.structures[structure.name], key) for case in cases]
            there = [value for value in values if value is not None]
            if there:
                found[f"{name} {structure.name}"] = float(np.mean(there))
            if key == "hd95_mm":
                # A structure that was not found at all has no distance: its cases are counted, not left out in silence.
                found[f"without HD95 {structure.name}"] = float(len(values) - len(there))
    return found


def _value(score: StructureScore, key: str) -> float | None:
    value = getattr(score, key)
    return None if value is None else float(value)


def _classification(cases: Sequence[CaseScore], classes: Sequence[str]) -> Measures:
    """MONAI's confusion matrix and area under the curve, one class against the others; without a class's name the mean over classes."""
    import torch
    from monai.metrics import compute_confusion_matrix_metric, compute_roc_auc, get_confusion_matrix

    probabilities = torch.tensor([case.probabilities for case in cases])
    truth = torch.nn.functional.one_hot(torch.tensor([case.label for case in cases]), len(classes))
    said = torch.nn.functional.one_hot(probabilities.argmax(1), len(classes))
    counts = get_confusion_matrix(said, truth).sum(dim=0)
    found: Measures = {"accuracy": float(np.mean([case.value for case in cases]))}
    values = {name: compute_confusion_matrix_metric(key, counts).tolist() for name, key in _CLASS}
    values["AUROC"] = [
        float(np.asarray(compute_roc_auc(probabilities[:, n], truth[:, n]))) if 0 < int(truth[:, n].sum()) < len(cases) else float("nan")
        for n in range(len(classes))
    ]
    for name, of_classes in values.items():
        found[name] = float(np.nanmean(of_classes))
        found |= {f"{name} {label}": value for label, value in zip(classes, of_classes, strict=True) if value == value}
    return found
