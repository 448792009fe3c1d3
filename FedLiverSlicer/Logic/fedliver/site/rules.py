"""What a site lets out: its own rules, in its own file, beside which the coordinator's policy can only be stricter. Standard library and pydantic."""

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from fedliver.errors import FedLiverError
from fedliver.files import write_text

FILE_NAME = "egress.json"
Fingerprint = Annotated[str, StringConstraints(pattern=r"^SHA256:[A-Za-z0-9+/]{43}$")]


class PrivacyMinimums(BaseModel):
    """What a federation's policy asks of every site's egress filter. A site that asks more of itself keeps its own rules."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    minimum_cases: int = Field(1, ge=1, le=10_000)
    minimum_metric_cases: int = Field(1, ge=1, le=10_000)
    norm_bound: float | None = Field(None, gt=0, allow_inf_nan=False)
    noise_multiplier: float = Field(0.0, ge=0, le=1000, allow_inf_nan=False)
    require_secure_aggregation: bool = False
    """Updates leave masked only: the coordinator sees their sum (docs/secure_aggregation.md)."""
    minimum_sites: int = Field(3, ge=2, le=1000)
    """With secure aggregation: a sum of fewer sites than this cannot be opened."""


class EgressRules(BaseModel):
    """The rules of one site's egress filter. Cases are counted as patients: several scans of one patient are one."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    minimum_cases: int = Field(2, ge=1, le=10_000)
    """Patients that must have trained an update before it may leave. The update of a single case says too much about it."""
    minimum_metric_cases: int = Field(2, ge=1, le=10_000)
    """Patients that a loss or a Dice must be the mean over before it may leave."""
    norm_bound: float = Field(30.0, gt=0, allow_inf_nan=False)
    """The largest Euclidean norm of an update (trained weights less received weights, all tensors together). A longer one is shortened to it.

    The default is about five times what a round of the default training makes of the shipped starter; docs/attacks.md says how long such updates are."""
    noise_multiplier: float = Field(0.0, ge=0, le=1000, allow_inf_nan=False)
    """Standard deviation of the Gaussian noise on every number of an update, in units of ``norm_bound``. 0: no noise."""
    delta: float = Field(1e-5, gt=0, lt=1)
    """The delta at which epsilon is told."""
    epsilon_budget: float | None = Field(None, gt=0, allow_inf_nan=False)
    """No update leaves that would bring the spent epsilon above this. Asks for noise: without it no epsilon is finite."""

    require_secure_aggregation: bool = False
    """An update leaves masked, as a part of a sum, or not at all."""
    minimum_sites: int = Field(3, ge=2, le=1000)
    """A masked sum is opened only if it is of so many sites or more, this one included."""
    known_sites: tuple[Fingerprint, ...] = ()
    """Fingerprints of the other sites' keys, where this site's people have compared them with theirs: then no others may be in a masked sum."""

    @model_validator(mode="after")
    def _a_budget_needs_noise(self) -> "EgressRules":
        if self.epsilon_budget is not None and not self.noise_multiplier:
            raise ValueError("an epsilon_budget needs a noise_multiplier above 0")
        return self

    @property
    def noisy(self) -> bool:
        return self.noise_multiplier > 0

    def made_stricter(self, asked: PrivacyMinimums) -> "EgressRules":
        """These rules, or what the federation asks where that is stricter. Nothing that is asked can loosen them."""
        return self.model_copy(
            update={
                "minimum_cases": max(self.minimum_cases, asked.minimum_cases),
                "minimum_metric_cases": max(self.minimum_metric_cases, asked.minimum_metric_cases),
                "norm_bound": min(self.norm_bound, asked.norm_bound if asked.norm_bound is not None else self.norm_bound),
                "noise_multiplier": max(self.noise_multiplier, asked.noise_multiplier),
                "require_secure_aggregation": self.require_secure_aggregation or asked.require_secure_aggregation,
                "minimum_sites": max(self.minimum_sites, asked.minimum_sites),
            }
        )

    @property
    def sentences(self) -> tuple[str, ...]:
        """The rules in words, for the panel, the command line and a data-protection officer."""
        patients = "patient" if self.minimum_cases == 1 else "patients"
        measured = "patient" if self.minimum_metric_cases == 1 else "patients"
        said = [
            f"An update leaves only if at least {self.minimum_cases} {patients} trained it.",
            f"A loss or a Dice leaves only if it is the mean over at least {self.minimum_metric_cases} {measured}"
            + ("; with noise on, none leaves." if self.noisy else "."),
            f"An update longer than {self.norm_bound:g} (Euclidean norm) is shortened to that.",
            *self._about_masks,
        ]
        if not self.noisy:
            return (*said, "No noise is added: nothing is promised in the sense of differential privacy.")
        said.append(f"Gaussian noise of {self.noise_multiplier:g} times that bound is added to every number of an update.")
        if self.epsilon_budget is None:
            return (*said, f"Epsilon (at delta {self.delta:g}) is counted; no budget is set.")
        return (*said, f"No update leaves once epsilon (at delta {self.delta:g}) would pass {self.epsilon_budget:g}.")

    @property
    def _about_masks(self) -> tuple[str, ...]:
        if not self.require_secure_aggregation:
            return ()
        known = f", and those are this one and {len(self.known_sites)} that its rules name" if self.known_sites else ""
        return (f"An update, its loss, Dice and counts leave masked only: the coordinator sees only the sum of at least {self.minimum_sites} sites{known}.",)


def read_rules(home: Path) -> EgressRules:
    """The site's own rules; the defaults where there is no file.

    Raises
    ------
    FedLiverError
        ``rules-unreadable``: nothing may leave under rules that nobody can read.
    """
    path = home / FILE_NAME
    try:
        return EgressRules.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return EgressRules()
    except ValidationError as error:
        raise FedLiverError("rules-unreadable", f"{path} cannot be read ({_first(error)}): correct it, or remove it to go back to the defaults.") from error
    except OSError as error:
        raise FedLiverError("rules-unreadable", f"{path} cannot be read ({error.strerror}): nothing leaves this site until it can.") from error


def changed_rules(home: Path, **changes: object) -> EgressRules:
    """Write the site's rules with ``changes`` made, and return them (``rules-unreadable``, ``bad-rules``)."""
    try:
        rules = EgressRules.model_validate({**read_rules(home).model_dump(), **changes})
    except ValidationError as error:
        raise FedLiverError("bad-rules", f"These are no rules for an egress filter ({_first(error)}): nothing was changed.") from error
    write_text(home / FILE_NAME, rules.model_dump_json(indent=2) + "\n")
    return rules


def _first(error: ValidationError) -> str:
    detail = error.errors()[0]
    return ": ".join(filter(None, [".".join(map(str, detail["loc"])), detail["msg"].removeprefix("Value error, ")]))
