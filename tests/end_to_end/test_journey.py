"""The whole loop with real processes: generated patients, SuperLink with TLS, two SuperNodes, two rounds, adoption, before and after."""

import json
from pathlib import Path

import psutil
import pytest
import torch

from fedliver.coordinator.coordinator import Coordinator
from fedliver.demo.hospitals import Hospital
from fedliver.demo.journey import DemoSettings, Result, run
from fedliver.demo.report import write_report
from fedliver.phantom import PhantomSettings
from fedliver.segmentation_file import read_segmentation
from fedliver.site.federation import SiteFederation
from fedliver.teacher.bundle import load_bundle, save_bundle
from fedliver.teacher.network import build_network
from fedliver.teacher.plan import TeacherPlan
from fedliver.watch import Silent, Watcher

pytestmark = [pytest.mark.processes, pytest.mark.timeout(420)]

COARSE = PhantomSettings(spacing_mm=(5.0, 5.0, 6.0), lesions=2)
HOSPITALS = (Hospital("North", COARSE, (1, 2, 3)), Hospital("South", COARSE, (4, 5, 6)))


class _Quiet:
    def __init__(self) -> None:
        self.sites: set[str] = set()
        self.events: list[str] = []

    def phase(self, name: str) -> Watcher:
        return Silent()

    def run_event(self, event: object) -> None:
        self.events.append(event.kind)  # type: ignore[attr-defined]

    def site_progress(self, site: str, event: object) -> None:
        self.sites.add(site)


@pytest.fixture(scope="module")
def journey(tmp_path_factory: pytest.TempPathFactory) -> tuple[Result, _Quiet]:
    folder = tmp_path_factory.mktemp("journey")
    torch.manual_seed(3)
    plan = TeacherPlan.tiny()
    save_bundle(build_network(plan), plan, folder / "first", name="untrained", version="0")
    narrator = _Quiet()
    settings = DemoSettings(
        folder / "out",
        teacher=folder / "first",
        hospitals=HOSPITALS,
        unseen=PhantomSettings(seed=99, spacing_mm=(4.0, 4.0, 5.0), oblique_degrees=7.0),
        steps=100,
    )
    return run(DemoSettings(**{**vars(settings), "learning_rate": 1e-2}), narrator), narrator


def test_the_new_teacher_segments_a_patient_nobody_trained_on_better_than_the_first(journey: tuple[Result, _Quiet]) -> None:
    before, after = journey[0].looks
    assert before.scores is not None
    assert after.scores is not None
    assert after.scores.liver.dice > before.scores.liver.dice + 0.3
    assert after.scores.liver.dice > 0.6


def test_every_round_used_both_sites_and_the_last_model_was_delivered(journey: tuple[Result, _Quiet]) -> None:
    result, narrator = journey
    assert [record.kind for record in result.rounds] == ["round", "round", "delivery"]
    for record in result.rounds[:2]:
        assert {update.site for update in record.updates if update.weight > 0} == {"North", "South"}
        assert all(update.megabytes_up > 0 and update.megabytes_down > 0 for update in record.updates)
    assert narrator.sites == {"North", "South"}
    assert narrator.events[-1] == "finished"


def test_each_site_adopted_by_its_own_numbers_and_can_roll_back(journey: tuple[Result, _Quiet]) -> None:
    result, _ = journey
    for site, decision in zip(result.sites, result.decisions, strict=True):
        assert decision.cases == 1
        assert decision.current_dice is not None
        assert decision.candidate_dice is not None
        assert decision.adopted == (decision.candidate_dice >= decision.current_dice - 0.001)
        shelf = site.home.shelf()
        assert shelf.current().version == (decision.candidate if decision.adopted else decision.current)
        log = [json.loads(line) for line in site.home.adoption_log.read_text().splitlines()]
        assert log[-1]["candidate_dice"] == decision.candidate_dice


def test_the_sites_got_exactly_the_model_that_the_coordinator_kept(journey: tuple[Result, _Quiet]) -> None:
    result, _ = journey
    kept = load_bundle(Coordinator(result.settings.out / "work" / "coordinator").newest_teacher()).network.state_dict()
    for site in result.sites:
        got = load_bundle(SiteFederation(site.home.path).candidates()[-1]).network.state_dict()
        assert all(torch.equal(got[key], kept[key]) for key in kept)


def test_the_segmentations_lie_on_the_grid_of_the_ct(journey: tuple[Result, _Quiet]) -> None:
    result, _ = journey
    assert result.ct is not None
    for name, look in zip(("before", "after"), result.looks, strict=True):
        for suffix in (".seg.nrrd", ".nii.gz"):
            saved = read_segmentation(result.settings.out / f"{name}{suffix}", onto=result.ct.geometry)
            assert (saved.array == look.segmentation.labels.array).all()


def test_the_report_stands_alone_and_names_sites_but_no_path(journey: tuple[Result, _Quiet], tmp_path: Path) -> None:
    result, _ = journey
    html = write_report(result, tmp_path / "report.html").read_text()
    assert html.count("data:image/png;base64,") == 4
    assert "North" in html
    assert "South" in html
    assert str(result.settings.out) not in html
    assert 'src="http' not in html
    assert f"{result.looks[1].scores.liver.dice:.3f}" in html  # type: ignore[union-attr]


def test_no_process_of_ours_is_left(journey: tuple[Result, _Quiet]) -> None:
    folder = str(journey[0].settings.out)
    left = [process.pid for process in psutil.process_iter(["cmdline"]) if folder in " ".join(process.info["cmdline"] or [])]
    assert left == []


def test_nothing_that_names_a_patient_is_in_the_coordinators_home(journey: tuple[Result, _Quiet]) -> None:
    result, _ = journey
    names = [case.pseudonym for site in result.sites for case in site.cases] + [
        f"{hospital.name} {seed}" for hospital in HOSPITALS for seed in hospital.patients
    ]
    for file in (result.settings.out / "work" / "coordinator").rglob("*"):
        if file.is_file():
            content = file.read_bytes()
            assert not [name for name in names if name.encode() in content], file
