"""Which device is chosen, and what is said of it. No card is needed: torch's answers are played."""

from collections.abc import Sequence
from contextlib import nullcontext

import pytest
import torch

from fedliver.errors import FedLiverError
from fedliver.teacher.device import ENVIRONMENT, ROOM_BYTES, Card, Device, TorchCards, choose_device, network_on, repeatable
from fedliver.teacher.precision import inference_precision
from networks import BandNetwork

SMALL, LARGE, FULL = Card("cuda:0", "Card A"), Card("cuda:1", "Card B"), Card("cuda:2", "Card C")
FREE = {SMALL: ROOM_BYTES + 1, LARGE: 2 * ROOM_BYTES, FULL: ROOM_BYTES - 1}


class _Cards:
    def __init__(self, *cards: Card, broken: Sequence[Card] = (), driver: RuntimeError | None = None) -> None:
        self._cards, self._broken, self._driver = cards, broken, driver
        self.asked: list[Card] = []

    def found(self) -> Sequence[Card]:
        if self._driver:
            raise self._driver
        return self._cards

    def free_bytes(self, card: Card) -> int:
        self.asked.append(card)
        return FREE[card]

    def try_out(self, card: Card) -> None:
        if card in self._broken:
            raise RuntimeError("CUDA error: no kernel image is available for execution on the device")


@pytest.fixture(autouse=True)
def _nothing_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ENVIRONMENT, raising=False)


@pytest.mark.parametrize("wanted", [None, "auto", "", "cuda"])
def test_the_card_with_the_most_room_is_chosen(wanted: str | None) -> None:
    chosen = choose_device(wanted, _Cards(FULL, SMALL, LARGE))
    assert (chosen.name, chosen.is_card) == ("cuda:1", True)
    assert chosen.sentence == "Runs on the graphics card Card B."
    assert chosen.was_asked_for == (wanted == "cuda")


def test_a_card_is_taken_by_its_number() -> None:
    cards = _Cards(SMALL, LARGE)
    assert choose_device("cuda:0", cards).name == "cuda:0"
    assert cards.asked == [SMALL], "a process that runs on one card takes no memory of the others"


def test_the_environment_is_asked_where_the_call_does_not_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENVIRONMENT, " CUDA:0 ")
    assert choose_device(None, _Cards(SMALL, LARGE)).name == "cuda:0"
    assert choose_device("cpu", _Cards(SMALL)).name == "cpu"
    monkeypatch.setenv(ENVIRONMENT, "cpu")
    assert choose_device(None, _Cards(LARGE)).sentence == "Runs on the processor: as was asked for."


@pytest.mark.parametrize(
    ("cards", "why"),
    [
        (_Cards(), "torch sees no graphics card"),
        (_Cards(FULL), "Card C has only 3.2 GB of free memory, and 3.2 GB are needed"),
        (_Cards(SMALL, broken=[SMALL]), "Card A did not work"),
        (_Cards(driver=RuntimeError("CUDA driver: /home/secret")), "the graphics card did not work"),
        (_Cards(driver=torch.cuda.OutOfMemoryError("CUDA out of memory")), "the memory of the graphics card was full"),
    ],
    ids=["none", "full", "broken", "driver", "no memory at all"],
)
def test_where_no_card_can_be_used_it_is_the_processor_and_words_say_why(cards: _Cards, why: str) -> None:
    chosen = choose_device("auto", cards)
    assert not chosen.is_card
    assert why in chosen.sentence
    assert chosen.sentence.startswith("Runs on the processor: ")
    assert "secret" not in chosen.sentence
    with pytest.raises(FedLiverError, match="cannot be used here") as refusal:
        choose_device("cuda", cards)
    assert refusal.value.code == "no-such-device"


@pytest.mark.parametrize("wanted", ["cuda:7", "gpu", "cuda:", "cpu; rm", "mps"])
def test_a_device_there_is_not_is_refused_in_words(wanted: str) -> None:
    with pytest.raises(FedLiverError) as refusal:
        choose_device(wanted, _Cards(SMALL))
    assert refusal.value.code == "no-such-device"


def test_on_a_machine_without_a_card_torch_says_so() -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a graphics card")
    assert choose_device("auto", TorchCards()) == Device(why="torch sees no graphics card")


def test_torchs_cards_are_asked_by_the_names_that_tensors_take(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", ["Card A", "Card B"].__getitem__)
    monkeypatch.setattr(torch.cuda, "mem_get_info", {"cuda:0": (1, 9), "cuda:1": (5, 9)}.__getitem__)
    cards = TorchCards()
    assert [(card, cards.free_bytes(card)) for card in cards.found()] == [(SMALL, 1), (LARGE, 5)]


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine's torch can calculate on a card")
def test_a_torch_that_was_made_without_cards_is_found_out_when_one_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TorchCards, "found", lambda _: [LARGE])
    monkeypatch.setattr(TorchCards, "free_bytes", lambda *_: 2 * ROOM_BYTES)
    assert "Card B did not work" in choose_device("auto", TorchCards()).sentence


@pytest.mark.parametrize(("capability", "bfloat16"), [((7, 5), False), ((8, 0), True), ((9, 0), True)])
def test_cards_since_ampere_calculate_in_bfloat16_and_older_ones_as_always(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], bfloat16: bool
) -> None:
    asked = {}

    class Autocast(nullcontext):
        def __init__(self, kind: str, dtype: torch.dtype, enabled: bool) -> None:
            asked.update(kind=kind, dtype=dtype, enabled=enabled)

    monkeypatch.setattr(torch.cuda, "get_device_capability", {"cuda:1": capability}.__getitem__)
    monkeypatch.setattr(torch, "autocast", Autocast)
    inference_precision("cuda:1")
    assert asked == {"kind": "cuda", "dtype": torch.bfloat16, "enabled": bfloat16}
    inference_precision("cpu")
    assert asked["kind"] == "cpu"


def test_a_card_is_told_to_add_up_in_the_same_order_and_only_while_it_trains() -> None:
    before = torch.backends.cudnn.deterministic
    with repeatable("cuda:0"):
        assert torch.backends.cudnn.deterministic
        assert not torch.backends.cudnn.benchmark
    assert torch.backends.cudnn.deterministic == before
    with repeatable("cpu"):
        assert torch.backends.cudnn.deterministic == before


def test_a_network_that_is_there_is_not_copied_and_another_one_is() -> None:
    network = torch.nn.Linear(2, 2)
    assert network_on(network, "cpu") is network
    assert network_on(BandNetwork(), "meta").training
    moved = network_on(network, "meta")
    assert moved is not network
    assert {value.device.type for value in moved.state_dict().values()} == {"meta"}
    assert {value.device.type for value in network.state_dict().values()} == {"cpu"}
