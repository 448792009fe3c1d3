"""The plan: every choice that network, training and inference must agree on, in one file that travels with the weights."""

import math
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from fedliver.image import AIR_HU

# A bundle may come from outside: nothing in its plan may ask for more memory than a workstation has.
Side = Annotated[int, Field(ge=1, le=512)]
Channels = Annotated[int, Field(ge=1, le=1024)]
Stride = Annotated[int, Field(ge=1, le=4)]
Triple = tuple[Side, Side, Side]
FINEST_MM = 0.4
Millimetres = Annotated[float, Field(ge=FINEST_MM, le=50.0, allow_inf_nan=False)]
Scale = Annotated[float, Field(ge=0.5, le=2.0, allow_inf_nan=False)]
ONCE: tuple[float, ...] = (1.0,)
MOST_NUMBERS = 1 << 28
"""Neither a network's weights nor its finest layer's answer to one patch may be more numbers than this: 1 GB."""


class NetworkPlan(BaseModel):
    """MONAI's residual 3D U-Net (Kerfoot et al. 2018), described by its constructor's arguments."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["UNet"] = "UNet"
    channels: tuple[Channels, ...] = Field((16, 32, 64, 128, 256), min_length=2, max_length=7)
    strides: tuple[Stride, ...] = Field((2, 2, 2, 2), min_length=1, max_length=6)
    residual_units: int = Field(2, ge=0, le=4)
    norm: Literal["INSTANCE", "BATCH"] = "INSTANCE"
    activation: Literal["PRELU", "LEAKYRELU"] = "PRELU"
    fold: int = Field(1, ge=1, le=4)
    """Cubes of this many voxels a side are folded into channels before the U-Net and unfolded after it (sub-pixel convolution, Shi et al. 2016).

    At full resolution a U-Net spends most of its time moving memory for its two or three finest channels; folded by 2 it trains 2.3 times as fast on a CPU.
    """

    @model_validator(mode="after")
    def _one_stride_between_two_levels(self) -> Self:
        if len(self.strides) != len(self.channels) - 1:
            raise ValueError("a network has one stride fewer than channels")
        if self._most_weights > MOST_NUMBERS:
            raise ValueError("a network of so many weights does not fit a workstation")
        return self

    @property
    def _most_weights(self) -> int:
        """No fewer than there are: on the way down and on the way up, every level has its convolutions of 27 voxels, the last between the widest channels."""
        widest = [max(pair) for pair in zip(self.channels, (*self.channels[1:], self.channels[-1]), strict=True)]
        return sum(2 * 27 * (self.residual_units + 1) * 2 * width**2 for width in widest)

    @property
    def divisor(self) -> int:
        """Every side of a patch must be divisible by this."""
        product = self.fold
        for stride in self.strides:
            product *= stride
        return product


class StagePlan(BaseModel):
    """How one network sees a CT.

    It receives one channel, in index order (i, j, k) along L, P, S (see ``image.axis_aligned_grid``), at ``spacing_mm``,
    with ``window_hu`` mapped to 0..1 and clipped. Air is therefore exactly 0, so padding with 0 is padding with air.
    It answers with three channels: background, liver, tumour.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    network: NetworkPlan = NetworkPlan()
    spacing_mm: tuple[Millimetres, Millimetres, Millimetres] = (2.5, 2.5, 2.5)
    patch_size: Triple = (96, 96, 96)
    window_hu: tuple[float, float] = (-160.0, 240.0)
    overlap: float = Field(0.4, ge=0.0, le=0.8)

    @model_validator(mode="after")
    def _patches_fit_the_network(self) -> Self:
        if any(side % self.network.divisor for side in self.patch_size):
            raise ValueError(f"every side of a patch must be divisible by {self.network.divisor}")
        if self.window_hu[0] >= self.window_hu[1]:
            raise ValueError("the window must rise")
        if math.prod(self.patch_size) // self.network.fold**3 * max(self.network.channels[0], self.network.fold**3) > MOST_NUMBERS:
            raise ValueError("a patch so large does not fit a workstation")
        return self

    @property
    def padding_value(self) -> float:
        """What lies outside a scan, after normalisation: air."""
        low, high = self.window_hu
        return min(max((AIR_HU - low) / (high - low), 0.0), 1.0)


class TeacherPlan(StagePlan):
    """How a teacher works: its own network on the liver's box, and the ``finder`` that looks for that box in the whole scan.

    Without a finder (teachers before 1.1, tests) the network goes over the whole scan.
    """

    schema_version: Literal[1] = 1
    finder: StagePlan | None = None
    margin_mm: float = Field(25.0, ge=0.0, le=100.0)
    """The network sees this much around what the finder found: a finder that misses a lobe's tip must not cost the tip."""
    scales: tuple[Scale, ...] = Field(ONCE, min_length=1, max_length=5)
    """The fine network sees the liver's box on a grid of each of these times ``spacing_mm``; its probabilities are averaged. Training knows nothing of it."""
    minimum_liver_ml: float = Field(20.0, ge=0.0)
    """Less liver than this in a whole scan is called "no liver found": it is noise, not an organ."""
    whole_liver_ml: float = Field(800.0, ge=0.0)
    sure_of_part: float = Field(0.94, ge=0.0, le=1.0)
    """Less than ``whole_liver_ml`` is a liver that was cut off, or a small one, or none at all (a heart, a bladder: in a scan of the chest or the pelvis).
    It is called liver only if its probabilities promise at least this Dice of it."""
    sure_of_whole: float = Field(0.0, ge=0.0, le=1.0)
    """What promises less than this is called no liver, whatever its size: a full bladder can be as large as one."""
    calibration: tuple[float, float] = (0.0, 1.0)
    """Networks are surer of themselves than they are right. The Dice that the teacher expects is a + b times the one that its probabilities promise, (a, b)
    fitted by ``fedliver card`` on patients that the network did not train on."""
    largest_liver_only: bool = True
    """There is one liver: other parts are mistakes."""
    fill_holes: bool = True
    """What the liver encloses is liver, or a tumour in it."""
    minimum_tumour_ml: float = Field(0.1, ge=0.0)
    """A connected tumour smaller than this (6 mm across) is called liver: fewer voxels than the network can judge."""

    @model_validator(mode="after")
    def _no_grid_is_too_fine(self) -> Self:
        if min(self.scales) * min(self.spacing_mm) < FINEST_MM:
            raise ValueError(f"a grid finer than {FINEST_MM} mm does not fit a workstation")
        return self

    @model_serializer(mode="wrap")
    def _as_before_where_nothing_is_new(self, dumped: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """A plan that looks once is written as before there were :attr:`scales`: the contract that sites agreed to is a hash of it."""
        written: dict[str, Any] = dumped(self)
        if self.scales == ONCE:
            written.pop("scales", None)
        return written

    def calibrated(self, promised: float) -> float:
        """The expected Dice, 0 to 1, of an answer whose probabilities promise this one."""
        intercept, slope = self.calibration
        return min(max(intercept + slope * promised, 0.0), 1.0)

    @classmethod
    def tiny(cls) -> "TeacherPlan":
        """A plan small enough for tests: 5 k parameters, 8 mm, 32-cubed patches. It learns phantoms, not patients."""
        return cls(
            network=NetworkPlan(channels=(8, 16), strides=(2,), residual_units=0), spacing_mm=(8.0, 8.0, 8.0), patch_size=(32, 32, 32), minimum_liver_ml=1.0
        )

    @classmethod
    def whole_scan(cls) -> "TeacherPlan":
        """One network at 3 mm over the whole scan: what a study can train from nothing in minutes. What it finds counts, sure or not."""
        finder = cls.coarse_to_fine().finder
        assert finder is not None  # noqa: S101 for the type checker
        return cls(network=finder.network, spacing_mm=finder.spacing_mm, sure_of_part=0.0)

    @classmethod
    def coarse_to_fine(cls) -> "TeacherPlan":
        """The shipped teacher's plan: 3 mm over the whole scan, 1.5 mm in the liver's box."""
        folded = {"strides": (2, 2, 2), "activation": "LEAKYRELU", "fold": 2}
        return cls(
            sure_of_whole=0.9,
            network=NetworkPlan(channels=(32, 64, 128, 256), **folded),
            spacing_mm=(1.5, 1.5, 1.5),
            finder=StagePlan(network=NetworkPlan(channels=(16, 32, 64, 128), **folded), spacing_mm=(3.0, 3.0, 3.0)),
        )
