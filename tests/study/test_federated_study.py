"""The study of federated learning: every kind of arm, fair to each other, interrupted and gone on with, and a report that says what it is made of."""

import gc
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_studies import EVERY_ARM, PRIVATE, hearts, pictures

from fedliver.errors import Cancelled, FedLiverError
from fedliver.federation.networks import weights_of
from fedliver.study.federated.engine import Exchange, InProcess
from fedliver.study.federated.results import ArmResult, ResultFolder
from fedliver.study.federated.run import run_study
from fedliver.study.federated.site_work import SiteWork, Update
from fedliver.study.federated.study_report import write_study
from fedliver.study.federated.task import Arm, Task
from fedliver.watch import Silent

CENTRALISED, ALONE, FEDERATED = EVERY_ARM[:3]
COMMAND = "fedliver study federated --task tiny-hearts --out OUT"


def _run(task: Task, out: Path, workers: int = 1) -> dict[str, ArmResult]:
    return {result.arm: result for result in run_study(task, out, InProcess(), Silent(), workers)}


@pytest.fixture(scope="module")
def studied(tmp_path_factory: pytest.TempPathFactory) -> tuple[Task, Path, dict[str, ArmResult]]:
    """Every arm, once."""
    task, out = hearts(), tmp_path_factory.mktemp("study")
    return task, out, _run(task, out)


def test_every_kind_of_arm_runs_and_is_scored_on_the_same_cases(studied):
    task, _, results = studied
    assert list(results) == [arm.name for arm in task.arms]
    cases = {tuple(case.case for case in model.cases) for result in results.values() for model in result.models}
    assert len(cases) == 1
    assert [len(results[arm.name].models) for arm in (CENTRALISED, ALONE, FEDERATED)] == [1, 3, 1]
    for result in results.values():
        assert len(result.curve) == task.training.rounds
        assert result.curve[-1].steps == (2 if "shared" in result.arm else task.training.steps)
        assert set(result.models[0].cases[0].structures) == {"myocardium", "left ventricle"}


def test_every_arm_takes_the_steps_that_its_way_of_counting_promises(studied):
    task, _, results = studied
    for arm in task.arms:
        each = 2 if arm.steps_shared else task.training.steps  # of 6 steps in 2 rounds, 3 sites share 1 a round
        assert results[arm.name].taken == each * (arm.active or arm.clients), arm.name


def test_every_arm_and_site_begins_with_the_same_weights(studied):
    _, _, results = studied
    assert len({result.begun for result in results.values()}) == 1
    assert len(results[ALONE.name].begun) == 1


def test_all_sites_together_hold_every_training_image_once(studied):
    _, _, results = studied
    assert {sum(site.images for site in result.sites) for result in results.values()} == {7}


def test_arms_that_should_differ_do(studied):
    _, _, results = studied
    losses = {name: result.loss for name, result in results.items()}
    same = [name for name in losses if losses[name] == losses[FEDERATED.name] and name != FEDERATED.name]
    # In the first round nothing has been aggregated yet, in the second every one of these has begun elsewhere.
    assert same == []


def test_traffic_counts_both_ways_of_every_site_and_compression_makes_it_less(studied):
    _, _, results = studied
    packed = next(result for result in results.values() if result.arm.endswith("compressed"))
    plain = results[FEDERATED.name]
    weights = sum(array.nbytes for array in weights_of(_work(studied, FEDERATED).network()).values())
    assert plain.curve[-1].megabytes == pytest.approx(2 * 3 * 2 * weights / 1e6)
    assert packed.curve[-1].megabytes < 0.8 * plain.curve[-1].megabytes
    assert results[CENTRALISED.name].curve[-1].megabytes == 0


def test_noise_has_its_epsilon_and_nothing_else_has(studied):
    _, _, results = studied
    assert results[PRIVATE.name].epsilon is not None
    assert results[PRIVATE.name].epsilon > 0
    assert all(result.epsilon is None for name, result in results.items() if name != PRIVATE.name)


def _work(studied, arm: Arm, seed: int = 0) -> SiteWork:
    task, out, _ = studied
    return SiteWork(task, arm, seed, out / "prepared", out / "scratch-of-a-test")


def test_every_arm_of_a_seed_starts_from_the_same_weights_and_another_seed_elsewhere(studied):
    first, same, other = (weights_of(_work(studied, arm, seed).network()) for arm, seed in ((CENTRALISED, 0), (PRIVATE, 0), (CENTRALISED, 1)))
    assert all(np.array_equal(first[name], same[name]) for name in first)
    assert not all(np.array_equal(first[name], other[name]) for name in first)


def test_what_leaves_a_site_is_within_the_norm_bound(studied):
    clipped = Arm(way="federated", clients=3, privacy=PRIVATE.privacy.model_copy(update={"noise_multiplier": 0.0, "norm_bound": 0.01}))
    work = _work(studied, clipped)
    received = weights_of(work.network())
    update = work(0, 1, received)
    norm = np.sqrt(sum(float(((update.weights[name] - received[name]).astype(np.float64) ** 2).sum()) for name in received))
    assert 0.005 < norm <= 0.01 * (1 + 1e-3)


def test_compression_remembers_what_rounding_took_away(studied):
    work = _work(studied, Arm(way="federated", clients=3, compressed=True))
    exact = _work(studied, FEDERATED)
    received = weights_of(work.network())
    sent, meant = work(1, 1, received), exact(1, 1, received)
    kept = next((work.scratch / "site-0001").glob("*.npz"))
    with np.load(kept) as owed:
        for name in received:
            if np.issubdtype(received[name].dtype, np.floating):
                assert sent.weights[name] + owed[f"weights/{name}"] == pytest.approx(meant.weights[name], abs=1e-6)


def test_what_rounding_took_away_comes_with_the_next_update(studied, tmp_path: Path):
    work = replace(_work(studied, Arm(way="federated", clients=3, compressed=True)), scratch=tmp_path / "kept")
    received = weights_of(work.network())
    work(1, 1, received)
    second = work(1, 2, received)
    forgetful = replace(work, scratch=tmp_path / "fresh")(1, 2, received)
    assert not all(np.array_equal(second.weights[name], forgetful.weights[name]) for name in received)


def test_an_interrupted_study_goes_on_where_it_was_and_runs_nothing_twice(tmp_path: Path):
    task = hearts((CENTRALISED, FEDERATED), seeds=2)
    running = run_study(task, tmp_path, InProcess(), Silent())
    first = next(running)
    running.close()
    assert [(r.arm, r.seed) for r in ResultFolder(tmp_path, task).all()] == [("centralised", 0)]
    rest = [(r.arm, r.seed) for r in run_study(task, tmp_path, InProcess(), Silent())]
    assert rest == [(FEDERATED.name, 0), ("centralised", 1), (FEDERATED.name, 1)]
    assert list(run_study(task, tmp_path, InProcess(), Silent())) == []
    kept = ResultFolder(tmp_path, task).get(CENTRALISED, 0)
    assert kept is not None
    assert kept.wall_seconds == first.wall_seconds


def test_the_same_study_gives_the_same_numbers_also_side_by_side(tmp_path: Path):
    task = hearts((CENTRALISED, FEDERATED))
    one, two = _run(task, tmp_path / "one"), _run(task, tmp_path / "two", workers=2)
    assert {name: (r.loss, r.value) for name, r in one.items()} == {name: (r.loss, r.value) for name, r in two.items()}


def test_results_of_another_task_are_refused_but_more_arms_are_welcome(tmp_path: Path):
    _run(hearts((CENTRALISED,)), tmp_path)
    assert list(_run(hearts((CENTRALISED, FEDERATED)), tmp_path)) == [FEDERATED.name]
    with pytest.raises(FedLiverError) as refusal:
        _run(hearts((CENTRALISED,), learning_rate=0.1), tmp_path)
    assert refusal.value.code == "other-study"


def _refused(task: Task, out: Path) -> str:
    with pytest.raises(FedLiverError) as refusal:
        _run(task, out)
    return refusal.value.code


def test_other_images_are_refused_beside_results_also_where_they_have_the_same_names(tmp_path: Path):
    task = pictures(tmp_path / "data", (CENTRALISED,), each=8)
    _run(task, tmp_path / "out")
    more = task.model_copy(update={"arms": (CENTRALISED, FEDERATED)})

    elsewhere = pictures(tmp_path / "larger", more.arms, each=10)
    assert _refused(elsewhere, tmp_path / "out") == "other-study"

    assert list(_run(more, tmp_path / "out")) == [FEDERATED.name]  # the images that the results are of are prepared anew, and welcome

    shutil.copy(tmp_path / "data" / "left" / "00.png", tmp_path / "data" / "right" / "07.png")
    shutil.rmtree(tmp_path / "out" / "prepared")
    assert _refused(more, tmp_path / "out") == "other-study"


class _ImpatientWatcher:
    """Lets the images be prepared, then wants no more."""

    def __init__(self) -> None:
        self.phase = ""

    def report(self, phase: str, fraction: float) -> None:
        self.phase = phase

    def cancelled(self) -> bool:
        return "seed" in self.phase


def test_a_stopped_arm_leaves_no_result_and_no_scratch(tmp_path: Path):
    task = hearts((CENTRALISED, FEDERATED))
    with pytest.raises(Cancelled):
        list(run_study(task, tmp_path, InProcess(), _ImpatientWatcher()))
    assert list(ResultFolder(tmp_path, task).all()) == []
    assert not list((tmp_path / "scratch").glob("*"))


def test_a_strategy_that_needs_more_sites_says_so(tmp_path: Path):
    krum = Arm.model_validate({"way": "federated", "clients": 3, "strategy": {"name": "multi-krum"}})
    with pytest.raises(FedLiverError) as refusal:
        _run(hearts((CENTRALISED, krum)), tmp_path)
    assert refusal.value.code == "too-few-updates"


def test_the_report_says_generated_holds_no_name_and_names_command_seed_and_machine(studied):
    task, out, results = studied
    text = write_study(task, out, COMMAND)
    page = (out / "report.html").read_text()
    for said in (text, page):
        assert "GENERATED" in said
        assert "heart-0" not in said
        assert "fedliver study federated --task tiny-hearts" in said
        assert next(iter(results.values())).machine in said
        assert "Seeds: 0" in said
    assert "http" not in page.replace("http-equiv", "")
    assert {path.name for path in out.glob("*.csv")} == {f"{name}.csv" for name in ("arms", "measures", "gains", "costs", "curves", "cases", "sites")}
    assert all((out / f"{name}.png").stat().st_size > 5000 for name in ("curves", "curves-shared-steps", "differences", "differences-shared-steps", "gains"))
    assert len((out / "cases.csv").read_text().splitlines()) == 1 + 2 * 2 * (len(task.arms) + 2)
    assert "prepared/" in (out / ".gitignore").read_text()


def test_a_report_of_an_unfinished_study_says_so(tmp_path: Path):
    task = hearts((CENTRALISED, FEDERATED))
    assert "no results" in write_study(task, tmp_path, COMMAND)
    running = run_study(task, tmp_path, InProcess(), Silent())
    next(running)
    running.close()
    assert "UNFINISHED: 1 run is still missing" in write_study(task, tmp_path, COMMAND)


SHARING = FEDERATED.model_copy(update={"steps_shared": True})


@pytest.mark.parametrize(("others", "own", "shared"), [((FEDERATED,), True, False), ((SHARING,), False, True), ((FEDERATED, SHARING), True, True)])
def test_the_report_says_who_takes_the_steps_of_the_arms_that_there_are(others: tuple[Arm, ...], own: bool, shared: bool, tmp_path: Path):
    task = hearts((CENTRALISED, *others), steps=2)
    running = run_study(task, tmp_path, InProcess(), Silent())
    next(running)
    running.close()
    text = write_study(task, tmp_path, COMMAND)
    assert ("Every site takes 2 gradient steps in all" in text, "divide the steps among" in text) == (own, shared)


def test_with_folds_every_seed_tests_other_patients_and_the_arms_of_a_seed_the_same(tmp_path: Path):
    whole = hearts(arms=(CENTRALISED, FEDERATED), seeds=3, steps=2)
    task = whole.model_copy(update={"data": whole.data.model_copy(update={"folds": 3})})
    tested: dict[int, set[tuple[int, ...]]] = {}
    for result in run_study(task, tmp_path, InProcess(), Silent()):
        tested.setdefault(result.seed, set()).add(tuple(case.case for case in result.models[0].cases))
    assert all(len(cases) == 1 for cases in tested.values())
    assert sorted(case for cases in tested.values() for one in cases for case in one) == list(range(9))
    text = write_study(task, tmp_path, COMMAND)
    assert "the same 3 test images, every seed on others (9 in all, 3 folds), which no arm of it trains on" in text


def test_classification_is_a_task_of_the_same_study_and_learns(tmp_path: Path):
    arms = (CENTRALISED, ALONE, FEDERATED, Arm(way="federated", clients=3, division="by-label"))
    task = pictures(tmp_path / "data", arms, steps=24, rounds=3, learning_rate=3e-3)
    results = _run(task, tmp_path / "out")
    assert results["centralised"].value == 1.0
    assert results[FEDERATED.name].sites[0].mixture.keys() <= {"left", "right"}
    text = write_study(task, tmp_path / "out", COMMAND)
    assert "| accuracy | sensitivity | specificity | F1 | AUROC |" in text
    assert f"The network sees them at {' x '.join(str(side) for side in task.data.size)} pixels." in text
    assert "sensitivity right" in (tmp_path / "out" / "measures.csv").read_text()


@dataclass
class _Counting(InProcess):
    """The engine itself, and how many networks and updates were alive at most when an update had arrived."""

    networks: int = 0
    updates: int = 0

    def run(self, work: SiteWork, session: Callable[[Exchange], object]) -> Any:
        kind = type(work.network())
        return super().run(work, lambda exchange: session(_Counted(exchange, self, kind)))


@dataclass
class _Counted:
    exchange: Exchange
    engine: _Counting
    kind: type

    def updates(self, number: int, weights: Mapping[str, np.ndarray], sites: Sequence[int]) -> Iterator[Update]:
        for update in self.exchange.updates(number, weights, sites):
            self.engine.networks = max(self.engine.networks, _alive(self.kind))
            self.engine.updates = max(self.engine.updates, _alive(Update))
            yield update


def _alive(kind: type) -> int:
    gc.collect()
    return sum(type(one) is kind for one in gc.get_objects())


def test_as_many_networks_and_updates_are_alive_with_16_sites_as_with_2(tmp_path: Path):
    alive = []
    for clients in (2, 16):
        arm = Arm(way="federated", clients=clients)
        task = pictures(tmp_path / "data", (CENTRALISED, arm), each=48, rounds=1, steps=1)
        engine = _Counting()
        results = [one for one in run_study(task, tmp_path / f"out-{clients}", engine, Silent()) if one.arm == arm.name]
        assert len(results[0].sites) == clients
        alive.append((engine.networks, engine.updates))
    assert alive[0] == alive[1]
    assert alive[1][0] <= 3
    assert alive[1][1] <= 2


def test_of_64_sites_only_those_at_work_are_sent_weights(tmp_path: Path):
    many = Arm(way="federated", clients=64, active=2)
    task = pictures(tmp_path / "data", (CENTRALISED, many), each=48, rounds=2, steps=2)
    result = _run(task, tmp_path / "out")[many.name]
    assert len(result.sites) == 64
    weights = sum(array.nbytes for array in weights_of(SiteWork(task, many, 0, tmp_path / "out" / "prepared", tmp_path).network()).values())
    assert result.curve[-1].megabytes == pytest.approx(2 * 2 * 2 * weights / 1e6)
