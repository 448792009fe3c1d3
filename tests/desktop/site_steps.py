"""What a site does by itself in the desktop: segment ahead, learn, look after the federation's environment; and how an error is told."""

import os
import sys
import tempfile
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import qt
import SimpleITK as sitk
import slicer
from walk import Pause, Until, Walk, expect

Steps = Generator[Until | Pause, None, str | None]
CANCEL_SECONDS = 2.0
FELT_SECONDS = 0.25


def add_patient(store: Any, seed: int, approved: bool) -> str:
    """A generated patient in the walk's own case store; its pseudonym."""
    from fedliver.ct_reader import Ct, SourceIdentity
    from fedliver.phantom import PhantomSettings, generate

    ct, labels = generate(PhantomSettings(seed=seed, spacing_mm=(3.0, 3.0, 5.0), lesions=1))
    case = store.add(Ct(ct, SourceIdentity(f"walk {seed}", "1", str(seed)), ()))
    if approved:
        store.approve(store.attach(case, labels, labels))
    return str(case.pseudonym)


def ahead(walk: Walk) -> Steps:
    """A new case in the worklist is segmented while nobody waits for it, and opens with its outlines."""
    from fedliver.cases.case import State

    slicer.util.selectModule("FedLiverSlicer")
    store = walk.workflow.desk.store()
    with walk.pulse.aside():
        name = add_patient(store, 101, False)
    yield Pause(0.2)
    walk.workflow.refresh()
    yield Until(lambda: walk.panel.ui.aheadCheckBox.visible, 30.0, "the worklist's row")
    walk.press("aheadCheckBox")
    said: list[str] = []

    def note() -> bool:
        words = str(walk.panel.ui.aheadLabel.text)
        if words and words not in said:
            said.append(words)
        return store.case(name).state is State.PRE_SEGMENTED

    yield Until(note, 1200.0, "the case")
    expect(not walk.workflow.working, "the panel was busy with it")
    yield Until(lambda: not walk.workflow.state.ahead.new, 30.0, "the count")
    walk.press("nextButton")
    yield walk.idle(60.0)
    yield Pause(0.5)
    expect(walk.workflow.state.case == name and walk.workflow.case.segmentation_node is not None, "the case opened without its outlines")
    walk.picture("11-ahead")
    walk.press("aheadCheckBox")
    return f"{len(said)} quiet words, the last “{said[-1]}”; opened with {walk.panel.ui.resultLabel.text}"


def adds_scans(walk: Walk) -> Steps:
    """Add the scans of a folder: stopped within two seconds, then again to the end, with one that is damaged among them; no pause that is felt."""
    sys.path.append(str(Path(__file__).resolve().parents[1]))
    from dicom_files import write_series
    from fedliver.image import to_sitk
    from fedliver.phantom import PhantomSettings, generate

    slicer.util.selectModule("FedLiverSlicer")
    workflow, ui = walk.workflow, walk.panel.ui
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sitk.WriteImage(to_sitk(generate(PhantomSettings(seed=105, spacing_mm=(3.0, 3.0, 5.0)))[0]), str(folder / "b.nii.gz"))
        (folder / "c.nii.gz").write_bytes(b"no image")
        if os.environ.get("FEDLIVER_CT"):
            (folder / "a.nii.gz").symlink_to(os.environ["FEDLIVER_CT"])
        write_series(folder / "study", generate(PhantomSettings(seed=106, spacing_mm=(2.0, 2.0, 4.0)))[0], series="1.2.3.106")
        yield Pause(0.5)
        choose_in_dialogue(folder)
        walk.press("addScansButton")
        expect(workflow.working, f"nothing was begun: {ui.statusLabel.text}")
        yield Until(lambda: str(ui.progressLabel.text).startswith("Importing"), 60.0, "the first scan")
        yield Pause(0.3)
        walk.picture("11-adding")
        began, stopped = time.monotonic(), "it was over before it could be stopped"
        if workflow.working:
            walk.press("addScansButton")
            yield walk.idle(30.0)
            stopped = f"stopped within {time.monotonic() - began:.2f} s"
            expect(time.monotonic() - began <= CANCEL_SECONDS, stopped)
        yield Pause(0.5)
        walk.pulse.reset()  # of the whole, without the dialogue: what it covered is drawn anew when it closes
        workflow.adding.add_scans(folder)
        yield walk.idle(300.0)
        pause, busy = walk.pulse.longest(), walk.pulse.busiest()
        yield Until(lambda: not workflow.needs_ticks, 30.0, "the count")
    said = str(ui.statusLabel.text)
    expect("1 was refused (scan" in said and workflow.state.waiting > 0 and ui.nextButton.visible, said)
    expect("c.nii" not in said and folder.name not in said, f"it names a file: {said}")
    walk.picture("11-added")
    expect(busy <= FELT_SECONDS, f"the window was busy for {busy:.2f} s")
    return f"{stopped}; “{said}” {ui.nextButton.text}; longest pause {pause:.3f} s, of it own work {busy:.3f} s"


def choose_in_dialogue(folder: Path) -> None:
    """Choose ``folder`` in the next dialogue for folders that comes up, as a person would who types its name."""

    def choose() -> None:
        dialogue = slicer.app.activeModalWidget()
        if dialogue is None or not dialogue.inherits("QFileDialog"):
            qt.QTimer.singleShot(100, choose)
            return
        slicer.util.findChildren(dialogue, className="QLineEdit")[0].text = str(folder)
        slicer.util.findChildren(dialogue, className="QDialogButtonBox")[0].button(qt.QDialogButtonBox.Open).click()

    qt.QTimer.singleShot(200, choose)


def learn_and_stop(walk: Walk) -> Steps:
    """Learn from the approved cases, and stop: what was learned is kept."""
    store = walk.workflow.desk.store()
    for seed in (102, 103, 104):
        with walk.pulse.aside():
            add_patient(store, seed, True)
        yield Pause(0.1)
    walk.workflow.refresh()
    yield Until(lambda: walk.panel.ui.learnButton.enabled, 30.0, "the learn button")
    walk.panel.ui.learnSection.collapsed = False
    walk.press("learnButton")
    yield Until(lambda: "step" in str(walk.panel.ui.progressLabel.text), 1200.0, "a step of training")
    walk.picture("12-learning", walk.panel.parent)
    learned = str(walk.panel.ui.progressLabel.text)
    walk.press("learnButton")
    yield walk.idle(120.0)
    yield Pause(0.2)
    expect("kept" in str(walk.panel.ui.statusLabel.text), str(walk.panel.ui.statusLabel.text))
    return f"“{learned}”, stopped: “{walk.panel.ui.statusLabel.text}”"


def environment(walk: Walk) -> Steps:
    """The federation's environment is examined in words."""
    if not os.environ.get("FEDLIVER_FEDERATION_PYTHON"):
        return "not tried: FEDLIVER_FEDERATION_PYTHON names no environment"
    walk.panel.ui.federationSection.collapsed = False
    walk.panel.ui.environmentSection.collapsed = False
    walk.press("environmentCheckButton")
    yield walk.idle(310.0)
    yield Pause(0.2)
    words = str(walk.panel.ui.environmentLabel.text)
    expect("is whole" in words, words)
    expect(not walk.panel.ui.environmentRemoveButton.enabled, "it would remove what it did not make")
    return f"“{words}”"


def details_of_an_error(walk: Walk) -> Steps:
    """A volume that is no CT: one sentence, and the details folded away."""
    import numpy as np

    slicer.mrmlScene.Clear(0)
    yield Pause(0.3)
    node = slicer.util.addVolumeFromArray(np.full((40, 64, 64), 3000, np.int16))
    node.SetName("walk's secret")
    slicer.util.selectModule("FedLiverSlicer")
    yield Pause(0.5)
    walk.press("segmentButton")
    yield walk.idle(120.0)
    yield Pause(0.3)
    ui = walk.panel.ui
    expect(ui.detailsSection.visible and ui.detailsSection.collapsed, "the details are not folded away")
    ui.detailsSection.collapsed = False
    yield Pause(0.3)
    walk.picture("13-details", walk.panel.parent)
    expect("secret" not in str(ui.detailsLabel.text), "the details name the volume")
    return f"“{ui.statusLabel.text}”; {len(str(ui.detailsLabel.text).splitlines())} lines of details"
