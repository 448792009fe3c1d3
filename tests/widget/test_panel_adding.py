"""Scans come into the worklist by the panel: those of a folder, or the one that is loaded; with a real case store where it says so."""

import threading
from pathlib import Path
from typing import Any

import pytest
import SimpleITK as sitk
from hands import add_ct, opened, press
from seams import Desk, Installed, Link, seams

from dicom_files import write_series
from fedliver.cases.case import State
from fedliver.ct_reader import read_ct
from fedliver.errors import Cancelled
from fedliver.image import to_sitk
from fedliver.phantom import PhantomSettings, generate
from fedliver.slicer import scene as bridge
from fedliver.slicer.adding import Beside, add_folder
from fedliver.slicer.home_desk import HomeDesk
from fedliver.slicer.panel_state import Work
from fedliver.slicer.site_desk import Added, Objection
from fedliver.watch import Silent, Watcher, report

COARSE = (8.0, 8.0, 8.0)


def write_nifti(path: Path, seed: int, labels: bool = False) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    ct, drawn = generate(PhantomSettings(seed=seed, spacing_mm=COARSE, lesions=1))
    sitk.WriteImage(to_sitk(ct), str(path))
    if labels:
        sitk.WriteImage(to_sitk(drawn), str(path.parent / "labels.nii.gz"))


@pytest.fixture
def site(tmp_path: Path) -> HomeDesk:
    desk = HomeDesk(tmp_path / "home")
    desk._open()
    return desk


def open_with(desktop: Any, desk: Any) -> Any:
    return desktop.open_panel(desk=desk, link=Link(), installation=Installed())


def counted(desktop: Any, panel: Any) -> None:
    desktop.wait(lambda: not panel.workflow.needs_ticks)
    desktop.events()


def test_a_folder_of_dicom_studies_is_chosen_and_its_scans_wait_in_the_worklist(desktop: Any, site: HomeDesk, tmp_path: Path) -> None:
    folder = tmp_path / "studies"
    for number in (1, 2):
        write_series(folder / str(number), generate(PhantomSettings(seed=number, spacing_mm=COARSE))[0], series=f"1.2.3.{number}", study=f"1.2.4.{number}")
    panel = open_with(desktop, site)
    assert panel.ui.nextButton.isHidden()
    desktop.folder_to_open = str(folder)
    press(desktop, panel, "addScansButton")
    counted(desktop, panel)
    assert panel.ui.statusLabel.text == "2 cases were added to the worklist."
    assert panel.ui.nextButton.text == "Next case (2 waiting)"
    assert [case.state for case in site.store().cases()] == [State.NEW, State.NEW]


def test_what_was_there_already_and_what_was_refused_are_told_apart_and_nobody_is_named(desktop: Any, site: HomeDesk, tmp_path: Path) -> None:
    folder = tmp_path / "MEIER"
    write_nifti(folder / "HANS.nii.gz", 1)
    write_nifti(folder / "JOSEF.nii.gz", 2)
    (folder / "EMMA.nii.gz").write_bytes(b"no image")
    write_series(folder / "dicom", generate(PhantomSettings(seed=4, spacing_mm=COARSE))[0])
    site.store().add(read_ct(folder / "JOSEF.nii.gz"))
    panel = open_with(desktop, site)
    desktop.folder_to_open = str(folder)
    press(desktop, panel, "addScansButton")
    counted(desktop, panel)
    said = panel.ui.statusLabel.text
    assert said.startswith("2 cases were added to the worklist, 1 was there already, 1 was refused (scan 1: This file ")
    assert said.endswith(").")
    assert not any(name in said + panel.ui.detailsLabel.text for name in ("MEIER", "HANS", "JOSEF", "EMMA"))
    assert panel.ui.nextButton.text == "Next case (3 waiting)"


def test_outlines_that_come_along_are_drafts_and_a_folder_of_one_scan_may_be_chosen_itself(desktop: Any, site: HomeDesk, tmp_path: Path) -> None:
    write_nifti(tmp_path / "one" / "ct.nii.gz", 3, labels=True)
    panel = open_with(desktop, site)
    desktop.folder_to_open = str(tmp_path / "one")
    press(desktop, panel, "addScansButton")
    assert panel.ui.statusLabel.text == "1 case was added to the worklist."
    assert [case.state for case in site.store().cases()] == [State.IN_CORRECTION]


def test_loose_files_come_in_beside_a_data_set_and_nothing_comes_twice(site: HomeDesk, tmp_path: Path) -> None:
    write_nifti(tmp_path / "data" / "p1" / "ct.nii.gz", 1, labels=True)
    write_nifti(tmp_path / "data" / "volume-7.nii", 2)
    write_nifti(tmp_path / "data" / "other.nii.gz", 3)
    first = add_folder(site.store(), tmp_path / "data", Silent())
    assert (first.added, first.known, first.refused) == (2, 0, ()), "the data set's layout, and what lies loose"
    again = add_folder(site.store(), tmp_path / "data", Silent())
    assert (again.added, again.known, again.refused) == (0, 2, ())


@pytest.mark.parametrize("made", ["empty", "mr", "gone"])
def test_a_folder_without_a_ct_is_refused_in_words_that_name_no_folder(desktop: Any, site: HomeDesk, tmp_path: Path, made: str) -> None:
    folder = tmp_path / "MEIER^HANS"
    if made != "gone":
        folder.mkdir()
    if made == "mr":
        write_series(folder, generate(PhantomSettings(seed=1, spacing_mm=COARSE))[0], modality="MR")
    panel = open_with(desktop, site)
    desktop.folder_to_open = str(folder)
    press(desktop, panel, "addScansButton")
    said = panel.ui.statusLabel.text
    assert said.startswith("There is no CT in this folder" if made != "gone" else "That folder is not there")
    assert "MEIER" not in said + panel.ui.detailsLabel.text
    assert panel.ui.addScansButton.enabled


def test_who_thinks_better_of_it_at_the_folders_dialogue_changes_nothing(desktop: Any) -> None:
    desk = Desk()
    panel = desktop.open_panel(**seams(desk=desk))
    press(desktop, panel, "addScansButton")
    assert desk.folders == []
    assert panel.workflow.state.work is Work.NONE


def test_adding_shows_how_far_it_is_and_the_same_button_stops_it(desktop: Any) -> None:
    add_ct()
    desk = Desk(held=True)
    panel = desktop.open_panel(**seams(desk=desk))
    desktop.folder_to_open = "/scans"
    panel.ui.addScansButton.click()
    desktop.wait(lambda: panel.ui.progressBar.value == 25)
    assert (panel.ui.addScansButton.text, panel.ui.progressLabel.text) == ("Stop adding", "Importing 2 of 4")
    for dead in ("segmentButton", "addThisButton", "ctSelector"):
        assert not getattr(panel.ui, dead).enabled
        assert "stop it" in getattr(panel.ui, dead).toolTip
    panel.ui.addScansButton.click()
    desktop.wait(lambda: not panel.workflow.working)
    assert panel.ui.statusLabel.text.startswith("Stopped. What was added stays")
    assert (panel.ui.addScansButton.text, panel.ui.addScansButton.enabled) == ("Add scans…", True)


def test_stopping_waits_for_no_scan_and_a_late_one_is_counted(desktop: Any, site: HomeDesk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fedliver.datasets import importing

    reading, go_on = threading.Event(), threading.Event()
    read = importing._read

    def slow(scan: Any) -> Any:
        if scan.name != "1.nii.gz":
            reading.set()
            go_on.wait(60)
        return read(scan)

    monkeypatch.setattr(importing, "_read", slow)
    for seed in (1, 2, 3):
        write_nifti(tmp_path / "data" / f"{seed}.nii.gz", seed)
    panel = open_with(desktop, site)
    desktop.folder_to_open = str(tmp_path / "data")
    panel.ui.addScansButton.click()
    desktop.wait(reading.is_set)
    panel.ui.addScansButton.click()
    desktop.wait(lambda: not panel.workflow.working)
    assert panel.ui.statusLabel.text.startswith("Stopped.")
    desktop.wait(lambda: panel.ui.nextButton.text == "Next case (1 waiting)")
    assert not go_on.is_set(), "it ended, and the first was counted, while the second scan was still being read"
    go_on.set()
    desktop.wait(lambda: panel.ui.nextButton.text == "Next case (2 waiting)")
    assert len(site.store().cases()) == 2, "the third scan was not begun"


def test_what_was_let_go_ends_before_the_next_begins() -> None:
    beside, hold, order = Beside(), threading.Event(), []

    class Stops(Silent):
        def cancelled(self) -> bool:
            return True

    def first(_watcher: Watcher) -> None:
        hold.wait(60)
        order.append("first")

    def second(watcher: Watcher) -> str:
        report(watcher, "second", 0.5)
        order.append("second")
        return "done"

    with pytest.raises(Cancelled):
        beside.run(first, Stops())
    threading.Timer(0.1, hold.set).start()
    assert beside.run(second, Silent()) == "done"
    assert order == ["first", "second"]


def test_closing_the_scene_stops_it_and_what_was_added_is_counted(desktop: Any) -> None:
    desk = Desk(held=True)
    panel = desktop.open_panel(**seams(desk=desk))
    desktop.folder_to_open = "/scans"
    panel.ui.addScansButton.click()
    desktop.wait(desk.began.is_set)
    desk.worklist = [opened("C-" + "B" * 16)]
    desktop.scene.Clear(0)
    desktop.wait(lambda: panel.ui.nextButton.text == "Next case (1 waiting)")
    assert panel.workflow.state.work is Work.NONE


def test_many_refusals_are_told_by_their_reasons(desktop: Any) -> None:
    refused = tuple(Objection(n, n == 5, "This file is damaged." if n < 4 else f"Reason {n}.") for n in range(1, 8))
    desk = Desk(added=Added(0, 3, refused, (Objection(9, False, "Another grid."),)))
    panel = desktop.open_panel(**seams(desk=desk))
    desktop.folder_to_open = "/scans"
    press(desktop, panel, "addScansButton")
    assert panel.ui.statusLabel.text == (
        "No case was added, 3 were there already, 7 were refused (scan 1, scan 2, scan 3: This file is damaged; scan 4: Reason 4; series 5: Reason 5; "
        "and 2 more), outlines that came along were not taken (scan 9: Another grid)."
    )


def test_the_scan_that_is_loaded_becomes_a_case_and_is_then_no_more_to_be_added(desktop: Any, site: HomeDesk) -> None:
    panel = open_with(desktop, site)
    assert not panel.ui.addThisButton.enabled
    assert panel.ui.addThisButton.toolTip == "Choose a CT first."
    node = bridge.node_from_volume(generate(PhantomSettings(seed=1, spacing_mm=COARSE))[0], "CT")
    desktop.events()
    press(desktop, panel, "addThisButton")
    (case,) = site.store().cases()
    assert node.GetAttribute(bridge.CASE_ATTRIBUTE) == panel.workflow.state.case == case.pseudonym
    assert panel.ui.statusLabel.text == "This scan is a case of the worklist now."
    assert not panel.ui.addThisButton.enabled
    assert "already" in panel.ui.addThisButton.toolTip
    copy = bridge.node_from_volume(generate(PhantomSettings(seed=1, spacing_mm=COARSE))[0], "the same")
    panel.ui.ctSelector.setCurrentNode(copy)
    desktop.events()
    press(desktop, panel, "addThisButton")
    assert panel.ui.statusLabel.text == "This scan was a case on this computer already."
    assert len(site.store().cases()) == 1


def test_a_loaded_file_and_the_same_file_of_a_folder_are_one_case(desktop: Any, site: HomeDesk, tmp_path: Path) -> None:
    write_nifti(tmp_path / "data" / "a.nii.gz", 1)
    panel = open_with(desktop, site)
    bridge.node_from_volume(generate(PhantomSettings(seed=1, spacing_mm=COARSE, lesions=1))[0], "CT")
    desktop.events()
    press(desktop, panel, "addThisButton")
    desktop.folder_to_open = str(tmp_path / "data")
    press(desktop, panel, "addScansButton")
    assert panel.ui.statusLabel.text == "No case was added, 1 was there already."
