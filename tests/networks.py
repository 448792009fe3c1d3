"""A stand-in for a trained network: calls everything in an intensity band liver, and a brighter band tumour. Exact, instant, and it never learned anything."""

import torch

from fedliver.teacher.bundle import Teacher
from fedliver.teacher.plan import TeacherPlan


class BandNetwork(torch.nn.Module):
    """Liver between 0 and 135 HU, tumour between 135 and 200 HU, for the default window of -160 to 240 HU."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        hu = image * 400 - 160
        liver = ((hu > 0) & (hu <= 135)).float()
        tumour = ((hu > 135) & (hu <= 200)).float()
        return 20 * torch.cat([1 - liver - tumour, liver, tumour], dim=1)


def band_teacher(spacing_mm: float = 4.0) -> Teacher:
    plan = TeacherPlan.tiny().model_copy(update={"spacing_mm": (spacing_mm,) * 3, "minimum_liver_ml": 5.0})
    return Teacher(BandNetwork(), plan, "bands", "0", "none")
