"""An approved case as DICOM SEG into Slicer's DICOM database, from the panel."""

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hands import add_ct, oblique_ct, press, segment
from seams import Desk, Installed, Link, seams

from dicom_files import write_series
from fedliver.image import Volume
from fedliver.slicer import scene as bridge
from fedliver.slicer.home_desk import HomeDesk


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
    panel.workflow.case.choose_segmentation(bridge.segmentation_from_labels(labels, ct_node, "Liver"))
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
