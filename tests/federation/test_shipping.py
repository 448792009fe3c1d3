"""The coordinator's model moves by what it sends, keeps what rounding took away, and sends no more than a site lacks."""

import numpy as np
import pytest
import torch

from fedliver.federation.codec import applied, decode
from fedliver.federation.messages import Payload
from fedliver.federation.networks import agreed_tensors, trained_tensors
from fedliver.federation.shipping import GlobalModel
from fedliver.site.egress import TensorKind
from fedliver.site.ledger import content_hash
from fedliver.teacher.network import build_network
from fedliver.teacher.plan import StagePlan, TeacherPlan

KINDS = {"kernel": TensorKind((8, 40), np.dtype(np.float32)), "counter": TensorKind((), np.dtype(np.int64))}
START = GlobalModel(0, {"kernel": np.zeros((8, 40), np.float32), "counter": np.array(3), "finder": np.ones(4, np.float32)})
STEP = {"kernel": np.random.default_rng(0).normal(size=(8, 40))}


def test_what_rounding_took_away_is_in_the_next_rounds_change() -> None:
    """Ten equal steps: the model is off by one rounding, not by ten."""
    model = START
    for _ in range(10):
        model = model.moved(STEP, {}, KINDS, "int8")
    off = np.linalg.norm(model.weights["kernel"] - 10 * STEP["kernel"])
    assert 0 < off < 0.1 * np.linalg.norm(STEP["kernel"])
    exact = model.moved(STEP, {}, KINDS, "none")
    np.testing.assert_allclose(exact.weights["kernel"], 11 * STEP["kernel"], rtol=1e-4, atol=1e-5), "and a policy that changes loses nothing"


def test_the_change_that_is_sent_makes_the_model_of_the_one_before() -> None:
    before = START.moved(STEP, {}, KINDS, "int8")
    after = before.moved(STEP, {"fedadam/steps": np.array(2)}, KINDS, "int8")
    shipment, payload = after.shipment(1, "int8")
    (packet,) = packets_of(payload)
    built = applied(decode(packet, KINDS), before.weights)
    assert content_hash(built) == after.content == shipment.content
    assert (shipment.form, shipment.base, shipment.base_content) == ("change", 1, before.content)
    assert (after.number, int(after.state["fedadam/steps"])) == (2, 2)
    assert (built["counter"], built["finder"].sum()) == (3, 4)


def packets_of(payload: Payload) -> tuple[bytes, ...]:
    assert isinstance(payload, tuple)
    return payload


@pytest.mark.parametrize(("held", "form"), [(2, "nothing"), (1, "change"), (0, "change"), (None, "whole"), (7, "whole")])
def test_a_site_is_sent_what_it_lacks(held: int | None, form: str) -> None:
    model = START.moved(STEP, {}, KINDS, "int8").moved(STEP, {}, KINDS, "int8")
    shipment, payload = model.shipment(held, "int8")
    assert shipment.form == form
    assert (payload is model.weights) == (form == "whole")
    assert model.shipment(held, "none")[0].form == "whole"


def test_a_site_that_has_missed_some_rounds_is_sent_what_it_missed() -> None:
    models = [START]
    for _ in range(9):
        models.append(models[-1].moved(STEP, {}, KINDS, "int8"))
    whole = sum(array.nbytes for array in START.weights.values())
    lacking = []
    for held, before in enumerate(models[:-1]):
        shipment, payload = models[-1].shipment(held, "int8")
        if shipment.form == "whole":
            continue
        lacking.append(len(models) - 1 - held)
        assert (shipment.base, shipment.base_content) == (held, before.content)
        packets, weights = packets_of(payload), before.weights
        assert sum(map(len, packets)) <= whole / 2
        for packet in packets:
            weights = applied(decode(packet, KINDS), weights)
        assert content_hash(weights) == models[-1].content
    assert len(lacking) > 1, "more than the last change alone"
    assert sorted(lacking) == list(range(1, len(lacking) + 1)), "and no gap among them"
    assert len(lacking) < 9, "and not for ever: the whole model is less in the end"


def test_a_round_that_came_to_nothing_is_no_gap_and_its_change_is_hardly_anything() -> None:
    before = START.moved(STEP, {}, KINDS, "int8")
    model = before.unmoved(KINDS, "int8").unmoved(KINDS, "int8")
    shipment, payload = model.shipment(0, "int8")
    assert (shipment.form, len(packets_of(payload))) == ("change", 3)
    assert {name for name in model.state if name.startswith("rounding/")} == {"rounding/kernel"}


def test_changes_of_another_models_line_are_not_put_together() -> None:
    """A round without compression between two with it."""
    apart = START.moved(STEP, {}, KINDS, "int8").unmoved(KINDS, "none")
    assert [apart.shipment(held, "int8")[0].form for held in (0, 1)] == ["whole", "whole"]
    model = START.moved(STEP, {}, KINDS, "int8").moved(STEP, {}, KINDS, "none").moved(STEP, {}, KINDS, "int8")
    assert [model.shipment(held, "int8")[0].form for held in (0, 1, 2)] == ["whole", "whole", "change"]


def test_a_checkpoint_without_the_last_change_sends_the_model_whole() -> None:
    """As one of a version before, or of a round without compression."""
    model = START.moved(STEP, {}, KINDS, "none")
    assert model.shipment(0, "int8")[0].form == "whole"
    assert model.shipment(1, "int8")[0].form == "nothing"


def test_only_what_a_round_can_change_is_trained() -> None:
    plan = TeacherPlan.tiny()
    assert trained_tensors(plan) == agreed_tensors(plan)
    batch = plan.model_copy(update={"network": plan.network.model_copy(update={"norm": "BATCH"})})
    with_finder = batch.model_copy(update={"finder": StagePlan(network=batch.network, spacing_mm=(16.0,) * 3, patch_size=(32, 32, 32))})
    trained = trained_tensors(with_finder)
    assert set(trained) == {name for name in agreed_tensors(with_finder) if name.startswith("fine.")}
    assert any("running_mean" in name for name in trained)


def test_the_shipped_network_has_no_normalisation_layers_that_a_site_could_keep_to_itself() -> None:
    """Why there is no FedBN here: every image is normalised by its own statistics, and nothing of that is stored."""
    with torch.device("meta"):
        network = build_network(TeacherPlan.coarse_to_fine())
    layers = [layer for layer in network.modules() if "Norm" in type(layer).__name__]
    assert len(layers) > 10
    assert all(not list(layer.state_dict()) for layer in layers)
