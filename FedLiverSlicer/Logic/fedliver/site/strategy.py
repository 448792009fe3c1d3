"""How a federation makes one model of many updates: the choices that a policy can name, each with its ranges. Standard library and pydantic.

The arithmetic is in ``federation/strategies``; docs/coordinators.md is written from the words here.
"""

from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field


class _Choice(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    purpose: ClassVar[str]
    """What it is for, in words for an IT department."""
    method: ClassVar[str]
    """Where the method was published."""

    @property
    def fewest_updates(self) -> int:
        """A round with fewer usable updates than this cannot be aggregated."""
        return 1

    @property
    def proximal(self) -> float:
        """How strongly the sites are held near the global model while they train."""
        return 0.0

    @property
    def needs_single_updates(self) -> bool:
        """Whether a sum of the updates is not enough for it."""
        return False


class FedAvg(_Choice):
    """The mean of the updates, each by its site's number of cases."""

    purpose: ClassVar[str] = "The ordinary choice. Sites with more cases count more, up to `weight_cap_cases`"
    method: ClassVar[str] = "McMahan et al. 2017"
    name: Literal["fedavg"] = "fedavg"


class FedProx(_Choice):
    """FedAvg, with the sites held near the global model while they train."""

    purpose: ClassVar[str] = "Sites whose patients or scanners differ much, and many training steps per round: keeps their updates from running apart"
    method: ClassVar[str] = "Li et al. 2020"
    name: Literal["fedprox"] = "fedprox"
    mu: float = Field(
        0.01, gt=0, le=100, allow_inf_nan=False, description="how strongly: every site's loss gets mu/2 times the squared distance from the global weights"
    )

    @property
    def proximal(self) -> float:
        return self.mu


class FedAvgM(_Choice):
    """FedAvg, with momentum at the coordinator."""

    purpose: ClassVar[str] = "Rounds that pull to and fro because sites differ: averages over rounds, too. Needs many rounds"
    method: ClassVar[str] = "Hsu et al. 2019"
    name: Literal["fedavgm"] = "fedavgm"
    momentum: float = Field(0.5, ge=0, lt=1, description="how much of the step before is kept")
    learning_rate: float = Field(
        0.5, gt=0, le=10, allow_inf_nan=False, description="part of the accumulated step that is taken: 1 - momentum keeps FedAvg's pace"
    )


class FedAdam(_Choice):
    """FedAvg, with Adam at the coordinator."""

    purpose: ClassVar[str] = "As FedAvgM, where some layers move much less than others: every weight gets a step of its own size. Needs many rounds"
    method: ClassVar[str] = "Reddi et al. 2021"
    name: Literal["fedadam"] = "fedadam"
    learning_rate: float = Field(1e-3, gt=0, le=10, allow_inf_nan=False, description="the largest step of a weight in a round, about")
    beta_1: float = Field(0.9, ge=0, lt=1, description="decay of the mean of the updates")
    beta_2: float = Field(0.99, ge=0, lt=1, description="decay of the mean of their squares")
    tau: float = Field(1e-3, gt=0, le=1, description="a change much smaller than this gets no enlarged step")


class TrimmedMean(_Choice):
    """The coordinate-wise trimmed mean: of every single weight the largest and smallest values are left out."""

    purpose: ClassVar[str] = "A site may be broken or hostile, and the good ones are in the majority. Every site counts the same"
    method: ClassVar[str] = "Yin et al. 2018"
    name: Literal["trimmed-mean"] = "trimmed-mean"
    hostile_sites: int = Field(1, ge=1, le=100, description="values left out at each end, of every weight: as many bad sites do no harm")

    @property
    def fewest_updates(self) -> int:
        return 2 * self.hostile_sites + 1

    @property
    def needs_single_updates(self) -> bool:
        return True


class MultiKrum(_Choice):
    """Multi-Krum: the mean of those updates that lie nearest to the others."""

    purpose: ClassVar[str] = "As trimmed-mean, and you want to be told whose update stood apart. Needs more sites; those that are kept count the same"
    method: ClassVar[str] = "Blanchard et al. 2017"
    name: Literal["multi-krum"] = "multi-krum"
    hostile_sites: int = Field(1, ge=1, le=100, description="as many bad sites do no harm; so many updates, and 2 more, are left out")

    @property
    def fewest_updates(self) -> int:
        return 2 * self.hostile_sites + 3

    @property
    def needs_single_updates(self) -> bool:
        return True


Strategy = Annotated[FedAvg | FedProx | FedAvgM | FedAdam | TrimmedMean | MultiKrum, Field(discriminator="name")]
CHOICES: tuple[type[_Choice], ...] = (FedAvg, FedProx, FedAvgM, FedAdam, TrimmedMean, MultiKrum)
