"""What is studied: a task file in TOML, and the arms that are compared.

A hospital writes its own, or takes a shipped one by its name; ``base`` takes every table of another file and changes only what is said anew.
"""

import math
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from fedliver.errors import FedLiverError
from fedliver.site.strategy import FedAvg, Strategy

SHIPPED = Path(__file__).resolve().parent.parent / "tasks"
_TOML_LIMIT = 1 << 20
_LONGEST_CHAIN = 5
SHARED_STEPS = "-shared-steps"
"""How the name of an arm whose sites share the steps differs from that of its twin."""

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9.+-]{0,79}$")]
Side = Annotated[int, Field(ge=1, le=1024)]
Spacing = Annotated[float, Field(gt=0, le=100)]
Label = Annotated[int, Field(ge=1, le=255)]
"""Prepared labels are kept in 8 bits; ``data.labels`` brings larger ones there."""
_USUAL_ALPHA, _USUAL_DELTA = 0.5, 1e-5


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Structure(_Strict):
    """A region that is scored: the voxels with any of ``labels``."""

    name: str = Field(min_length=1, max_length=60)
    labels: tuple[Label, ...] = Field(min_length=1)


class DataSettings(_Strict):
    """Where the images come from, how they are prepared, and who tests."""

    reader: Literal["scans", "msd", "mm-whs", "heart-phantom", "liver-phantom", "class-folders", "csv"]
    path: Path | None = None
    """The data set; ``--data`` says it on the command line. Generated data has none."""
    generated: int = Field(0, ge=0, le=100_000)
    """How many patients to generate."""
    exclude: tuple[str, ...] = ()
    """Images that are left out, by name."""
    test_share: float = Field(0.25, gt=0, lt=1)
    folds: int = Field(1, ge=1, le=100)
    """Cross-validation: every seed is tested on another one of so many parts of the patients, instead of ``test_share``. 1: all seeds on the same share."""
    spacing_mm: tuple[Spacing, Spacing, Spacing] = (3.0, 3.0, 3.0)
    window: tuple[float, float] = (-160.0, 240.0)
    """Hounsfield units that become 0 and 1. Images of 8 bits go from 0 to 255 always."""
    labels: dict[Annotated[str, StringConstraints(pattern=r"^[0-9]{1,6}$")], Label] = {}
    """Scans: what a label in the files means here, as {"205" = 1, "500" = 2}. Without it labels are as they are; what is not named is background."""
    margin_mm: float | None = Field(None, ge=0)
    """Scans: keep only the box around the labelled structures with this much around it."""
    size: tuple[Side, ...] = (64, 64)
    """Images to classify: what they are resized to. Two numbers, or three for volumes."""
    classes: tuple[str, ...] = ()
    """Images to classify: the classes, in order. Without it, those that are found, by name."""
    most_per_class: int | None = Field(None, ge=2)
    """Images to classify: as many of each class at the most, drawn at random."""

    @model_validator(mode="after")
    def _window_has_a_width(self) -> Self:
        if self.window[0] >= self.window[1]:
            raise ValueError("the window's first number must be below its second")
        return self

    @property
    def generates(self) -> bool:
        """Whether the images are made here, so that there is no data set."""
        return self.reader in ("heart-phantom", "liver-phantom")


class UNetSettings(_Strict):
    """MONAI's residual 3D U-Net (Kerfoot et al. 2018)."""

    kind: Literal["unet"]
    channels: tuple[Annotated[int, Field(ge=1, le=1024)], ...] = (16, 32, 64, 128)
    strides: tuple[Annotated[int, Field(ge=1, le=4)], ...] = (2, 2, 2)
    residual_units: int = Field(1, ge=0, le=4)

    @model_validator(mode="after")
    def _one_stride_between_two_levels(self) -> Self:
        if len(self.strides) != len(self.channels) - 1:
            raise ValueError("a network has one stride fewer than channels")
        return self


class ResNetSettings(_Strict):
    """MONAI's ResNet18 (He et al. 2016), in two or three dimensions by the images' size."""

    kind: Literal["resnet18"]
    width: float = Field(1.0, gt=0, le=2)
    """1 is the original with 64 to 512 channels."""
    norm: Literal["batch", "group"] = "batch"
    """group (Wu and He 2018) keeps no running statistics, which sites with different patients cannot share (Hsieh et al. 2020)."""


class TrainingPlan(_Strict):
    """How every arm trains."""

    steps: int = Field(400, ge=1)
    """Gradient steps of every site in all, in every arm; of the one centralised site too. See :attr:`Arm.steps_shared` for the other way to count."""
    rounds: int = Field(8, ge=1)
    """The federation's rounds; the others are scored as often."""
    batch_size: int = Field(2, ge=1, le=1024)
    learning_rate: float = Field(1e-3, gt=0, le=1)
    final_learning_rate_fraction: float = Field(0.05, ge=0, le=1)
    weight_decay: float = Field(1e-4, ge=0)
    gradient_clip: float = Field(5.0, gt=0)
    patch_size: tuple[Side, Side, Side] = (32, 32, 32)
    """Segmentation: the cube that a step sees."""
    augment: bool = True
    curve_cases: int = Field(200, ge=1)
    """The learning curve is scored on this many of the test cases; the end on all of them."""
    threads: int = Field(1, ge=1)

    @model_validator(mode="after")
    def _rounds_are_equal(self) -> Self:
        if self.steps % self.rounds:
            raise ValueError("steps must be a multiple of rounds")
        return self


class Privacy(_Strict):
    """What a site's egress filter does to every update before it leaves."""

    norm_bound: float = Field(gt=0)
    noise_multiplier: float = Field(0.0, ge=0)
    delta: float = Field(_USUAL_DELTA, gt=0, lt=1)


Division = Literal["balanced", "unbalanced", "sizes", "by-label", "by-group"]


class Arm(_Strict):
    """One way to learn from the same patients."""

    way: Literal["centralised", "alone", "federated"]
    clients: int = Field(1, ge=1, le=10_000)
    division: Division = "balanced"
    alpha: float = Field(_USUAL_ALPHA, gt=0, le=1e6)
    """Of the Dirichlet distribution that draws the sites' sizes (unbalanced) or every class's shares (by-label): the smaller, the more uneven."""
    sizes: tuple[Annotated[float, Field(gt=0, le=1e9)], ...] = ()
    """The sites' sizes, relative to each other."""
    strategy: Strategy = FedAvg()
    """As a federation's policy names it, with its settings."""
    active: int | None = Field(None, ge=1)
    """Sites that take part in a round, drawn anew each time; None is all."""
    steps_shared: bool = False
    """The steps are divided among the sites, so that all sites together take as many as the centralised one."""
    privacy: Privacy | None = None
    compressed: bool = False
    """Updates travel as the federation's codec packs them, and are scored as they arrive."""
    seeds: int | None = Field(None, ge=1, le=100)
    """Fewer seeds than the study's, for an arm that is only an illustration."""

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if self.way == "centralised" and self.clients != 1:
            raise ValueError("the centralised arm has one site")
        if (self.division == "sizes") != bool(self.sizes) or (self.sizes and len(self.sizes) != self.clients):
            raise ValueError("division sizes needs one size for every client")
        if self.active is not None and self.active > self.clients:
            raise ValueError("more clients are active than there are")
        return self

    @property
    def partition(self) -> str:
        """What decides who holds which patient: arms with the same one have the same sites."""
        detail = {"unbalanced": f"-{self.alpha:g}", "by-label": f"-{self.alpha:g}", "sizes": "-" + "-".join(f"{size:g}" for size in self.sizes)}
        return f"{self.clients}-{self.division}{detail.get(self.division, '')}"

    @property
    def name(self) -> str:
        """For files and tables, as ``federated-4-balanced``."""
        if self.way == "centralised":
            return "centralised"
        parts = [self.way, self.partition]
        if self.way == "federated":
            parts += [self.strategy.name] if self.strategy.name != "fedavg" else []
            parts += [f"{key}{value:g}" for key, value in self.strategy.model_dump(exclude={"name"}, exclude_defaults=True).items()]
        parts += [f"active{self.active}"] if self.active else []
        parts += [SHARED_STEPS.removeprefix("-")] if self.steps_shared else []
        if self.privacy:
            parts += [f"clip{self.privacy.norm_bound:g}"] + ([f"noise{self.privacy.noise_multiplier:g}"] if self.privacy.noise_multiplier else [])
            parts += [f"delta{self.privacy.delta:g}"] if self.privacy.delta != _USUAL_DELTA else []
        parts += ["compressed"] if self.compressed else []
        return "-".join(parts).lower().replace("_", "")


class PublishedNumber(_Strict):
    """One number of a paper: an arm's name here, and what was measured there."""

    arm: str
    measure: str
    value: float


class Published(_Strict):
    """What a paper found. It is shown beside ours, never mixed with it."""

    source: str
    about: str = ""
    numbers: tuple[PublishedNumber, ...] = ()


class Task(_Strict):
    """A whole study."""

    name: Name
    title: str = Field(min_length=1, max_length=200)
    kind: Literal["segmentation", "classification"]
    real: bool
    """Whether the images are of patients. Generated ones are called generated wherever a number of theirs stands."""
    about: str
    cautions: tuple[str, ...] = ()
    """What a reader must know before believing a number; shown on top of the report."""
    seeds: int = Field(3, ge=1, le=100)
    target: float = Field(0.010, gt=0)
    """Federated should be within this of centralised."""
    target_from: dict[Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]{0,4}$")], Annotated[float, Field(gt=0)]] = {}
    """Another target from so many clients on, as {"16" = 0.015}."""
    data: DataSettings
    network: Annotated[UNetSettings | ResNetSettings, Field(discriminator="kind")]
    training: TrainingPlan = TrainingPlan()
    structures: tuple[Structure, ...] = ()
    arms: tuple[Arm, ...] = Field(min_length=1)
    published: tuple[Published, ...] = ()

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        segments = self.kind == "segmentation"
        if segments != (self.network.kind == "unet") or segments != bool(self.structures):
            raise ValueError("segmentation takes a unet and structures, classification a resnet18 and none")
        if self.data.reader != "csv" and segments == (self.data.reader == "class-folders"):
            raise ValueError(f"the reader {self.data.reader} does not give what {self.kind} needs")
        if self.data.generates and self.real:
            raise ValueError("generated images are not real: say real = false")
        self._patches_fit()
        names = [arm.name for arm in self.arms]
        if len(set(names)) != len(names):
            raise ValueError("two arms are the same")
        if not any(arm.way == "centralised" for arm in self.arms):
            raise ValueError("one arm must be centralised: everything is compared with it")
        return self

    def _patches_fit(self) -> None:
        if isinstance(self.network, UNetSettings):
            step = math.prod(self.network.strides)
            if any(side % step for side in self.training.patch_size):
                raise ValueError(f"every side of training.patch_size must be a multiple of {step}, the product of the network's strides")

    @property
    def label_count(self) -> int:
        """Segmentation: how many classes the network tells apart, the background among them."""
        return 1 + max(label for structure in self.structures for label in structure.labels)

    def seeds_of(self, arm: Arm) -> range:
        """The seeds that an arm is run with."""
        return range(min(arm.seeds or self.seeds, self.seeds))

    def target_of(self, arm: Arm) -> float:
        """How near to centralised an arm should come."""
        return next((value for clients, value in sorted(self.target_from.items(), key=lambda item: -int(item[0])) if arm.clients >= int(clients)), self.target)

    @property
    def basis(self) -> dict[str, Any]:
        """What a result depends on besides its arm and its seed. Results of another basis must not stand beside each other."""
        basis = self.model_dump(mode="json", include={"kind", "data", "network", "training", "structures"})
        del basis["data"]["path"]  # where the images lie is nobody's business; which they are is in the prepared images' fingerprint
        if self.data.folds == 1:
            del basis["data"]["folds"]  # results from before there were folds stay good
        return basis


def read_task(task: str | Path) -> Task:
    """A task from a file, or a shipped one by its name.

    Raises
    ------
    FedLiverError
        ``no-task`` where there is none, ``bad-task`` where it cannot be used; the sentence says where.
    """
    path = _find(str(task), Path())
    try:
        return Task.model_validate(_merged(path, _LONGEST_CHAIN))
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise FedLiverError("bad-task", f"{path.name} is no task of a study ({f'{where}: ' if where else ''}{first['msg']}): correct it.") from error


def shipped_tasks() -> list[str]:
    """The names of the tasks that come with the package."""
    return sorted(path.stem for path in SHIPPED.glob("*.toml"))


def _find(task: str, beside: Path) -> Path:
    for path in (beside / task, SHIPPED / f"{task}.toml"):
        if path.is_file():
            return path
    raise FedLiverError("no-task", f"There is no task {task}: give a TOML file, or one of {', '.join(shipped_tasks())}.")


def _merged(path: Path, depth: int) -> dict[str, Any]:
    try:
        if path.stat().st_size > _TOML_LIMIT:
            raise ValueError("too large")
        told = tomllib.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise FedLiverError("bad-task", f"{path.name} is not TOML: correct it.") from error
    base = told.pop("base", None)
    if base is None:
        return told
    if not isinstance(base, str) or depth == 0:
        raise FedLiverError("bad-task", f"{path.name}: base must be the name of another task, and not lead in a circle.")
    if isinstance(told.get("data"), dict) and "reader" in told["data"] and not {"real", "name", "about"} <= told.keys():
        # Patients' images must not be called generated because another task's were.
        raise FedLiverError("bad-task", f"{path.name} has other images than {base}: say name, about, and whether they are real (real = true), anew.")
    return dict(_over(_merged(_find(base, path.parent), depth - 1), told))


def _over(below: Mapping[str, Any], above: Mapping[str, Any]) -> Mapping[str, Any]:
    both = dict(below)
    for key, value in above.items():
        both[key] = _over(both[key], value) if isinstance(value, dict) and isinstance(both.get(key), dict) else value
    return both
