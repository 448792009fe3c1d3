"""An approved case into Slicer's DICOM database, the real one: a scan that was imported into it, exported beside it as DICOM SEG, and looked up there.

A Slicer that was built without its DICOM module can still be tried, with CTK's part of it built aside: ``FEDLIVER_CTK_DICOM`` names the folder with
``CTKDICOMCorePythonQt.so`` (its libraries on LD_LIBRARY_PATH), ``FEDLIVER_DICOM_UTILS`` Slicer's own DICOMUtils.py.
"""

import importlib.util
import os
import sys
import tempfile
from collections.abc import Generator
from pathlib import Path
from types import ModuleType
from typing import Any

import qt
import slicer
from walk import Pause, Until, Walk, expect

Steps = Generator[Until | Pause, None, str | None]


def dicom_export(walk: Walk) -> Steps:
    """A CT from the database, segmented, approved and exported: one SEG series more in its study, which refers to the CT's series."""
    if not _can_import():
        return "not tried: this Slicer has no DICOM database"
    folder = Path(tempfile.mkdtemp(prefix="fedliver-dicom-"))
    before = getattr(slicer, "dicomDatabase", None)
    database = _open(folder / "database")
    try:
        with walk.pulse.aside():
            _import_scan(folder / "scan")
            node = _load(database)
        slicer.util.selectModule("FedLiverSlicer")
        walk.panel.ui.ctSelector.setCurrentNode(node)
        yield Pause(1.0)
        walk.press("segmentButton")
        yield walk.idle(1200.0)
        walk.press("approveButton")
        yield walk.idle()
        yield Pause(0.3)
        if walk.workflow.state.needs_reason:
            walk.panel.ui.reasonEdit.text = "the walk's own reason"
            walk.panel.ui.reasonEdit.textEdited("the walk's own reason")
            walk.press("approveButton")
            yield walk.idle()
        expect(walk.workflow.state.approved, f"{walk.panel.ui.statusLabel.text} {walk.panel.ui.checklistLabel.text}")
        yield Pause(0.3)
        walk.press("exportButton")
        yield walk.idle(300.0)
        yield Pause(0.5)
        expect(walk.workflow.state.exported, f"not exported: {walk.panel.ui.statusLabel.text}")
        return _looked_up(database, node, walk)
    finally:
        slicer.dicomDatabase = before
        database.closeDatabase()


def _looked_up(database: Any, node: Any, walk: Walk) -> str:
    """What the database says of the new object."""
    import pydicom

    first = node.GetAttribute("DICOM.instanceUIDs").split()[0]
    study, scan = database.instanceValue(first, "0020,000D"), database.instanceValue(first, "0020,000E")
    series = list(database.seriesForStudy(study))
    expect(len(series) == 2 and scan in series, f"the study has {len(series)} series")
    (new,) = [name for name in series if name != scan]
    (file,) = database.filesForSeries(new)
    expect(Path(file).is_file(), "the database's file is not there")
    seg = pydicom.dcmread(file)
    expect((seg.Modality, seg.ReferencedSeriesSequence[0].SeriesInstanceUID) == ("SEG", scan), "it does not refer to the scan's series")
    expect(seg.PatientID == database.instanceValue(first, "0010,0020"), "another patient's")
    labels = [str(segment.SegmentLabel) for segment in seg.SegmentSequence]
    return f"“{walk.panel.ui.statusLabel.text}” Series “{seg.SeriesDescription}” with {labels}, {int(seg.NumberOfFrames)} frames, beside the scan's"


def _can_import() -> bool:
    if importlib.util.find_spec("DICOMLib") is not None:
        return True
    if not (os.environ.get("FEDLIVER_CTK_DICOM") and os.environ.get("FEDLIVER_DICOM_UTILS")):
        return False
    _bring_in(Path(os.environ["FEDLIVER_CTK_DICOM"]), Path(os.environ["FEDLIVER_DICOM_UTILS"]))
    return True


def _bring_in(libraries: Path, utilities: Path) -> None:
    import ctk

    sys.path.append(str(libraries))
    import CTKDICOMCorePythonQt as core

    for name in ("ctkDICOMDatabase", "ctkDICOMIndexer"):
        setattr(ctk, name, getattr(core, name))
    package = ModuleType("DICOMLib")
    specification = importlib.util.spec_from_file_location("DICOMLib.DICOMUtils", utilities)
    package.DICOMUtils = importlib.util.module_from_spec(specification)
    sys.modules["DICOMLib"] = package
    specification.loader.exec_module(package.DICOMUtils)


def _open(folder: Path) -> Any:
    """A database of the walk's own, in the place of Slicer's."""
    import ctk

    folder.mkdir()
    database = ctk.ctkDICOMDatabase()
    database.openDatabase(str(folder / "ctkDICOM.sql"))
    expect(database.isOpen, "the database does not open")
    slicer.dicomDatabase = database
    return database


def _import_scan(folder: Path) -> None:
    from DICOMLib import DICOMUtils

    sys.path.append(str(Path(__file__).resolve().parents[1]))
    from dicom_files import write_series
    from fedliver.phantom import PhantomSettings, generate

    write_series(folder, generate(PhantomSettings(seed=7, spacing_mm=(2.0, 2.0, 4.0)))[0])
    expect(DICOMUtils.importDicom(str(folder), None, True), "the scan was not imported")


def _load(database: Any) -> Any:
    """As Slicer's DICOM module does: the volume, which names its instances in the order of the slices."""
    from fedliver.ct_reader import read_ct
    from fedliver.slicer import scene

    (patient,) = database.patients()
    (study,) = database.studiesForPatient(patient)
    (series,) = database.seriesForStudy(study)
    files = list(database.filesForSeries(series))
    instances = sorted((database.instanceForFile(file) for file in files), key=lambda one: _height(database.instanceValue(one, "0020,0032")))
    node = scene.node_from_volume(read_ct(Path(files[0]).parent).volume, "1: abdomen")
    node.SetAttribute("DICOM.instanceUIDs", " ".join(instances))
    scene.show_in_slices(node)
    slicer.app.processEvents(qt.QEventLoop.AllEvents)
    return node


def _height(position: str) -> float:
    return float(position.split("\\")[2])
