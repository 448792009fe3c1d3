"""A scan that the workflow opens by itself, as a browser's host has no reader of its own: chosen, named by its DICOM identity, kept at its approval."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "shim"))
pytest.importorskip("slicer", reason="slicer-core is not installed (pip install '.[scene]')")

from seams import Desk, Link

from fedliver.ct_reader import Ct, SourceIdentity
from fedliver.errors import FedLiverError
from fedliver.image import Geometry, Volume
from fedliver.slicer.panel_state import Tone, Work

IDENTITY = SourceIdentity("patient", "study", "series")


def ct(*warnings: str) -> Ct:
    values = np.full((8, 16, 16), -100, np.int16)
    values[2:6, 4:12, 4:12] = 50
    return Ct(Volume(values, Geometry.from_affine_ras(np.diag([2.0, 2.0, 3.0, 1.0]), (16, 16, 8))), IDENTITY, warnings)


@pytest.fixture
def bench() -> Iterator[tuple[Any, Desk]]:
    import slicer
    from seams import Installed

    from fedliver.slicer import headless
    from fedliver.slicer.panel_session import PanelSession
    from fedliver.slicer.workflow import Workflow

    application = headless.start()
    desk = Desk()
    workflow = Workflow(desk, Link(), Installed(), PanelSession())
    workflow.refresh()
    yield workflow, desk
    workflow.close()
    slicer.mrmlScene.Clear(1)
    del application


def wait(workflow: Any) -> None:
    while workflow.working:
        workflow.tick()


def test_it_is_chosen_and_what_a_person_should_know_of_it_is_said(bench: tuple[Any, Desk]) -> None:
    workflow, _desk = bench
    workflow.worklist.open_scan(lambda watcher: ct("The slices are thick."), "CT opened")
    assert workflow.state.work is Work.OPEN
    wait(workflow)
    assert workflow.state.ct == "CT opened"
    assert workflow.worklist.opened_ct is workflow.case.ct_node
    assert workflow.state.notice.sentence == "The slices are thick."
    assert workflow.state.notice.tone is Tone.WARNING


def test_at_its_approval_the_case_is_named_by_its_dicom_identity(bench: tuple[Any, Desk]) -> None:
    workflow, desk = bench
    workflow.worklist.open_scan(lambda watcher: ct(), "CT opened")
    wait(workflow)
    workflow.segmenting.press_segment()
    wait(workflow)
    assert desk.submissions == [], "nothing is kept before"
    workflow.approving.press_approve()
    wait(workflow)
    assert desk.submissions[0].source == ("patient", "study", "series")


def test_what_cannot_be_read_is_said_and_the_ct_in_hand_stays(bench: tuple[Any, Desk]) -> None:
    workflow, _desk = bench
    workflow.worklist.open_scan(lambda watcher: ct(), "CT opened")
    wait(workflow)

    def refuse(_watcher: Any) -> Ct:
        raise FedLiverError("no-dicom", "This is a letter: give a CT.")

    workflow.worklist.open_scan(refuse, "another")
    wait(workflow)
    assert workflow.state.ct == "CT opened"
    assert workflow.state.notice.sentence == "This is a letter: give a CT."
    assert not workflow.state.busy


def test_while_the_panel_is_busy_no_scan_is_opened(bench: tuple[Any, Desk]) -> None:
    workflow, desk = bench
    workflow.worklist.open_scan(lambda watcher: ct(), "CT opened")
    wait(workflow)
    desk.held = True
    workflow.segmenting.press_segment()
    workflow.worklist.open_scan(lambda watcher: ct(), "another")
    desk.let_go.set()
    wait(workflow)
    assert workflow.state.ct == "CT opened"
