"""Where networks run: on a graphics card where there is one that works and has room, on the processor otherwise, and why, in words.

Only NVIDIA's and AMD's cards (torch calls both ``cuda``) are chosen. Apple's (``mps``) are not: nobody has tried these networks on one.
"""

import os
import re
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from fedliver.errors import FedLiverError

if TYPE_CHECKING:
    import torch

ENVIRONMENT = "FEDLIVER_DEVICE"
"""Says where networks run when nobody says it in the call: ``auto`` (the default), ``cpu``, ``cuda`` or ``cuda:N``."""
ROOM_BYTES = 3 << 30
"""A card with less free memory than this is left alone. An estimate, never measured on a card: a training step's share on a processor and some more."""
_BROKEN = (RuntimeError, AssertionError)
"""What torch raises where a card cannot be used: the second where it was built without."""
_NAMES = re.compile(r"auto|cpu|cuda(:\d+)?")


@dataclass(frozen=True)
class Card:
    """A graphics card: ``name`` is torch's (``cuda:0``), ``title`` its maker's."""

    name: str
    title: str


class Cards(Protocol):
    """Seam: what torch knows of graphics cards. Each call may raise what torch does where a card cannot be used, RuntimeError mostly."""

    def found(self) -> Sequence[Card]:
        """Every card there is."""

    def free_bytes(self, card: Card) -> int:
        """How much memory a card has left. From then on this process keeps some of it: only cards that may be chosen are asked."""

    def try_out(self, card: Card) -> None:
        """Let a card calculate something small; raises if it cannot."""


@dataclass(frozen=True)
class Device:
    """Where a network runs. Without arguments: on the processor."""

    name: str = "cpu"
    """As torch takes it."""
    title: str = ""
    """The card's name as its maker gave it; empty for the processor."""
    why: str = ""
    """Why it is the processor, in a few words; empty for a card."""
    was_asked_for: bool = False
    """A device that somebody named is not exchanged for another one when it fails."""

    @property
    def is_card(self) -> bool:
        """Whether it is a graphics card."""
        return self.name != "cpu"

    @property
    def place(self) -> str:
        """For the middle of a sentence: "on the processor"."""
        return f"on the graphics card {self.title or self.name}" if self.is_card else "on the processor"

    @property
    def sentence(self) -> str:
        """For a status line."""
        return f"Runs {self.place}{f': {self.why}' if self.why else ''}."

    def after(self, failure: RuntimeError) -> "Device":
        """The processor, in the place of this card, which has just failed.

        Raises
        ------
        FedLiverError
            ``graphics-card-failed`` where this card was asked for by name.
        """
        reason = _reason(self.title or self.name, failure)
        if self.was_asked_for:
            raise FedLiverError(
                "graphics-card-failed", f"{reason[0].upper()}{reason[1:]}: leave out the choice of a device to run on the processor."
            ) from failure
        return Device(why=reason)


PROCESSOR = Device()


def choose_device(wanted: str | None = None, cards: Cards | None = None) -> Device:
    """Where to run a network now.

    Parameters
    ----------
    wanted:
        ``auto``, ``cpu``, ``cuda`` (the card with the most room) or ``cuda:N``; None asks the environment (:data:`ENVIRONMENT`).
    cards:
        The cards to choose among; torch's by default. Imports torch.

    Raises
    ------
    FedLiverError
        ``no-such-device`` for a name that is none, or for a card that was asked for and is not there, is full or does not work.
    """
    wanted = (wanted or os.environ.get(ENVIRONMENT) or "auto").strip().lower()
    if not _NAMES.fullmatch(wanted):
        raise FedLiverError("no-such-device", f"There is no device {wanted!r}: choose auto, cpu, cuda or cuda:N ({ENVIRONMENT}, --device).")
    if wanted == "cpu":
        return Device(why="as was asked for", was_asked_for=True)
    chosen = _card(wanted, cards or TorchCards())
    if wanted == "auto":
        return chosen
    if not chosen.is_card:
        raise FedLiverError("no-such-device", f"{wanted} cannot be used here: {chosen.why}. Leave out the choice of a device to run on the processor.")
    return replace(chosen, was_asked_for=True)


def _card(wanted: str, cards: Cards) -> Device:
    try:
        found = [card for card in cards.found() if wanted in ("auto", "cuda", card.name)]
    except _BROKEN as error:
        return Device(why=_reason("", error))
    if not found:
        return Device(why="torch sees no graphics card" if wanted in ("auto", "cuda") else f"torch sees no graphics card {wanted}")
    card = found[0]
    try:
        free, card = max(((cards.free_bytes(one), one) for one in found), key=lambda pair: pair[0])
        if free < ROOM_BYTES:
            return Device(why=f"the graphics card {card.title} has only {free / 1e9:.1f} GB of free memory, and {ROOM_BYTES / 1e9:.1f} GB are needed")
        cards.try_out(card)
    except _BROKEN as error:
        return Device(why=_reason(card.title, error))
    return Device(card.name, card.title)


def _reason(title: str, failure: Exception) -> str:
    """What went wrong, without the driver's own words, which may hold anything."""
    import torch

    card = f"the graphics card {title}".rstrip()
    if isinstance(failure, torch.cuda.OutOfMemoryError):
        return f"the memory of {card} was full"
    return f"{card} did not work (its driver, or a torch that was made for other cards)"


class TorchCards:
    """The cards that torch can use here."""

    def found(self) -> list[Card]:
        import torch

        if not torch.cuda.is_available():
            return []
        return [Card(f"cuda:{n}", torch.cuda.get_device_name(n)) for n in range(torch.cuda.device_count())]

    def free_bytes(self, card: Card) -> int:
        import torch

        return torch.cuda.mem_get_info(card.name)[0]

    def try_out(self, card: Card) -> None:
        import torch

        ones = torch.ones(1, 1, 3, 3, 3, device=card.name)
        if torch.nn.functional.conv3d(ones, ones).item() != ones.numel():
            raise RuntimeError("the card calculates wrongly")


def network_on(network: "torch.nn.Module", device: str) -> "torch.nn.Module":
    """The network itself where it is there already, or has no weights that could be anywhere; a copy otherwise.

    A copy, since somebody else may be using the network in another thread, and since it may be trained on: 24 MB go to a card in milliseconds.
    """
    import torch

    here = next((value.device for value in network.state_dict().values()), None)
    return network if here is None or here == torch.device(device) else deepcopy(network).to(device)


def release_memory() -> None:
    """Give back what torch keeps of a card's memory, after the tensors that filled it are gone."""
    import torch

    if torch.cuda.is_initialized():
        with suppress(RuntimeError):  # a card that broke
            torch.cuda.empty_cache()


def repeatable(device: str) -> AbstractContextManager[object]:
    """A context in which a card adds up in the same order every time, as far as cuDNN can. A processor always does."""
    import torch

    return torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True) if device.startswith("cuda") else nullcontext()
