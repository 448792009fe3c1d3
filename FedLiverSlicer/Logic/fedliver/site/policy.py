"""What a coordinator asks of its sites, and what a site agreed to when it enrolled."""

import hashlib
import json
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from fedliver.errors import FedLiverError
from fedliver.site.rules import PrivacyMinimums
from fedliver.site.strategy import FedAvg, Strategy
from fedliver.teacher.plan import TeacherPlan
from fedliver.training.settings import TrainingSettings

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
SiteName = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=60, pattern=r"^[\w .,()&'+-]+$")]
"""A name for people: letters, digits and little else, so that it can stand in a log, a table and a file name without harm."""
Compression = Literal["none", "int8"]
"""How weights travel: as they are, or as rounded changes of what the other side has (``federation/codec.py``)."""


class Policy(BaseModel):
    """The rules of one federation. The coordinator writes it once; every invitation carries it; the site keeps its copy and checks against that."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    contract: Sha256
    """:func:`contract_of` the plan: a site trains this network and no other."""
    rounds: int = Field(5, ge=1, le=1000)
    quorum: int = Field(2, ge=1, le=1000)
    """Fewer usable updates than this and a round does not count."""
    deadline_seconds: float = Field(3600.0, ge=1.0, le=86_400.0)
    """How long a round waits for its sites. After it the round closes with those that answered."""
    gather_seconds: float = Field(300.0, ge=0.0, le=86_400.0)
    """How long a round waits for the quorum to be online before the run is given up."""
    weight_cap_cases: int = Field(200, ge=1)
    """A site's weight in the mean is its number of cases, but never more than this."""
    unlabelled_share: float = Field(0.1, ge=0, le=1)
    """A scan that nobody annotated counts as this part of an approved case in a site's weight. Only where :attr:`learns_from_unlabelled`."""
    plausible_cases: int = Field(100_000, ge=1)
    """A site that claims more cases than this is refused."""
    training: TrainingSettings = TrainingSettings()
    """How each site trains in a round; ``training.steps`` are its local steps. The seed is moved on from round to round."""
    strategy: Strategy = FedAvg()
    """How the updates become one."""
    outlier_norm: float | None = Field(None, gt=1, le=1e6, allow_inf_nan=False)
    """An update this many times as long as the median of the round before is refused; None refuses none. The first round has nothing to compare with."""
    compression: Compression = "int8"
    """How weights travel, both ways. A masked update travels as it is."""
    sum_step_seconds: float = Field(180.0, ge=1.0, le=86_400.0)
    """With ``privacy.require_secure_aggregation``: how long each of the three steps after training waits for its sites; masked updates travel in the second."""
    privacy: PrivacyMinimums = PrivacyMinimums()
    """What every site's egress filter must ask at least. It can make a site's own rules stricter, never laxer."""

    @model_validator(mode="after")
    def _a_round_that_counts_can_be_aggregated(self) -> Self:
        if self.quorum < self.strategy.fewest_updates:
            raise ValueError(f"the strategy {self.strategy.name} needs a quorum of {self.strategy.fewest_updates} or more")
        return self

    @model_validator(mode="after")
    def _a_masked_sum_asks_for_nothing_that_it_hides(self) -> Self:
        if not self.privacy.require_secure_aggregation:
            return self
        if self.strategy.needs_single_updates:
            raise ValueError(f"the strategy {self.strategy.name} looks at single updates, which secure aggregation hides: choose fedavg or one of its kin")
        if self.outlier_norm is not None:
            raise ValueError("outlier_norm looks at single updates, which secure aggregation hides: set it to null")
        if self.quorum < self.privacy.minimum_sites:
            raise ValueError(f"secure aggregation over at least {self.privacy.minimum_sites} sites needs a quorum of {self.privacy.minimum_sites} or more")
        return self

    @property
    def learns_from_unlabelled(self) -> bool:
        """Whether sites train on scans without approval too (Mean Teacher): then a site can take part that has approved nothing yet."""
        return self.training.consistency is not None


def changed_policy(policy: Policy, **changes: object) -> Policy:
    """``policy`` with ``changes``; a strategy may be given as the dictionary that would stand in the file (FedLiverError ``bad-policy``)."""
    try:
        return Policy.model_validate({**policy.model_dump(), **changes})
    except ValidationError as error:
        detail = error.errors()[0]
        where = ".".join(map(str, detail["loc"]))
        what = detail["msg"].removeprefix("Value error, ")
        raise FedLiverError("bad-policy", f"This is no policy ({where}{': ' if where else ''}{what}): nothing was made.") from error


def contract_of(plan: TeacherPlan) -> str:
    """Hex SHA-256 of a plan's canonical JSON: the same plan gives the same contract on every machine."""
    canonical = json.dumps(plan.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()
