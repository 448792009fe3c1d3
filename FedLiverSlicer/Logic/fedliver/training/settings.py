"""How a student is trained: every choice that is not the plan's."""

from pydantic import BaseModel, ConfigDict, Field


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
    augment: bool = True
    seed: int = 0
    threads: int | None = Field(None, ge=1, description="CPU threads; None leaves torch's choice")
