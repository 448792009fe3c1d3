"""Patches of scans that end early."""

import numpy as np

from fedliver.training.cropping import CroppedScans
from fedliver.training.sources import Patch


class Abdomen:
    """The same patch every time: tissue everywhere, liver in slices 20 to 39 of 64, a tumour in it."""

    def draw(self, rng: np.random.Generator) -> Patch:
        labels = np.zeros((1, 16, 16, 64), np.uint8)
        labels[0, 4:12, 4:12, 20:40] = 1
        labels[0, 6:8, 6:8, 25:28] = 2
        return Patch(np.full(labels.shape, 0.5, np.float32), labels, True)


def _drawn(share: float, patches: int = 60) -> list[Patch]:
    source, rng = CroppedScans(Abdomen(), share, 0.0), np.random.default_rng(0)
    return [source.draw(rng) for _ in range(patches)]


def test_beyond_the_end_is_air_without_labels_and_the_rest_is_as_it_was() -> None:
    whole = Abdomen().draw(np.random.default_rng())
    for patch in _drawn(1.0):
        kept = np.flatnonzero((patch.image > 0).any(axis=(0, 1, 2)))
        assert len(kept) == kept[-1] - kept[0] + 1 >= 12
        assert len(kept) < 64
        assert 0 in (kept[0], 63 - kept[-1]), "it ends on one side only"
        inside = slice(kept[0], kept[-1] + 1)
        assert np.array_equal(patch.labels[..., inside], whole.labels[..., inside])
        assert not patch.labels.any(where=np.isin(np.arange(64), kept, invert=True))


def test_many_have_no_liver_left_on_either_side_of_it_and_many_a_part_of_one() -> None:
    patches = _drawn(1.0)
    without = [patch for patch in patches if not patch.labels.any()]
    assert {bool((patch.image[..., 0] > 0).any()) for patch in without} == {True, False}, "below it and above it"
    assert 0.25 < len(without) / len(patches) < 0.9
    assert any(0 < (patch.labels > 0).sum() < (Abdomen().draw(np.random.default_rng()).labels > 0).sum() for patch in patches)


def test_the_share_that_is_left_whole_is_whole_and_the_source_is_not_touched() -> None:
    assert all((patch.image > 0).all() for patch in _drawn(0.0))
    whole = sum(bool((patch.image > 0).all()) for patch in _drawn(0.4, 200))
    assert 90 < whole < 150
