"""Every strategy does the arithmetic that was published (Flower's own is the witness), and is worth something on the problem that it is for.

The problem: every site has voxels with three features and a label, and trains a logistic model on them. Sites' voxels differ, as scanners do.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from flwr.server.strategy.aggregate import aggregate, aggregate_krum, aggregate_trimmed_avg

from fedliver.evaluation.metrics import dice
from fedliver.federation.strategies import aggregation_of, server_step_of
from fedliver.federation.strategies.robust import remove_leftovers
from fedliver.site.strategy import FedAdam, FedAvg, FedAvgM, MultiKrum, Strategy, TrimmedMean

SHAPES = {"kernel": (5, 3), "bias": (3,), "scale": ()}
Poison = Callable[[np.ndarray], np.ndarray]


def changes(count: int, seed: int = 0) -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(seed)
    return [{name: rng.normal(size=shape).astype(np.float32) for name, shape in SHAPES.items()} for _ in range(count)]


def aggregated(choice: Strategy, updates: list[dict[str, np.ndarray]], scratch: Path, weights: list[float] | None = None):
    made = aggregation_of(choice, SHAPES.items(), scratch)
    try:
        for number, update in enumerate(updates):
            made.add(f"site {number}", update, weights[number] if weights else 1.0)
        return made.result()
    finally:
        made.close()


def flat(change: dict[str, np.ndarray]) -> np.ndarray:
    return np.concatenate([change[name].ravel() for name in SHAPES])


def in_flowers_words(updates: list[dict[str, np.ndarray]], cases: list[int] | None = None) -> list[tuple[list[np.ndarray], int]]:
    return [([update[name] for name in SHAPES], (cases or [1] * len(updates))[number]) for number, update in enumerate(updates)]


def flowers(arrays: list[np.ndarray]) -> np.ndarray:
    return np.concatenate([np.ravel(array) for array in arrays])


@pytest.fixture(params=[2_000_000, 7])
def piece(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """All numbers at once, and one or two at a time."""
    monkeypatch.setattr("fedliver.federation.strategies.robust._PIECE_NUMBERS", request.param)


def test_the_mean_is_flowers(tmp_path: Path) -> None:
    updates, cases = changes(4), [1, 2, 3, 10]
    found = aggregated(FedAvg(), updates, tmp_path, [float(count) for count in cases])
    np.testing.assert_allclose(flat(found.change), flowers(aggregate(in_flowers_words(updates, cases))), rtol=1e-5)
    assert found.shares == {"site 0": 1 / 16, "site 1": 2 / 16, "site 2": 3 / 16, "site 3": 10 / 16}


@pytest.mark.parametrize(("sites", "hostile"), [(3, 1), (4, 1), (5, 2), (9, 3)])
def test_the_trimmed_mean_is_flowers(tmp_path: Path, piece: None, sites: int, hostile: int) -> None:
    updates = changes(sites)
    found = aggregated(TrimmedMean(hostile_sites=hostile), updates, tmp_path, [1.0, *[100.0] * (sites - 1)])
    expected = aggregate_trimmed_avg(in_flowers_words(updates), (hostile + 0.25) / sites)
    np.testing.assert_allclose(flat(found.change), flowers(expected), rtol=1e-5)
    assert set(found.shares.values()) == {1 / sites}
    assert {name: array.shape for name, array in found.change.items()} == SHAPES


@pytest.mark.parametrize(("sites", "hostile"), [(5, 1), (8, 1), (7, 2)])
def test_multi_krum_is_flowers_and_names_those_left_out(tmp_path: Path, piece: None, sites: int, hostile: int) -> None:
    updates = changes(sites)
    found = aggregated(MultiKrum(hostile_sites=hostile), updates, tmp_path)
    keep = sites - hostile - 2
    np.testing.assert_allclose(flat(found.change), flowers(aggregate_krum(in_flowers_words(updates), hostile, keep)), rtol=1e-5)
    assert len(found.shares) == keep
    assert found.shares.keys() | found.left_out.keys() == {f"site {number}" for number in range(sites)}
    assert not found.shares.keys() & found.left_out.keys()


def test_adam_and_momentum_are_flowers() -> None:
    from flwr.app import Array, ArrayRecord, Message, MetricRecord, RecordDict
    from flwr.app.message.message import make_message
    from flwr.app.metadata import Metadata
    from flwr.serverapp import strategy as flower

    def reply(weights: dict[str, np.ndarray]) -> Message:
        content = RecordDict({"a": ArrayRecord({k: Array(np.asarray(v)) for k, v in weights.items()}), "m": MetricRecord({"num-examples": 1})})
        metadata = Metadata(
            run_id=1, message_id="", src_node_id=1, dst_node_id=2, reply_to_message_id="", group_id="", created_at=0, ttl=1, message_type="train"
        )
        return make_message(metadata=metadata, content=content)

    ours_and_theirs = [
        (FedAvgM(momentum=0.6, learning_rate=0.7), flower.FedAvgM(server_learning_rate=0.7, server_momentum=0.6)),
        (FedAdam(learning_rate=0.02, beta_1=0.8, beta_2=0.95, tau=0.01), flower.FedAdam(eta=0.02, beta_1=0.8, beta_2=0.95, tau=0.01)),
    ]
    for choice, theirs in ours_and_theirs:
        ours, state, step = changes(1, seed=9)[0], {}, server_step_of(choice)
        expected = dict(ours)
        for number in range(4):
            (moved,) = changes(1, seed=number)
            theirs.current_arrays = expected if isinstance(choice, FedAdam) else ArrayRecord({k: Array(np.asarray(v)) for k, v in expected.items()})
            # Flower counts Adam's rounds from 1 and corrects for one more than there were; here the first is the first.
            record, _ = theirs.aggregate_train(number, [reply({name: expected[name] + moved[name] for name in expected})])
            assert record is not None
            expected = {name: array.numpy() for name, array in record.items()}
            taken, state = step.take(moved, state)
            ours = {name: (ours[name] + taken[name]).astype(np.float32) for name in ours}
            np.testing.assert_allclose(flat(ours), flat(expected), rtol=1e-4, atol=1e-5)


@dataclass
class Site:
    voxels: np.ndarray
    liver: np.ndarray

    def train(self, start: np.ndarray, steps: int = 20, rate: float = 0.5) -> np.ndarray:
        weights = start.copy()
        for _ in range(steps):
            weights -= rate * self.voxels.T @ (1 / (1 + np.exp(-np.clip(self.voxels @ weights, -50, 50))) - self.liver) / len(self.liver)
        return weights - start

    def dice(self, weights: np.ndarray) -> float:
        return dice(self.voxels @ weights > 0, self.liver > 0)

    def loss(self, weights: np.ndarray) -> float:
        margin = (2 * self.liver - 1) * (self.voxels @ weights)
        return float(np.logaddexp(0, -margin).mean())


TRUE = np.array([2.0, -1.5, 1.0])


def site(seed: int, features: tuple[float, float, float] = (1.0, 1.0, 1.0), shift: float = 0.0, true: np.ndarray = TRUE) -> Site:
    rng = np.random.default_rng(seed)
    voxels = rng.normal(shift, 1.0, (400, 3)) * features
    return Site(voxels, (rng.random(400) < 1 / (1 + np.exp(-4 * (voxels / features) @ true))).astype(float))


def federated(
    choice: Strategy, sites: list[Site], scratch: Path, rounds: int = 10, poison: Poison | None = None, absent: Callable[[int], set[int]] = lambda _: set()
) -> list[np.ndarray]:
    """The global weights after every round; site 0 is the poisoned one."""
    weights, state, step, seen = np.zeros(3), {}, server_step_of(choice), []
    for number in range(rounds):
        made = aggregation_of(choice, [("w", (3,))], scratch)
        for index, one in enumerate(sites):
            if index not in absent(number):
                moved = one.train(weights)
                made.add(str(index), {"w": poison(moved) if poison and index == 0 else moved}, 100.0 if poison and index == 0 else 10.0)
        taken, state = step.take(made.result().change, state)
        made.close()
        weights = weights + taken["w"]
        seen.append(weights)
    return seen


POISONS: dict[str, Poison] = {
    "turned round and long": lambda moved: -30 * moved,
    "huge": lambda moved: np.full_like(moved, 1e6),
    "mixed up": lambda moved: moved[::-1] * 100,
}


@pytest.mark.parametrize("poison", POISONS.values(), ids=POISONS)
@pytest.mark.parametrize("robust", [TrimmedMean(hostile_sites=1), MultiKrum(hostile_sites=1)], ids=lambda choice: choice.name)
def test_a_poisoned_site_pulls_the_mean_s_dice_down_and_not_the_robust_one_s(tmp_path: Path, robust: Strategy, poison: Poison) -> None:
    sites = [site(seed, shift=0.4 * (seed - 3)) for seed in range(1, 7)]
    test = site(99)
    clean = test.dice(federated(FedAvg(), sites[1:], tmp_path)[-1])
    assert clean > 0.9
    assert test.dice(federated(FedAvg(), sites, tmp_path, poison=poison)[-1]) < clean - 0.1
    assert test.dice(federated(robust, sites, tmp_path, poison=poison)[-1]) > clean - 0.02


def test_momentum_steadies_rounds_that_pull_to_and_fro(tmp_path: Path) -> None:
    """Two sites that differ and answer in turn: FedAvg swings between them, FedAvgM stays between."""
    sites = [site(1), site(2, true=np.array([2.0, 1.5, 1.0]))]

    def swing(choice: Strategy) -> float:
        late = np.array(federated(choice, sites, tmp_path, rounds=40, absent=lambda number: {number % 2}))[-10:]
        return float(np.abs(np.diff(late, axis=0)).sum(axis=1).mean())

    assert swing(FedAvgM(momentum=0.9, learning_rate=0.1)) < 0.5 * swing(FedAvg())


def test_adam_moves_what_moves_little(tmp_path: Path) -> None:
    """One feature is a hundredth of the others: its weight must grow large, and the sites' updates hardly move it."""
    sites = [site(seed, features=(1.0, 1.0, 0.01)) for seed in (1, 2, 3)]
    adam = federated(FedAdam(learning_rate=1.0, tau=1e-3), sites, tmp_path, rounds=40)[-1]
    mean = federated(FedAvg(), sites, tmp_path, rounds=40)[-1]
    assert abs(adam[2]) > 5 * abs(mean[2])
    assert np.mean([one.loss(adam) for one in sites]) < 0.95 * np.mean([one.loss(mean) for one in sites])


def test_updates_on_disk_are_gone_afterwards_and_those_of_a_killed_run_too(tmp_path: Path) -> None:
    made = aggregation_of(MultiKrum(), SHAPES.items(), tmp_path)
    made.add("site 0", changes(1)[0], 1.0)
    (folder,) = tmp_path.iterdir()
    assert [path.stat().st_size for path in folder.iterdir()] == [4 * 19]
    made.close()
    assert list(tmp_path.iterdir()) == []
    aggregation_of(TrimmedMean(), SHAPES.items(), tmp_path).add("site 0", changes(1)[0], 1.0)
    remove_leftovers(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("choice", [TrimmedMean(hostile_sites=2), MultiKrum(hostile_sites=2)], ids=lambda choice: choice.name)
def test_too_few_updates_are_an_error_and_one_more_is_enough(tmp_path: Path, choice: Strategy) -> None:
    with pytest.raises(ValueError, match="too few"):
        aggregated(choice, changes(choice.fewest_updates - 1), tmp_path)
    assert aggregated(choice, changes(choice.fewest_updates), tmp_path).shares


@pytest.mark.parametrize("choice", [FedAvg(), TrimmedMean(), MultiKrum()], ids=lambda choice: choice.name)
def test_memory_does_not_grow_with_the_number_of_sites(tmp_path: Path, choice: Strategy) -> None:
    import tracemalloc

    shapes = [("kernel", (500, 1000))]

    def peak(sites: int) -> int:
        update = {"kernel": np.ones((500, 1000), np.float32)}
        made = aggregation_of(choice, shapes, tmp_path)
        tracemalloc.start()
        for number in range(sites):
            made.add(str(number), update, 1.0)
        made.result()
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        made.close()
        return found

    # The robust ones have at most a fixed number of numbers in memory, and as many as there are where there are fewer.
    few, many = peak(8), peak(64)
    assert many < 1.1 * few, f"{few / 1e6:.0f} MB at 8 sites, {many / 1e6:.0f} MB at 64"
