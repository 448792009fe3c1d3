"""What a scene keeps of a teacher's proposal: through a saved file, on the CT's own voxels, and nothing that a foreign scene makes up. Real MRML."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedliver.image import Geometry, Volume
from fedliver.slicer.kept_proposal import ATTRIBUTE, keep, kept_by, pack, unpack
from fedliver.slicer.panel_state import Lesion, Place
from fedliver.slicer.scene import geometry_of_node, labels_from_segmentation, node_from_volume, segmentation_from_labels
from fedliver.slicer.site_desk import Proposal, TeacherIdentity

TEACHER = TeacherIdentity("fedliver_starter", "1.2.0", "a" * 64)


@pytest.fixture
def proposal(labels: Volume) -> Proposal:
    """Its doubt lies on a coarser grid of its own, as the network's does."""
    where = labels.geometry
    doubt = Volume(np.zeros((5, 6, 7), np.float32), Geometry((7, 6, 5), (2.0, 2.0, 4.0), where.origin, where.direction))
    doubt.array[1:4, 2, 3] = (0.25, 0.5, 1.0)
    lesions, places = (Lesion(12.5, 30.0, (1.0, -2.0, 3.5)),), (Place((4.0, 5.0, -6.0), "tumour"),)
    return Proposal(labels, 1500.0, 12.5, 3.0, TEACHER, lesions, 0.93, places, doubt)


def test_a_proposal_comes_back_from_a_saved_scene_after_the_segmentation_was_edited(scene: Any, ct: Volume, proposal: Proposal, tmp_path: Path) -> None:
    ct_node = node_from_volume(ct, "CT")
    edited = proposal.labels.with_array(np.where(proposal.labels.array == 2, 0, proposal.labels.array).astype(np.uint8))
    node = segmentation_from_labels(edited, ct_node, "Liver")
    keep(node, pack(proposal))
    assert scene.WriteToMRB(str(tmp_path / "work.mrb"))
    scene.Clear(0)
    assert scene.ReadFromMRB(str(tmp_path / "work.mrb"))
    again, ct_again = scene.GetFirstNodeByName("Liver"), scene.GetFirstNodeByName("CT")
    found = unpack(kept_by(again), geometry_of_node(ct_again))
    assert found is not None
    assert found.labels.geometry.same_grid(geometry_of_node(ct_again))
    drawn_now = labels_from_segmentation(again, ct_again).array
    assert ((found.labels.array == 2).sum(), (drawn_now == 2).sum()) == ((proposal.labels.array == 2).sum(), 0)
    assert (found.labels.array == 1)[drawn_now == 1].all(), "it lies elsewhere"
    assert (found.teacher, found.places, found.lesions, found.expected_dice) == (TEACHER, proposal.places, proposal.lesions, 0.93)


def test_doubt_comes_back_where_it_was_to_an_eighth(proposal: Proposal) -> None:
    found = unpack(pack(proposal), proposal.labels.geometry)
    assert found is not None
    assert found.doubt is not None
    assert proposal.doubt is not None
    assert found.doubt.geometry.same_grid(proposal.doubt.geometry.part((slice(1, 4), slice(2, 3), slice(3, 4))))
    assert np.abs(found.doubt.array - proposal.doubt.array[1:4, 2:3, 3:4]).max() <= 1 / 16


def test_every_axis_may_have_been_turned_round_on_reading(proposal: Proposal) -> None:
    packed, whole = pack(proposal), proposal.labels
    for axis in range(3):
        turn = [slice(None)] * 3
        turn[axis] = slice(None, None, -1)
        affine = whole.geometry.affine_ras.copy()
        affine[:3, 3] += affine[:3, 2 - axis] * (whole.array.shape[axis] - 1)
        affine[:3, 2 - axis] *= -1
        turned = Geometry.from_affine_ras(affine, whole.geometry.size)
        found = unpack(packed, turned)
        assert found is not None
        assert (found.labels.array == whole.array[tuple(turn)]).all()


def test_a_proposal_without_doubt_and_an_empty_one_come_back(proposal: Proposal) -> None:
    empty = replace(proposal, labels=proposal.labels.with_array(np.zeros_like(proposal.labels.array)), doubt=None, expected_dice=None)
    found = unpack(pack(empty), empty.labels.geometry)
    assert found is not None
    assert not found.labels.array.any()
    assert (found.doubt, found.expected_dice) == (None, None)


def test_on_another_grid_it_is_not_taken(proposal: Proposal) -> None:
    grid = proposal.labels.geometry
    shifted = replace(grid, origin=(grid.origin[0] + 0.3, *grid.origin[1:]))
    finer = replace(grid, spacing=(grid.spacing[0] * 0.99, *grid.spacing[1:]))
    smaller = replace(grid, size=(grid.size[0] - 1, *grid.size[1:]))
    assert [unpack(pack(proposal), other) for other in (shifted, finer, smaller)] == [None, None, None]


def _but(packed: str, *path: str, value: Any) -> str:
    said = json.loads(packed)
    at = said
    for name in path[:-1]:
        at = at[name]
    at[path[-1]] = value
    return json.dumps(said)


def test_what_a_foreign_scene_makes_up_is_not_believed(proposal: Proposal) -> None:
    import base64
    import zlib

    packed, grid = pack(proposal), proposal.labels.geometry
    assert unpack(_but(packed, "seconds", value=4.0), grid) is not None, "or else the rest would show nothing"
    bomb = base64.b64encode(zlib.compress(bytes(50_000_000))).decode()
    lies = [
        "",
        "{",
        "[]",
        _but(packed, "labels", "voxels", value="no base64!"),
        _but(packed, "labels", "voxels", value=base64.b64encode(b"not packed").decode()),
        _but(packed, "labels", "voxels", value=bomb),
        _but(packed, "labels", "geometry", "size", value=[100_000, 100_000, 100_000]),
        _but(packed, "labels", "geometry", "size", value=[-1, -1, 4]),
        _but(packed, "labels", "geometry", "spacing", value=[0.0, 1.0, 1.0]),
        _but(packed, "labels", "geometry", "direction", value=[1.0]),
        _but(packed, "labels", "geometry", "direction", value=[0.0] * 9),
        _but(packed, "doubt", "voxels", value=bomb),
        _but(packed, "teacher", value="me"),
        _but(packed, "places", value=[{"position": [0.0, 0.0, 0.0], "about": "liver"}] * 2000),
    ]
    assert [unpack(lie, grid) for lie in lies] == [None] * len(lies)


def test_labels_that_no_structure_has_are_not_taken(proposal: Proposal) -> None:
    array = proposal.labels.array.copy()
    array[5, 5, 5] = 7
    assert unpack(pack(replace(proposal, labels=proposal.labels.with_array(array))), proposal.labels.geometry) is None


def test_what_keeps_nothing_gives_nothing(scene: Any) -> None:
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Liver")
    assert kept_by(node) == ""
    keep(node, "something")
    assert node.GetAttribute(ATTRIBUTE) == "something"
