"""What every framework of ``overhead.py`` is given to do at a site: the same network, the same training steps. Also run in NVFLARE's own environment.

A folder named by ``$FEDLIVER_OVERHEAD`` says how many steps (``steps``), and takes down what each site's work took (``work.jsonl``).
"""

import json
import os
import time
from pathlib import Path
from typing import Any

import torch

from fedliver.teacher.network import build_network
from fedliver.teacher.plan import TeacherPlan

FOLDER = "FEDLIVER_OVERHEAD"
_EDGE = 48
_RATE = 1e-5


def folder() -> Path:
    return Path(os.environ[FOLDER])


class ShippedNetwork(torch.nn.Module):
    """A network of the shipped teacher's shape, with random weights, that can be made without arguments."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.network = build_network(TeacherPlan.model_validate_json((folder() / "plan.json").read_bytes()))

    def forward(self, patch: torch.Tensor) -> torch.Tensor:
        return self.network(patch)


def work(network: torch.nn.Module, before: dict[str, Any] | None = None) -> torch.optim.Optimizer | None:
    """Train on random numbers, on from the optimiser's state ``before``, and take down when it began and ended. Without steps nothing is done."""
    started, steps = time.time(), int((folder() / "steps").read_text())
    if not steps:
        note("work", started=started, ended=time.time())
        return None
    optimiser = torch.optim.AdamW([weight for weight in network.parameters() if weight.requires_grad], _RATE)
    if before is not None:
        optimiser.load_state_dict(before)
    network.train()
    for _ in range(steps):
        patch, target = torch.rand(1, 1, _EDGE, _EDGE, _EDGE), torch.randint(0, 3, (1, _EDGE, _EDGE, _EDGE))
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(network(patch), target).backward()
        optimiser.step()
    note("work", started=started, ended=time.time())
    return optimiser


def note(file: str, **line: float) -> None:
    """Append a line; whole, whoever else writes."""
    descriptor = os.open(folder() / f"{file}.jsonl", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, (json.dumps(line) + "\n").encode())
    finally:
        os.close(descriptor)
