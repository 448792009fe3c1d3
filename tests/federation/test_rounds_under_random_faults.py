"""A hundred rounds of eight sites that do everything wrong that sites do, and a coordinator that is interrupted and loses checkpoints.

The transport and the clock are stand-ins (``stage``); the rounds, the intake, the checkpoints and the records are the real ones.
"""

from pathlib import Path

import numpy as np
import pytest
from federation_kit import tiny_bundle
from stage import GONE, Answer, Stage, adds, run, says

from fedliver.coordinator.checkpoints import load_checkpoint
from fedliver.coordinator.home import CoordinatorHome
from fedliver.coordinator.records import RoundRecord, Site, Sites, read_rounds
from fedliver.federation.messages import Numbers, error_reply, pack_reply
from fedliver.federation.networks import weights_of
from fedliver.federation.rounds import RunEndedError
from fedliver.site.codes import ErrorCode
from fedliver.teacher.bundle import load_bundle

ROUNDS, SITES, QUORUM = 100, 8, 2


class Weather:
    """What each site does in each round: drawn once, so that it can be asked again afterwards."""

    def __init__(self, seed: int, like: dict[str, np.ndarray]) -> None:
        self._rng = np.random.default_rng(seed)
        self._like = like
        self._drawn: dict[tuple[int, int], tuple[str, Answer]] = {}

    def site(self, node: int) -> Answer:
        return lambda number, content: self.at(number, node)[1](number, content)

    def honest(self, number: int, node: int) -> bool:
        return self.at(number, node)[0] == "honest"

    def cases(self, number: int, node: int) -> int:
        return 1 + (number * 7 + node) % 5

    def at(self, number: int, node: int) -> tuple[str, Answer]:
        if (number, node) not in self._drawn:
            faults = self._faults()
            kind = str(self._rng.choice(["honest", *faults], p=[0.4] + [0.6 / len(faults)] * len(faults)))
            honest = adds(float(node), cases=self.cases(number, node), loss=0.5)
            self._drawn[number, node] = kind, faults.get(kind, honest)
        return self._drawn[number, node]

    def clear(self, number: int) -> None:
        """The round is run again: its weather is drawn anew."""
        self._drawn = {key: value for key, value in self._drawn.items() if key[0] != number}

    def _faults(self) -> dict[str, Answer]:
        numbers = Numbers(cases=3)
        with_nan = {name: np.full_like(array, np.nan) if array.dtype.kind == "f" else array for name, array in self._like.items()}
        return {
            "silent": says(None),
            "gone": says(GONE),
            "not finite": says(pack_reply(numbers, with_nan)),
            "another network": says(pack_reply(numbers, {"other": np.zeros(3, np.float32)})),
            "stopped": says(error_reply(ErrorCode.STOPPED)),
            "impossible count": says(pack_reply(Numbers(cases=10**9), self._like)),
            "negative count": says(pack_reply(Numbers(cases=-4), self._like)),
            "unknown code": says(error_reply(ErrorCode.UNEXPECTED)),
        }


@pytest.fixture
def home(tmp_path: Path) -> CoordinatorHome:
    home = CoordinatorHome(tmp_path)
    tiny_bundle(home.teacher_of(0))
    home.save_sites(Sites(sites=tuple(Site(name=f"Hospital {node}", public_key=str(node), node_id=node) for node in range(1, SITES + 1))))
    return home


def test_every_round_is_accounted_for_and_the_model_is_the_mean_of_the_honest_sites_whatever_else_happens(home: CoordinatorHome) -> None:
    like = weights_of(load_bundle(home.teacher_of(0)).network)
    weather, rng = Weather(3, like), np.random.default_rng(4)
    moved, number = [0.0], 0
    failures: list[str] = []
    while number < ROUNDS:
        stage = Stage({node: weather.site(node) for node in range(1, SITES + 1)}, like)
        stage.present = set(rng.choice(np.arange(1, SITES + 1), size=rng.integers(QUORUM, SITES + 1), replace=False).tolist())
        before = len(read_rounds(home.rounds_file))
        try:
            run(home, stage, rounds=int(min(rng.integers(1, 8), ROUNDS - number)), quorum=QUORUM)
        except RunEndedError as ended:
            failures.append(str(ended))
        for record in read_rounds(home.rounds_file)[before:]:
            if record.kind == "round":
                number = _account_for(record, weather, stage, moved)
        if number > 1 and rng.uniform() < 0.15:
            (home.checkpoints / f"round-{number:03d}.npz").write_bytes(b"half a checkpo")
            weather.clear(number)
            moved.pop()
            number -= 1
        else:
            weather.clear(number + 1)
    assert len(failures) > 3, "the quorum was hardly ever missed: the weather is too good"
    assert all("Hospital" in sentence for sentence in failures)
    final = load_checkpoint(home.checkpoints / f"round-{ROUNDS:03d}.npz")
    for name, array in like.items():
        if array.dtype.kind == "f":
            np.testing.assert_allclose(final[name], array + moved[-1], rtol=1e-3)


def _account_for(record: RoundRecord, weather: Weather, stage: Stage, moved: list[float]) -> int:
    """Check one round's record against the weather; the number of the newest round that counts."""
    asked = {int(update.site.split()[1]): update for update in record.updates}
    assert set(asked) == stage.present, "a site that was there is missing from the record, or one that was not is in it"
    honest = [node for node in asked if weather.honest(record.round, node)]
    assert sorted(node for node, update in asked.items() if not update.refused) == sorted(honest)
    assert record.aggregated == (len(honest) >= QUORUM)
    if not record.aggregated:
        return record.round - 1
    cases = np.array([weather.cases(record.round, node) for node in honest])
    moved.append(moved[-1] + float((cases * np.array(honest)).sum() / cases.sum()))
    assert len(moved) == record.round + 1
    return record.round
