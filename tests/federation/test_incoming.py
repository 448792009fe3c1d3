"""The model of a message, however it comes: whole, as a change of one that is here, or as the word that it is here."""

from pathlib import Path

import numpy as np
import pytest
import torch

from fedliver.errors import FedLiverError
from fedliver.federation.incoming import received_model
from fedliver.federation.messages import Instructions, Payload, Shipment, pack
from fedliver.federation.networks import agreed_tensors, load_weights, trained_tensors, weights_of
from fedliver.federation.shipping import GlobalModel
from fedliver.site.federation import SiteFiles
from fedliver.teacher.bundle import save_bundle
from fedliver.teacher.network import build_network
from fedliver.teacher.plan import TeacherPlan
from fedliver.training.settings import TrainingSettings

PLAN = TeacherPlan.tiny()
KINDS = trained_tensors(PLAN)


def model(seed: int, number: int = 0) -> GlobalModel:
    torch.manual_seed(seed)
    return GlobalModel(number, weights_of(build_network(PLAN)))


def keep(folder: Path, kept: GlobalModel) -> Path:
    network = build_network(PLAN)
    load_weights(network, kept.weights)
    save_bundle(network, PLAN, folder, name="m", version="1")
    return folder


def next_of(before: GlobalModel) -> GlobalModel:
    rng = np.random.default_rng(1)
    return before.moved({name: rng.normal(0, 0.01, kind.shape) for name, kind in KINDS.items()}, {}, KINDS, "int8")


def receive(home: Path, shipment: Shipment, payload: Payload) -> dict[str, np.ndarray]:
    instructions = Instructions(round=1, rounds=2, model=1, plan=PLAN, training=TrainingSettings(), shipment=shipment)
    return received_model(pack(instructions, payload), instructions, agreed_tensors(PLAN), home)


def candidate(home: Path, number: int) -> Path:
    return SiteFiles(home).candidates / f"round-{number:03d}"


def assert_is(found: dict[str, np.ndarray], expected: GlobalModel) -> None:
    for name, array in expected.weights.items():
        np.testing.assert_array_equal(found[name], array)


def test_whole_as_a_change_or_as_nothing_it_is_the_same_model(tmp_path: Path) -> None:
    before = model(0)
    after = next_of(before)
    keep(candidate(tmp_path, 0), before)
    assert_is(receive(tmp_path, *after.shipment(None, "int8")), after)
    assert_is(receive(tmp_path, *after.shipment(0, "int8")), after)
    assert_is(receive(tmp_path, *before.shipment(0, "int8")), before)
    assert_is(receive(tmp_path, *before.shipment(0, "none")), before)


def code_of(home: Path, shipment: Shipment, payload: Payload) -> str:
    with pytest.raises(FedLiverError) as caught:
        receive(home, shipment, payload)
    return caught.value.code


def test_without_what_it_builds_on_it_is_missing(tmp_path: Path) -> None:
    before = model(0)
    after = next_of(before)
    assert code_of(tmp_path, *before.shipment(0, "int8")) == "model-missing"
    assert code_of(tmp_path, *after.shipment(0, "int8")) == "model-missing"
    keep(candidate(tmp_path, 0), model(5))
    assert code_of(tmp_path, *after.shipment(0, "int8")) == "model-missing", "one of that number is here, and is another"


def test_a_change_that_gives_another_model_than_the_coordinator_has_is_not_used(tmp_path: Path) -> None:
    before = model(0)
    keep(candidate(tmp_path, 0), before)
    shipment, payload = next_of(before).shipment(0, "int8")
    assert code_of(tmp_path, shipment.model_copy(update={"content": "0" * 64}), payload) == "model-missing"


def test_a_whole_model_that_is_not_the_one_that_was_announced_is_refused(tmp_path: Path) -> None:
    shipment, _ = model(0).shipment(None, "int8")
    assert code_of(tmp_path, shipment, model(5).weights) == "weights-do-not-fit"


def test_the_shipped_model_is_found_although_another_federations_first_one_lies_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = model(0)
    monkeypatch.setattr("fedliver.federation.incoming.STARTER", keep(tmp_path / "installed", first))
    keep(candidate(tmp_path, 0), model(5))
    assert_is(receive(tmp_path, *first.shipment(0, "int8")), first)


def test_a_packet_of_another_network_is_refused(tmp_path: Path) -> None:
    before = model(0)
    keep(candidate(tmp_path, 0), before)
    shipment, payload = next_of(before).shipment(0, "int8")
    assert isinstance(payload, tuple)
    (packet,) = payload
    assert code_of(tmp_path, shipment, packet[:-20]) == "weights-do-not-fit"
    assert code_of(tmp_path, shipment, (packet, packet[:-20])) == "weights-do-not-fit"
    assert code_of(tmp_path, shipment, (packet, packet)) == "model-missing", "one change more than it takes"
    assert code_of(tmp_path, shipment, ()) == "weights-do-not-fit"
    assert code_of(tmp_path, shipment, before.weights) == "weights-do-not-fit"
