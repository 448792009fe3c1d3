"""The simulated sites, as the one who runs the rounds reaches them: asked in one order, answered in any."""

from collections.abc import Iterable, Sequence

import numpy as np
import pytest
from flwr.app import ArrayRecord, MetricRecord, RecordDict

from fedliver.errors import FedLiverError
from fedliver.federation.links import Reply
from fedliver.federation.messages import pack_weights
from fedliver.federation.simulation import SimulatedSites

WEIGHTS = {"layer": np.arange(4, dtype=np.float32), "counter": np.array(3)}


class _LastFirst:
    """Links that answer the last message first, one at a time; each site adds its number to the weights. ``fails`` says which site does not."""

    def __init__(self, fails: int | None = None) -> None:
        self._asked: list[tuple[str, int, ArrayRecord]] = []
        self._fails = fails
        self.nodes: list[int] = []

    def online(self) -> set[int]:
        return {70, 50, 60}

    def send(self, nodes: Sequence[int], content: RecordDict, kind: str, round_number: int, seconds_to_live: float) -> dict[str, int]:
        self.nodes += nodes
        self._asked.append((f"message-{len(self._asked)}", int(content.config_records["config"]["site"]), content.array_records["arrays"]))
        return {self._asked[-1][0]: nodes[0]}

    def receive(self, messages: Iterable[str]) -> list[Reply]:
        name, site, arrays = self._asked.pop()
        assert name in set(messages)
        if site == self._fails:
            return [Reply(name, None, "its app failed")]
        moved = {key: (array.numpy() + site).astype(array.numpy().dtype) for key, array in arrays.items()}
        return [Reply(name, RecordDict({"arrays": pack_weights(moved), "metrics": MetricRecord({"cases": 5, "loss": 0.25})}))]


def test_answers_come_in_the_order_that_was_asked_for_and_each_site_has_its_own_node():
    links = _LastFirst()
    answers = list(SimulatedSites(links, 3).train(1, WEIGHTS, [2, 0, 1]))
    assert [answer.site for answer in answers] == [2, 0, 1]
    assert links.nodes == [70, 50, 60]
    for answer in answers:
        assert np.array_equal(answer.weights["layer"], WEIGHTS["layer"] + answer.site)
        assert answer.weights["counter"].dtype == WEIGHTS["counter"].dtype
        assert dict(answer.numbers) == {"cases": 5.0, "loss": 0.25}


def test_a_site_that_fails_ends_the_round_in_words():
    with pytest.raises(FedLiverError) as failure:
        list(SimulatedSites(_LastFirst(fails=1), 3).train(1, WEIGHTS, [0, 1, 2]))
    assert failure.value.code == "site-failed"
    assert "Simulated site 1 its app failed" in failure.value.sentence
