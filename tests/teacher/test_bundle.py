"""A teacher on disk: whole, readable by MONAI, and never executed."""

import json
import os
import pickle
from pathlib import Path

import pytest
import torch

from fedliver.errors import FedLiverError
from fedliver.teacher.bundle import STARTER, load_bundle, save_bundle
from fedliver.teacher.network import build_network
from fedliver.teacher.plan import NetworkPlan, StagePlan, TeacherPlan

COARSE_TO_FINE = TeacherPlan.tiny().model_copy(
    update={
        "network": NetworkPlan(channels=(8, 16), strides=(2,), residual_units=1, fold=2, activation="LEAKYRELU"),
        "finder": StagePlan(network=NetworkPlan(channels=(4, 8), strides=(2,), fold=2), spacing_mm=(16.0, 16.0, 16.0), patch_size=(16, 16, 16)),
    }
)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    torch.manual_seed(1)
    plan = TeacherPlan.tiny()
    save_bundle(build_network(plan), plan, tmp_path / "teacher", name="a teacher", version="3")
    return tmp_path / "teacher"


@pytest.mark.parametrize("plan", [TeacherPlan.tiny(), COARSE_TO_FINE], ids=["one network", "coarse to fine"])
def test_a_bundle_read_back_is_the_teacher_that_was_saved(tmp_path: Path, plan: TeacherPlan) -> None:
    network = build_network(plan)
    saved = save_bundle(network, plan, tmp_path / "teacher", name="a teacher", version="3")
    loaded = load_bundle(tmp_path / "teacher")
    assert (loaded.plan, loaded.name, loaded.version, loaded.sha256) == (plan, "a teacher", "3", saved.sha256)
    for key, value in network.state_dict().items():
        assert torch.equal(loaded.network.state_dict()[key], value)


@pytest.mark.parametrize("shipped", [True, False])
def test_a_bundle_says_what_it_may_be_used_for_and_does_not_put_its_weights_under_the_licence_of_the_code(bundle: Path, shipped: bool) -> None:
    metadata = json.loads(((STARTER if shipped else bundle) / "configs" / "metadata.json").read_text())
    assert metadata["intended_use"].startswith("Research only")
    assert "Apache" not in metadata["copyright"]


def test_monai_opens_the_bundle_and_gets_the_same_network(bundle: Path) -> None:
    from monai.bundle import ConfigParser

    parser = ConfigParser()
    parser.read_config(bundle / "configs" / "inference.json")
    parser.read_meta(bundle / "configs" / "metadata.json")
    network = parser.get_parsed_content("network_def").eval()
    network.load_state_dict(torch.load(bundle / "models" / "model.pt", weights_only=True))
    patch = torch.rand(1, 1, 32, 32, 32)
    with torch.no_grad():
        assert torch.equal(network(patch), load_bundle(bundle).network(patch))
        whole = parser.get_parsed_content("inferer")(patch, network)
    assert whole.shape == (1, 3, 32, 32, 32)
    assert len(parser.get_parsed_content("preprocessing").transforms) == 4


def test_monai_opens_both_networks_of_a_coarse_to_fine_bundle(tmp_path: Path) -> None:
    from monai.bundle import ConfigParser

    network = build_network(COARSE_TO_FINE)
    save_bundle(network, COARSE_TO_FINE, tmp_path / "teacher", name="a teacher", version="3")
    parser = ConfigParser()
    parser.read_config(tmp_path / "teacher" / "configs" / "inference.json")
    patch = torch.rand(1, 1, 16, 16, 16)
    for prefix, part, file in (("", network.fine, "model.pt"), ("finder_", network.finder, "finder.pt")):
        opened = parser.get_parsed_content(f"{prefix}network_def").eval()
        opened.load_state_dict(torch.load(tmp_path / "teacher" / "models" / file, weights_only=True))
        with torch.no_grad():
            assert torch.equal(opened(patch), part.eval()(patch))


def test_a_coarse_to_fine_bundle_without_its_finder_is_refused_in_words(tmp_path: Path) -> None:
    save_bundle(build_network(COARSE_TO_FINE), COARSE_TO_FINE, tmp_path / "teacher", name="a teacher", version="3")
    (tmp_path / "teacher" / "models" / "finder.pt").unlink()
    with pytest.raises(FedLiverError, match="finder"):
        load_bundle(tmp_path / "teacher")


class _Bomb:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.mark),)


@pytest.mark.parametrize("how", ["torch.save", "pickle.dump"])
def test_a_pickle_posing_as_weights_is_refused_and_not_executed(bundle: Path, tmp_path: Path, how: str) -> None:
    mark = tmp_path / "executed"
    weights = bundle / "models" / "model.pt"
    if how == "torch.save":
        torch.save({"model.0": _Bomb(mark)}, weights)
    else:
        weights.write_bytes(pickle.dumps(_Bomb(mark)))
    with pytest.raises(FedLiverError) as refusal:
        load_bundle(bundle)
    assert refusal.value.code == "weights-unsafe"
    assert "source you trust" in refusal.value.sentence
    assert not mark.exists()


def test_expressions_in_a_bundles_configuration_are_not_evaluated(bundle: Path, tmp_path: Path) -> None:
    mark = tmp_path / "executed"
    file = bundle / "configs" / "inference.json"
    configuration = json.loads(file.read_text())
    configuration["network_def"] = f"$__import__('os').mkdir({str(mark)!r})"
    file.write_text(json.dumps(configuration))
    load_bundle(bundle)
    assert not mark.exists()


def test_weights_of_another_network_are_refused_in_words(bundle: Path) -> None:
    torch.save({"nothing": torch.zeros(3)}, bundle / "models" / "model.pt")
    with pytest.raises(FedLiverError) as refusal:
        load_bundle(bundle)
    assert refusal.value.code == "weights-do-not-fit"


@pytest.mark.parametrize("content", ["", "not json", "[1, 2]", '{"fedliver_plan": {"spacing_mm": "thin"}}', "{}", "[" * 200_000], ids=range(6))
def test_a_bundle_without_a_usable_plan_is_refused_in_words(bundle: Path, content: str) -> None:
    (bundle / "configs" / "metadata.json").write_text(content)
    with pytest.raises(FedLiverError) as refusal:
        load_bundle(bundle)
    assert refusal.value.code == "bundle-plan"


@pytest.mark.parametrize(
    "change",
    [
        {"patch_size": [33, 32, 32]},
        {"patch_size": [100_000, 32, 32]},
        {"spacing_mm": [0, 1, 1]},
        {"spacing_mm": [0.01, 0.01, 0.01]},
        {"spacing_mm": [1, 1, float("inf")]},
        {"margin_mm": float("nan")},
        {"overlap": 0.999},
        {"window_hu": [240, -160]},
        {"window_hu": [-160, float("inf")]},
        {"patch_size": [512, 512, 512]},
        {"network": {"channels": [1024] * 7, "strides": [1] * 6}},
        {"network": {"channels": [8, 16], "strides": [2, 2]}},
        {"network": {"channels": [8, 1_000_000_000], "strides": [2]}},
    ],
)
def test_a_plan_that_cannot_work_or_asks_for_too_much_is_refused_in_words(bundle: Path, change: dict) -> None:
    file = bundle / "configs" / "metadata.json"
    metadata = json.loads(file.read_text())
    metadata["fedliver_plan"].update(change)
    file.write_text(json.dumps(metadata))
    with pytest.raises(FedLiverError) as refusal:
        load_bundle(bundle)
    assert refusal.value.code == "bundle-plan"


def test_a_name_from_outside_is_short_and_steers_no_terminal(bundle: Path) -> None:
    file = bundle / "configs" / "metadata.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"name": "\x1b[2Jmine\n" + "x" * 1000, "version": 7}))
    teacher = load_bundle(bundle)
    assert teacher.name.startswith("[2Jminex")
    assert len(teacher.name) <= 80
    assert teacher.version == "7"


def test_a_folder_that_is_no_bundle_is_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(FedLiverError) as refusal:
        load_bundle(tmp_path)
    assert refusal.value.code == "not-a-bundle"


def test_the_shipped_teacher_loads_and_fits_a_repository() -> None:
    teacher = load_bundle(STARTER)
    assert teacher.plan.padding_value == 0.0
    assert sum(file.stat().st_size for file in STARTER.rglob("*") if file.is_file()) <= 25 * 2**20
