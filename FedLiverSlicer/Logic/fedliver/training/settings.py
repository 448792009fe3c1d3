"""How a student is trained: every choice that is not the plan's."""

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class ConsistencySettings(BaseModel):
    """How a student learns from scans nobody annotated: Mean Teacher (Tarvainen and Valpola 2017), only where the teacher is sure (UA-MT, Yu et al. 2019)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    loss: Literal["pseudo-labels", "squared-error", "cross-entropy"] = "pseudo-labels"
    """What the teacher's answer is to the student: labels, as in FixMatch (Sohn et al. 2020), of patches into which a box of an annotated one is pasted
    (Bai et al. 2023); or probabilities that it should come near to, by Mean Teacher's own squared error, or by cross-entropy. Where nothing is annotated,
    pseudo-labels would confirm themselves: there the squared error takes their place."""
    weight: float = Field(1.0, ge=0)
    """The consistency loss counts this much once it is ramped up."""
    ramp: float = Field(0.4, gt=0, le=1)
    """The part of the training over which it is ramped up: exp(-5 (1 - t)^2)."""
    sure: float = Field(0.3, gt=0, le=1)
    """A voxel teaches where the teacher's entropy is below this part of the highest possible. Liver or not with 9 to 1 is 0.3; with 1 to 1 it is 0.63.
    Probabilities to come near to (not pseudo-labels) teach nothing new where the teacher is sure: there the part grows to 1 with the ramp."""
    passes: int = Field(1, ge=1, le=16)
    """Passes of the teacher over noisy copies; their mean is its answer, the entropy of the mean its uncertainty."""
    noise: float = Field(0.0, ge=0)
    """Standard deviation of that noise, in the network's units (0.05 is 20 HU)."""


class TrainingSettings(BaseModel):
    """Settings of one training run. Defaults suit one federation round on a workstation without a GPU."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    steps: int = Field(60, ge=1, le=1_000_000)
    minutes: float | None = Field(None, gt=0, description="end after this long even if steps are left; the learning rate decays by whichever is nearer its end")
    batch_size: int = Field(1, ge=1, le=64)
    learning_rate: float = Field(5e-4, gt=0, le=1.0)
    warm_up_steps: int = Field(0, ge=0)
    final_learning_rate_fraction: float = Field(0.1, ge=0, le=1)
    weight_decay: float = Field(1e-4, ge=0)
    gradient_clip: float = Field(5.0, gt=0)
    average_decay: float = Field(0.0, ge=0, lt=1)
    """Decay of the moving average of the weights that is handed back; 0 hands back the last weights."""
    consistency: ConsistencySettings | None = None
    """How to learn from scans without labels; None ignores them. The teacher is the moving average, so ``average_decay`` must not be 0."""
    proximal: float = Field(0.0, ge=0, le=100, allow_inf_nan=False)
    """FedProx's mu: how strongly the weights are held near those that training began with."""
    augment: bool = True
    seed: int = 0
    threads: int | None = Field(None, ge=1, description="CPU threads; None leaves torch's choice")

    @model_validator(mode="after")
    def _a_mean_teacher_is_an_average(self) -> Self:
        if self.consistency is not None and self.average_decay == 0:
            raise ValueError("learning from scans without labels needs an average_decay above 0: the teacher is the moving average of the student")
        return self
