"""From case to case in the panel: next, draft, effort, DICOM SEG, curves. The real module file, .ui and MRML; a real case store where it says so."""

import sys
import threading
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from seams import TEACHER, Desk, Installed, Link, seams
from test_panel import add_ct, edit, oblique_ct, segment

from dicom_files import write_series
from fedliver.cases.case import State, TeacherProvenance
from fedliver.ct_reader import read_ct
from fedliver.image import Volume
from fedliver.phantom import PhantomSettings, generate
from fedliver.site.progress import ProgressEvent
from fedliver.slicer import panel_events as on
from fedliver.slicer import scene as bridge
from fedliver.slicer.home_desk import HomeDesk
from fedliver.slicer.panel_state import Account, Check, Effort, Lesion, Measurements, Place, Round
from fedliver.slicer.site_desk import Counts, OpenedCase, Proposal


def opened(name: str, seed: int = 0, **more: Any) -> OpenedCase:
    ct = oblique_ct(seed)
    labels = ct.with_array((ct.array > 20).astype(np.uint8))
    return OpenedCase(name, ct, labels, Proposal(labels, 9.0, 0.0, 0.0, TEACHER), **more)


def press(desktop: Any, panel: Any, button: str) -> None:
    getattr(panel.ui, button).click()
    desktop.wait(lambda: not panel.workflow.working)
    desktop.events()


def test_without_a_worklist_its_row_is_not_in_the_way(desktop: Any) -> None:
    panel = desktop.open_panel(**seams())
    assert panel.ui.nextButton.isHidden()
    assert panel.ui.strategyBox.isHidden()


def test_next_case_opens_the_ct_and_its_pre_segmentation_and_counts_the_rest(desktop: Any) -> None:
    desk = Desk(worklist=[opened("C-" + "B" * 16, waiting=1), opened("C-" + "C" * 16, seed=1)])
    panel = desktop.open_panel(**seams(desk=desk))
    assert panel.ui.nextButton.text == "Next case (2 waiting)"
    panel.ui.strategyBox.setCurrentIndex(1)
    press(desktop, panel, "nextButton")
    assert desk.asked_next == [("uncertainty", "", None)]
    node = panel.ui.ctSelector.currentNode()
    assert (node.GetName(), panel._parameterNode.ct) == ("C-" + "B" * 16, node)
    assert panel.workflow.state.case == "C-" + "B" * 16
    np.testing.assert_array_equal(bridge.volume_from_node(node).array, oblique_ct(0).array)
    expected = (oblique_ct(0).array > 20).astype(np.uint8)
    np.testing.assert_array_equal(bridge.labels_from_segmentation(panel.workflow.segmentation_node, node).array, expected)
    assert panel._parameterNode.segmentation is panel.workflow.segmentation_node
    assert panel.ui.nextButton.text == "Next case (1 waiting)"
    assert panel.ui.approveButton.enabled


def test_what_was_corrected_is_kept_as_a_draft_and_leaves_the_scene_with_its_case(desktop: Any) -> None:
    desk = Desk(worklist=[opened("C-" + "B" * 16, waiting=1), opened("C-" + "C" * 16, seed=1)])
    panel = desktop.open_panel(**seams(desk=desk))
    press(desktop, panel, "nextButton")
    first_ct, first = panel.workflow.ct_node, panel.workflow.segmentation_node
    edit(first, first_ct)
    corrected = bridge.labels_from_segmentation(first, first_ct)
    press(desktop, panel, "nextButton")
    _, current, draft = desk.asked_next[1]
    assert (current, draft.case) == ("C-" + "B" * 16, "C-" + "B" * 16)
    np.testing.assert_array_equal(draft.labels.array, corrected.array)
    assert draft.proposal is not None
    assert (first_ct.GetScene(), first.GetScene()) == (None, None)
    assert panel.ui.ctSelector.currentNode().GetName() == "C-" + "C" * 16


def test_a_ct_that_the_user_loaded_stays_in_the_scene_with_its_edits(desktop: Any) -> None:
    ct_node = add_ct()
    desk = Desk(worklist=[opened("C-" + "B" * 16)])
    panel = desktop.open_panel(**seams(desk=desk))
    own = segment(desktop, panel)
    edit(own, ct_node)
    press(desktop, panel, "nextButton")
    assert desk.asked_next == [("first-come", "", None)]
    assert ct_node.GetScene() is desktop.scene
    assert own.GetScene() is desktop.scene
    assert panel.workflow.segmentation_node is not own


def test_a_case_that_nobody_has_segmented_opens_without_outlines_and_can_be_segmented(desktop: Any) -> None:
    desk = Desk(worklist=[OpenedCase("C-" + "B" * 16, oblique_ct())])
    panel = desktop.open_panel(**seams(desk=desk))
    press(desktop, panel, "nextButton")
    assert panel.workflow.segmentation_node is None
    assert panel.ui.segmentButton.enabled
    segment(desktop, panel)
    press(desktop, panel, "approveButton")
    assert desk.submissions[0].case == "C-" + "B" * 16


def test_the_worklist_that_was_emptied_elsewhere_is_told_in_words(desktop: Any) -> None:
    desk = Desk(worklist=[opened("C-" + "B" * 16)])
    panel = desktop.open_panel(**seams(desk=desk))
    desk.worklist.clear()
    press(desktop, panel, "nextButton")
    assert panel.ui.statusLabel.text == "No other case waits in the worklist."
    assert panel.ui.nextButton.isHidden()


def test_a_scan_that_is_no_use_is_excluded_after_asking_and_the_next_one_opens(desktop: Any) -> None:
    desk = Desk(worklist=[opened("C-" + "B" * 16, waiting=1), opened("C-" + "C" * 16, seed=1)])
    panel = desktop.open_panel(**seams(desk=desk))
    assert panel.ui.excludeButton.isHidden()
    press(desktop, panel, "nextButton")
    press(desktop, panel, "excludeButton")
    assert (desk.excluded, len(desktop.questions)) == ([], 1)
    desktop.answers.append(True)
    press(desktop, panel, "excludeButton")
    assert desk.excluded == ["C-" + "B" * 16]
    assert panel.workflow.state.case == "C-" + "C" * 16
    assert desk.asked_next[1][2] is None, "what is excluded leaves no draft"


def test_a_store_that_takes_long_to_count_does_not_hold_the_window_and_its_numbers_arrive_later(desktop: Any) -> None:
    let_go, counted = threading.Event(), threading.Event()

    class Slow(Desk):
        def counts(self, other_than: str = "") -> Counts:
            let_go.wait(20)
            counted.set()
            return Counts(5, 4242)

    panel = desktop.open_panel(**seams(desk=Slow()))
    assert not counted.is_set(), "it waited for the count"
    assert panel.ui.nextButton.isHidden()
    let_go.set()
    panel.workflow._counting._finished.wait(20)
    panel.onFederationTimer()
    assert panel.ui.nextButton.text == "Next case (4242 waiting)"
    assert panel.workflow.state.approved_cases == 5


# ---- the effort


def test_the_time_is_shown_while_correcting_and_the_effort_after_approval(desktop: Any) -> None:
    time = [1000.0]
    add_ct()
    desk = Desk(effort=Effort(75.0, 12.34, 5, 40, 812.0))
    panel = desktop.open_panel(**seams(desk=desk, clock=lambda: time[0]))
    node = segment(desktop, panel)
    for _ in range(2):
        time[0] += 30
        edit(node, panel.workflow.ct_node)
    time[0] += 5000  # lunch
    panel.onFederationTimer()
    assert panel.ui.effortLabel.text == "Time on this case: 3 min"
    press(desktop, panel, "approveButton")
    assert desk.submissions[0].seconds_spent == 60 + 120
    assert panel.ui.effortLabel.text == "Corrected in 70 s: 5 of 40 slices, 12.3 ml changed, 81 cm of contour drawn anew."
    edit(node, panel.workflow.ct_node)
    assert "Corrected" not in panel.ui.effortLabel.text


def test_lesions_are_links_that_bring_the_slice_views_there(desktop: Any) -> None:
    add_ct()
    panel = desktop.open_panel(**seams())
    segment(desktop, panel)
    slice_node = desktop.scene.AddNewNodeByClass("vtkMRMLSliceNode", "Red")
    slice_node.SetOrientation("Axial")
    lesions = (Lesion(12.34, 31.0, (5.0, 6.0, 7.0)), Lesion(0.2, 6.0, (-5.0, 1.0, -30.0)))
    panel.workflow._tell(on.Segmented("Liver", Measurements(1500, 12.54, 3, lesions)))
    assert "Lesion 1: 12.3 ml, 31 mm across" in panel.ui.lesionsLabel.text
    panel.ui.lesionsLabel.linkActivated.emit("lesion:1")
    assert slice_node.GetSliceToRAS().GetElement(2, 3) == -30.0
    panel.ui.lesionsLabel.linkActivated.emit("lesion:99")


def doubtful(case: str = "C-" + "B" * 16) -> OpenedCase:
    from dataclasses import replace

    found = opened(case, waiting=1)
    doubt = found.ct.with_array(np.linspace(0, 1, found.ct.array.size, dtype=np.float32).reshape(found.ct.array.shape))
    places = (Place((1.0, 2.0, 3.0), "liver"), Place((-4.0, 5.0, 60.0), "tumour"))
    return replace(found, proposal=replace(found.proposal, places=places, doubt=doubt))


def test_the_places_where_the_teacher_was_not_sure_are_gone_through_one_by_one(desktop: Any) -> None:
    panel = desktop.open_panel(**seams(desk=Desk(worklist=[doubtful(), opened("C-" + "C" * 16, seed=1)])))
    slice_node = desktop.scene.AddNewNodeByClass("vtkMRMLSliceNode", "Red")
    slice_node.SetOrientation("Axial")
    press(desktop, panel, "nextButton")
    assert panel.ui.lookButton.text == "Next place to look (1 of 2)"
    for height, words in ((3.0, "Place 1 of 2: Is this liver?"), (60.0, "Place 2 of 2: Is this tumour?"), (3.0, "Place 1 of 2: Is this liver?")):
        panel.ui.lookButton.click()
        assert (slice_node.GetSliceToRAS().GetElement(2, 3), panel.ui.statusLabel.text) == (height, words)
    press(desktop, panel, "nextButton")
    assert not panel.ui.lookButton.enabled


def test_the_overlay_follows_the_segmentation_in_hand_and_is_never_taken_for_a_ct(desktop: Any) -> None:
    composite = desktop.scene.AddNewNodeByClass("vtkMRMLSliceCompositeNode", "Red")
    panel = desktop.open_panel(**seams(desk=Desk(worklist=[doubtful(), opened("C-" + "C" * 16, seed=1)])))
    press(desktop, panel, "nextButton")
    listed = panel.ui.ctSelector.count
    panel.ui.doubtCheckBox.checked = True
    assert composite.GetForegroundVolumeID() is not None
    assert panel.ui.ctSelector.count == listed
    panel.ui.doubtCheckBox.checked = False
    assert composite.GetForegroundVolumeID() is None
    panel.ui.doubtCheckBox.checked = True
    press(desktop, panel, "nextButton")
    assert composite.GetForegroundVolumeID() is None, "nothing is known of this one"
    assert not panel.ui.doubtCheckBox.enabled
    desktop.close_panel()
    assert desktop.scene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode") == 1


def test_strokes_can_be_kept_to_soft_tissue_and_a_range_of_the_clinicians_own_stays(desktop: Any) -> None:
    add_ct()
    panel = desktop.open_panel(**seams())
    segment(desktop, panel)
    node = panel.editor._node
    panel.ui.softTissueCheckBox.checked = True
    desktop.events()
    assert (node.GetSourceVolumeIntensityMask(), tuple(node.GetSourceVolumeIntensityMaskRange())) == (True, (-50.0, 250.0))
    panel.ui.softTissueCheckBox.checked = False
    desktop.events()
    assert not node.GetSourceVolumeIntensityMask()
    node.SetSourceVolumeIntensityMaskRange(0.0, 99.0)
    node.SourceVolumeIntensityMaskOn()
    panel.ui.keepInsideCheckBox.checked = False
    desktop.events()
    assert (node.GetSourceVolumeIntensityMask(), tuple(node.GetSourceVolumeIntensityMaskRange())) == (True, (0.0, 99.0))


# ---- the archive


class Database:
    """Stands in for ctkDICOMDatabase, which slicer-core has not: it knows files by instance, and what it was given."""

    isOpen = True  # noqa: N815 (Qt's name)

    def __init__(self, files: dict[str, Path]) -> None:
        self.files = files
        self.takes = True

    def fileForInstance(self, instance: str) -> str:  # noqa: N802
        return str(self.files.get(instance, ""))

    def instanceValue(self, instance: str, tag: str) -> str:  # noqa: N802
        import pydicom

        return str(pydicom.dcmread(self.files[instance], stop_before_pixels=True)[tag.replace(",", "")].value)

    def importDicom(self, folder: str, database: Any, copy: bool) -> bool:  # noqa: N802
        import pydicom

        assert (database, copy) == (None, True), "what lies in a folder that is about to go must be copied"
        for path in sorted(Path(folder).iterdir()) if self.takes else []:
            dataset = pydicom.dcmread(path)
            kept = self.files["keep"] / path.name
            kept.write_bytes(path.read_bytes())
            self.files[str(dataset.SOPInstanceUID)] = kept
        return True


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Database:
    import slicer

    (tmp_path / "database").mkdir()
    made = Database({"keep": tmp_path / "database"})
    library = ModuleType("DICOMLib")
    library.DICOMUtils = ModuleType("DICOMUtils")  # type: ignore[attr-defined]
    library.DICOMUtils.importDicom = made.importDicom  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "DICOMLib", library)
    monkeypatch.setattr(slicer, "dicomDatabase", made, raising=False)
    return made


@pytest.fixture(scope="module")
def patient() -> tuple[Volume, Volume]:
    return generate(PhantomSettings(seed=5, spacing_mm=(4.0, 4.0, 6.0), oblique_degrees=8.0, lesions=2))


def load_from_database(database: Database, ct: Volume, folder: Path) -> Any:
    """What Slicer's DICOM module does when it loads a series: a node that names the instances, in the order of the slices."""
    import pydicom

    instances = []
    for path in write_series(folder, ct, series="1.2.3.4"):
        instance = str(pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID)
        database.files[instance] = path
        instances.append(instance)
    node = bridge.node_from_volume(ct, "2: abdomen")
    node.SetAttribute("DICOM.instanceUIDs", " ".join(instances))
    return node


def test_an_approved_case_goes_into_the_database_as_a_seg_that_reads_back(desktop: Any, database: Database, patient: Any, tmp_path: Path) -> None:
    import highdicom

    ct, labels = patient
    ct_node = load_from_database(database, ct, tmp_path / "ct")
    panel = desktop.open_panel(desk=HomeDesk(tmp_path / "home"), link=Link(), installation=Installed())
    assert "Approve the case first" in panel.ui.exportButton.toolTip
    panel.workflow.choose_segmentation(bridge.segmentation_from_labels(labels, ct_node, "Liver"))
    press(desktop, panel, "approveButton")
    assert panel.ui.exportButton.enabled, panel.ui.statusLabel.text
    press(desktop, panel, "exportButton")
    assert "DICOM database" in panel.ui.statusLabel.text, panel.ui.statusLabel.text
    assert not panel.ui.exportButton.enabled
    (file,) = database.files["keep"].iterdir()
    seg = highdicom.seg.segread(file)
    assert seg.ReferencedSeriesSequence[0].SeriesInstanceUID == "1.2.3.4"
    assert (seg.PatientID, seg.SegmentSequence[0].SegmentAlgorithmType) == ("SECRET-ID", "MANUAL")
    ordered = ct_node.GetAttribute("DICOM.instanceUIDs").split()
    pixels = seg.get_pixels_by_source_instance(ordered, combine_segments=True)
    np.testing.assert_array_equal(pixels, labels.array)
    back = bridge.segmentation_from_labels(labels.with_array(pixels.astype(np.uint8)), ct_node, "read back")
    np.testing.assert_array_equal(bridge.labels_from_segmentation(back, ct_node).array, labels.array)


def test_a_ct_from_elsewhere_or_a_slicer_without_a_database_says_how_to_export(desktop: Any) -> None:
    add_ct()
    panel = desktop.open_panel(**seams())
    segment(desktop, panel)
    press(desktop, panel, "approveButton")
    assert not panel.ui.exportButton.enabled
    assert "fedliver case export" in panel.ui.exportButton.toolTip


def export_ready(desktop: Any, database: Database, tmp_path: Path, **more: Any) -> Any:
    load_from_database(database, oblique_ct(), tmp_path / "ct")
    panel = desktop.open_panel(**seams(**more))
    segment(desktop, panel)
    press(desktop, panel, "approveButton")
    assert panel.ui.exportButton.enabled
    return panel


def test_a_scan_that_was_removed_from_the_database_is_told_in_words(desktop: Any, database: Database, tmp_path: Path) -> None:
    desk = Desk()
    panel = export_ready(desktop, database, tmp_path, desk=desk)
    database.files = {"keep": database.files["keep"]}
    press(desktop, panel, "exportButton")
    assert "not in Slicer's DICOM database any more" in panel.ui.statusLabel.text
    assert desk.exported == []


def test_a_database_that_does_not_take_the_object_is_told_and_it_can_be_tried_again(desktop: Any, database: Database, tmp_path: Path) -> None:
    panel = export_ready(desktop, database, tmp_path)
    database.takes = False
    press(desktop, panel, "exportButton")
    assert "did not take" in panel.ui.statusLabel.text
    assert panel.ui.exportButton.enabled


def test_what_the_export_needs_is_installed_at_the_first_export_only_and_may_be_declined(desktop: Any, database: Database, tmp_path: Path) -> None:
    installation, desk = Installed(also=("highdicom",), agrees=False), Desk()
    panel = export_ready(desktop, database, tmp_path, installation=installation, desk=desk)
    assert installation.asked == 0
    press(desktop, panel, "exportButton")
    assert (installation.asked, desk.exported) == (1, [])
    assert "Nothing was installed" in panel.ui.statusLabel.text


# ---- with a real case store


def draw_tumour_into_the_liver(node: Any, ct_node: Any, labels: Volume) -> None:
    import slicer

    k, j, i = np.argwhere(labels.array == 1)[np.count_nonzero(labels.array == 1) // 2]
    mask = slicer.util.arrayFromSegmentBinaryLabelmap(node, "Tumour", ct_node)
    mask[k, j, i] = 1
    slicer.util.updateSegmentBinaryLabelmapFromArray(mask, node, "Tumour", ct_node)


def test_a_correction_begun_today_is_finished_tomorrow_and_its_effort_is_kept_with_the_case(desktop: Any, patient: Any, tmp_path: Path) -> None:
    ct, labels = patient
    desk = HomeDesk(tmp_path / "home")
    store = desk._open().store()
    write_series(tmp_path / "a", ct)
    other, _ = generate(PhantomSettings(seed=6, spacing_mm=(4.0, 4.0, 6.0)))
    write_series(tmp_path / "b", other, series="1.2.3.2", study="1.2.4")
    case = store.add(read_ct(tmp_path / "a"))
    store.add(read_ct(tmp_path / "b"))
    proposal = labels.with_array(np.where(labels.array > 0, 1, 0).astype(np.uint8))
    store.attach(case, proposal, proposal, TeacherProvenance(name="tiny", version="7", sha256="a" * 64), expected_dice=0.8)
    time = [0.0]
    panel = desktop.open_panel(desk=desk, link=Link(), installation=Installed(), clock=lambda: time[0])

    press(desktop, panel, "nextButton")
    assert panel.workflow.state.case == case.pseudonym
    assert panel.ui.nextButton.text == "Next case (1 waiting)"
    time[0] += 40
    draw_tumour_into_the_liver(panel.workflow.segmentation_node, panel.workflow.ct_node, labels)
    press(desktop, panel, "nextButton")
    assert store.case(case.pseudonym).state is State.IN_CORRECTION
    assert store.case(case.pseudonym).draft.seconds_spent == 40
    assert panel.workflow.segmentation_node is None, "the other case is new"

    press(desktop, panel, "nextButton")
    assert panel.workflow.state.case == case.pseudonym
    time[0] += 25
    press(desktop, panel, "approveButton")
    approval = store.case(case.pseudonym).approval
    assert approval is not None, panel.ui.checklistLabel.text + panel.ui.statusLabel.text
    assert approval.segmentation.seconds_spent == 65
    assert approval.segmentation.expected_dice == 0.8
    assert approval.correction.effort.slices_touched == 1
    assert "1 of " in panel.ui.effortLabel.text
    assert len(store.cases()) == 2, "the opened case is the same case"


def test_a_case_from_a_scene_of_another_site_becomes_a_case_of_this_one(desktop: Any, patient: Any, tmp_path: Path) -> None:
    ct, labels = patient
    desk = HomeDesk(tmp_path / "home")
    ct_node = bridge.node_from_volume(ct, "CT")
    ct_node.SetAttribute(bridge.CASE_ATTRIBUTE, "C-" + "Z" * 16)
    panel = desktop.open_panel(desk=desk, link=Link(), installation=Installed())
    panel.workflow.choose_segmentation(bridge.segmentation_from_labels(labels, ct_node, "Liver"))
    press(desktop, panel, "approveButton")
    (case,) = desk._open().store().cases()
    assert case.state is State.APPROVED
    assert ct_node.GetAttribute(bridge.CASE_ATTRIBUTE) == case.pseudonym


def test_another_ct_under_a_cases_name_is_not_stored_as_that_case(patient: Any, tmp_path: Path) -> None:
    from fedliver.slicer.site_desk import Submission
    from fedliver.watch import Silent

    ct, labels = patient
    desk = HomeDesk(tmp_path / "home")
    store = desk._open().store()
    write_series(tmp_path / "a", ct)
    case = store.add(read_ct(tmp_path / "a"))
    changed = ct.with_array(np.where(labels.array > 0, ct.array + 7, ct.array).astype(np.int16))
    verdict = desk.approve(Submission(ct=changed, labels=labels, case=case.pseudonym), Silent())
    assert verdict.case != case.pseudonym
    assert store.case(case.pseudonym).state is State.NEW


# ---- the curves


def test_show_curves_draws_what_this_site_has_reported(desktop: Any) -> None:
    rounds = [ProgressEvent(phase="training", round=1, rounds=2, step=5, total=10, loss=0.5), ProgressEvent(phase="evaluating", round=1, rounds=2, dice=0.9)]
    link = Link(before=[on.Joined("North")])
    panel = desktop.open_panel(**seams(link=link))
    assert not panel.ui.curvesButton.enabled
    link.rounds = rounds
    panel.workflow.state = panel.workflow.state.__class__()
    panel.workflow.refresh()
    assert panel.ui.curvesButton.enabled
    panel.ui.curvesButton.click()
    chart = desktop.scene.GetFirstNodeByClass("vtkMRMLPlotChartNode")
    assert chart.GetNumberOfPlotSeriesNodes() == 2


# ---- what the federation does


def test_the_connection_is_tested_step_by_step_and_the_step_that_fails_is_named(desktop: Any) -> None:
    link = Link(before=[on.InvitationOpened("North")])
    link.steps = (Check("name", True, "The name is known."), Check("port", False, "Port 443 does not answer: ask your IT whether it is open."))
    panel = desktop.open_panel(**seams(link=link))
    press(desktop, panel, "testButton")
    assert link.asked == ["test"]
    assert panel.ui.connectionLabel.text.count("✓") == 1
    assert "ask your IT" in panel.ui.connectionLabel.text
    assert panel.workflow.state.membership.value == "invited"


def test_without_an_invitation_there_is_no_connection_to_test(desktop: Any) -> None:
    panel = desktop.open_panel(**seams())
    assert panel.ui.testButton.isHidden()


def test_the_ledger_tells_what_left_and_what_came_in(desktop: Any) -> None:
    link = Link(before=[on.Joined("North")])
    panel = desktop.open_panel(**seams(link=link))
    assert panel.ui.ledgerLabel.isHidden()
    link.ledger = Account(2, 3.46, 7.0, 1.234, ("Round 2: an update of 3 cases left, 1.7 MB.",))
    link.news = [on.RoundReported(Round(2, 5))]
    panel.onFederationTimer()
    text = panel.ui.ledgerLabel.text
    assert "2 updates sent (3.5 MB), 7.0 MB received, epsilon 1.23 spent" in text
    assert "an update of 3 cases left" in text
