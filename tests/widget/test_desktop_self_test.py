"""The module's own test class, which runs inside the desktop Slicer, also runs here: so that it does not rot until acceptance."""

from types import SimpleNamespace
from typing import Any

import pytest
from pythonqt import qt
from seams import Desk, seams

from fedliver.slicer import scene as bridge
from fedliver.slicer.home_desk import HomeDesk


@pytest.fixture
def self_test(desktop: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    import slicer

    module = desktop.load_module()

    def select(name: str) -> None:
        assert name == "FedLiverSlicer"
        if desktop.widget is None:  # Slicer enters a module once: selecting the one that is open does nothing
            slicer.modules.FedLiverSlicerWidget = desktop.open_panel(**seams(desk=HomeDesk()))
        desktop.events()

    monkeypatch.setattr(slicer.util, "selectModule", select)
    monkeypatch.setattr(slicer.app, "processEvents", desktop.events, raising=False)
    case = module.FedLiverSlicerTest()
    case.delayDisplay = lambda message: None
    return case


def test_the_self_test_of_the_desktop_passes_on_the_shim(self_test: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    self_test.delayDisplay = said.append
    self_test.setUp()
    self_test.test_CaseGoesThroughTheWorklist()
    assert said.pop().startswith("Corrected in 0 s: 1 of ")
    monkeypatch.setattr("fedliver.slicer.home_desk.HomeDesk", Desk)  # the shipped teacher has its own tests
    monkeypatch.setattr(self_test, "test_CaseGoesThroughTheWorklist", lambda: said.append("the worklist"))
    self_test.runTest()
    assert said[:3] == ["Labels to the scene and back", "The panel follows the scene", "the worklist"]
    assert "ml of liver" in said[3]


def test_the_self_test_fails_when_the_bridge_loses_a_label(self_test: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = bridge.labels_from_segmentation

    def lossy(node: Any, ct_node: Any) -> Any:
        labels = honest(node, ct_node)
        return labels.with_array(labels.array * (labels.array != 2))

    monkeypatch.setattr(bridge, "labels_from_segmentation", lossy)
    with pytest.raises(AssertionError, match="lost in the scene"):
        self_test.test_LabelsSurviveTheScene()


def test_the_sample_data_module_is_offered_a_generated_ct(desktop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    offered: dict[str, Any] = {}

    def register(**source: Any) -> None:
        if not len(source["uris"]) == len(source["fileNames"]) == len(source["nodeNames"]):  # so does Slicer 5.8, and None has no length
            raise ValueError("All fields of sample data source must have the same length")
        offered.update(source)

    logic = SimpleNamespace(registerCustomSampleDataSource=register)
    monkeypatch.setitem(sys.modules, "SampleData", SimpleNamespace(SampleDataLogic=logic))
    desktop.load_module()
    (at_startup,) = desktop.app.at_startup
    at_startup()
    assert offered["category"] == "FedLiver"
    beats: list[str] = []
    heart = qt.QTimer()
    heart.setInterval(1)
    heart.connect("timeout()", lambda: beats.append(str(type(qt.QApplication.activeModalWidget()))))
    heart.start()
    node = offered["customDownloader"](None)
    heart.stop()
    assert len(beats) > 3, "the window stood still while it was made"
    assert all("QProgressDialog" in beat for beat in beats[1:]), "a press could have made a second one"
    assert qt.QApplication.activeModalWidget() is None
    assert bridge.ct_problem(node) == ""
    assert bridge.volume_from_node(node).array.min() == -1024
