"""What coordinator and sites say to each other for a masked sum. Nothing here says how large anything is without a limit, and nothing is text."""

import hashlib
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, RootModel, StringConstraints

MOST_SITES = 1000
Hex32 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
HexShare = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{132}$")]
Envelope = Annotated[str, StringConstraints(pattern=r"^([0-9a-f]{2})*$", max_length=1024)]
Session = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
Number = Annotated[int, Field(ge=1, le=MOST_SITES)]
"""A site's number in the list of members, from 1."""


class _Words(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Masking(_Words):
    """How a site turns its update into what is summed; it comes with the round's instructions, the same for every site."""

    session: Session
    capacity: Number
    """At most so many sites are in the sum: it must not run over."""
    largest: float = Field(gt=0, le=1e12, allow_inf_nan=False)
    """No single number of an update is larger than this."""
    weight_cap_cases: int = Field(ge=1)
    unlabelled_share: float = Field(ge=0, le=1)


class Keys(_Words):
    """A site's keys of one sum, signed with its enrolled key."""

    public_key: str = Field(max_length=1024)
    """The enrolled one, an OpenSSH line."""
    sealing_key: Hex32
    masking_key: Hex32
    seed_hash: Hex32
    """SHA-256 of the seed of its own mask, with which a seed that was put together from shares can be checked."""
    signature: str = Field(pattern=r"^([0-9a-f]{2}){1,200}$")

    def signed(self, request: str) -> bytes:
        """What the signature is of. ``request``: a hash of all that the site was asked to do; only sites that were asked for the same go together."""
        return f"{request} {self.public_key} {self.sealing_key} {self.masking_key} {self.seed_hash}".encode()


class _Step(_Words):
    session: Session
    round: int = Field(ge=1)
    rounds: int = Field(ge=1)


class Members(_Step):
    """Step ``share``: who is in the sum, in the order of their numbers, and how many are needed to open it."""

    step: Literal["share"] = "share"
    threshold: Number
    members: tuple[Keys, ...] = Field(min_length=1, max_length=MOST_SITES)

    @property
    def seal(self) -> bytes:
        """A hash of all of it: whatever two sites agree on with two different lists does not fit."""
        return hashlib.sha256(self.model_dump_json().encode()).digest()


class Letters(_Step):
    """Shares in envelopes. Up: by the addressee's number. Down, as step ``mask``: by the sender's."""

    step: Literal["mask"] = "mask"
    envelopes: dict[Number, Envelope] = Field(max_length=MOST_SITES)


class Survivors(_Step):
    """Step ``open``: whose masked updates have been summed."""

    step: Literal["open"] = "open"
    numbers: tuple[Number, ...] = Field(max_length=MOST_SITES)


class Shares(_Words):
    """What a site reveals: its share of the seed of every site in the sum, and of the masking key of every one that was lost. Never both of one."""

    seeds: dict[Number, HexShare] = Field(max_length=MOST_SITES)
    keys: dict[Number, HexShare] = Field(max_length=MOST_SITES)


class Unreadable(_Words):
    """Whose envelopes a site could not open."""

    numbers: tuple[Number, ...] = Field(max_length=MOST_SITES)


class AnyStep(RootModel[Annotated[Members | Letters | Survivors, Field(discriminator="step")]]):
    """What the coordinator asks for."""


def threshold_of(sites: int, minimum: int) -> int:
    """So many sites open the sum: more than half, so that no two groups of sites can be told two different stories, and never fewer than the minimum."""
    return max(minimum, sites // 2 + 1)
