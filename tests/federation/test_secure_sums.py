"""Masked sums: what comes out, whoever is lost on the way; what the coordinator sees; and what a site never reveals."""

import itertools
from pathlib import Path

import pytest
from secure_kit import GONE, Heard, Spoil, assert_is_mean, made_sites, policy, summing

from fedliver import files
from fedliver.federation.secure.masked_round import NotSummedError
from fedliver.federation.secure.words import threshold_of
from fedliver.site.rules import EgressRules

STEPS = ("train", "share", "mask", "open")


def lost_at(when: dict[int, str]) -> Spoil:
    """Each of these sites answers nothing from that step on."""
    return lambda node, step, honest: GONE if node in when and STEPS.index(step) >= STEPS.index(when[node]) else honest


def patterns(counts: tuple[int, ...]) -> list[tuple[int, dict[int, str]]]:
    """Of so many sites every group that is lost while it masks, and a group of every size at the other steps; of three every pattern in the last two."""
    found: list[tuple[int, dict[int, str]]] = []
    for choice in itertools.product(("", "mask", "open"), repeat=3) if 3 in counts else ():
        found.append((3, {node: step for node, step in enumerate(choice, start=1) if step}))
    for count in counts:
        for size in range(1, count):
            found += [(count, dict.fromkeys(group, "mask")) for group in itertools.combinations(range(1, count + 1), size)]
            found += [(count, dict.fromkeys(range(1, size + 1), step)) for step in ("train", "share", "open")]
    return found


def there_after(count: int, when: dict[int, str], step: str) -> set[int]:
    return {node for node in range(1, count + 1) if node not in when or STEPS.index(when[node]) > STEPS.index(step)}


@pytest.mark.parametrize(("minimum", "counts"), [(2, (3,)), (3, (4, 5))])
def test_the_sum_is_the_plain_sum_whoever_is_lost_down_to_the_threshold_and_stays_closed_below_it(
    tmp_path: Path, minimum: int, counts: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_sync", lambda path: None)
    rules = policy(privacy={"require_secure_aggregation": True, "minimum_sites": minimum})
    opened = closed = 0
    for number, (count, when) in enumerate(patterns(counts), start=1):
        sites = made_sites(tmp_path, count, EgressRules(minimum_sites=minimum))
        made, _, masking = summing(sites, lost_at(when), Heard(), rules, number)
        trained = there_after(count, when, "train")
        enough = threshold_of(len(trained), minimum)
        if all(len(there_after(count, when, step)) >= enough for step in STEPS):
            assert_is_mean(made.sum(), [sites[node] for node in there_after(count, when, "mask")], masking)
            opened += 1
        else:
            with pytest.raises(NotSummedError, match="of at least"):
                made.sum()
            closed += 1
    assert min(opened, closed) > 10
