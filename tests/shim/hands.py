"""What a user does at the panel, and the scans it is done with."""

from typing import Any

import numpy as np
from seams import TEACHER

from fedliver.image import Geometry, Volume
from fedliver.slicer import scene as bridge
from fedliver.slicer.site_desk import OpenedCase, Proposal


def oblique_ct(seed: int = 0) -> Volume:
    affine = np.array([[0.8, -0.3, 0.1, -90.0], [0.28, 0.85, 0.4, 22.0], [-0.15, -0.4, 2.6, -700.0], [0, 0, 0, 1.0]])
    axes, _upper = np.linalg.qr(affine[:3, :3])
    affine[:3, :3] = axes @ np.diag([0.9, 1.1, 2.7])
    geometry = Geometry.from_affine_ras(affine, (20, 18, 12))
    return Volume(np.random.default_rng(seed).integers(-100, 100, geometry.shape).astype(np.int16), geometry)


def add_ct(name: str = "CT", seed: int = 0) -> Any:
    return bridge.node_from_volume(oblique_ct(seed), name)


def choose(desktop: Any, panel: Any, node: Any) -> None:
    """What the user does at the selector; the panel reacts when the event loop turns."""
    panel.ui.ctSelector.setCurrentNode(node)
    desktop.events()


def segment(desktop: Any, panel: Any) -> Any:
    panel.ui.segmentButton.click()
    desktop.wait(lambda: not panel.workflow.working)
    return panel.workflow.case.segmentation_node


def press(desktop: Any, panel: Any, button: str) -> None:
    getattr(panel.ui, button).click()
    desktop.wait(lambda: not panel.workflow.working)
    desktop.events()


def edit(node: Any, ct_node: Any) -> None:
    """What the Segment Editor does to a segment: writes voxels into it."""
    import slicer

    mask = slicer.util.arrayFromSegmentBinaryLabelmap(node, "Tumour", ct_node)
    mask[0, :3, :3] = 1
    slicer.util.updateSegmentBinaryLabelmapFromArray(mask, node, "Tumour", ct_node)


def opened(name: str, seed: int = 0, **more: Any) -> OpenedCase:
    ct = oblique_ct(seed)
    labels = ct.with_array((ct.array > 20).astype(np.uint8))
    return OpenedCase(name, ct, labels, Proposal(labels, 9.0, 0.0, 0.0, TEACHER), **more)
