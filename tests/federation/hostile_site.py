"""Stands in for ``fedliver.federation.launch`` at a site that misbehaves in certain rounds, as ``federation/misbehaviour.json`` says. For tests."""

import json
import os
from pathlib import Path

import numpy as np

from fedliver.coordinator.checkpoints import Weights
from fedliver.federation import client_app, launch, local_work
from fedliver.federation.messages import Numbers

PATIENT = "/data/patients/DOE^JOHN_1960-01-01/ct.nii.gz"
_honest = local_work.LocalWork.train


def behaviours() -> dict[str, str]:
    file = Path(os.environ["FEDLIVER_HOME"]) / "federation" / "misbehaviour.json"
    return json.loads(file.read_text()) if file.exists() else {}


def misbehave(self: local_work.LocalWork, received: Weights) -> tuple[Numbers, Weights]:
    behaviour = behaviours().get(str(self._instructions.round))
    if behaviour == "patient":
        raise RuntimeError(f"cannot read {PATIENT}")
    if behaviour == "long":
        train = self._trainer
        self._trainer = lambda teacher, examples, settings, watcher, before: train(teacher, examples, settings.model_copy(update={"steps": 1_000_000}), watcher)
    numbers, weights = _honest(self, received)
    if behaviour == "nan":
        weights = {name: np.full_like(array, np.nan) for name, array in weights.items()}
    return numbers, weights


if __name__ == "__main__":
    assert Path(os.environ["FEDLIVER_HOME"]).is_dir()
    local_work.LocalWork.train = misbehave  # type: ignore[method-assign]
    if "nan" in behaviours().values():
        launch.guarded = lambda home: client_app.app  # a site that has thrown its own egress filter out
    launch.main()
