"""From case to case: open the next one of the worklist, and send an approved one to the archive. No Qt."""

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedliver.slicer import panel_events as on
from fedliver.slicer.case_work import CaseWork, Drawn, drawn
from fedliver.slicer.packages_work import PackagesWork
from fedliver.slicer.panel_session import PanelSession
from fedliver.slicer.panel_state import Tone, Work
from fedliver.slicer.panel_view import Control
from fedliver.slicer.site_desk import OpenedCase, SiteDesk, Submission
from fedliver.watch import Watcher

if TYPE_CHECKING:
    from fedliver.ct_reader import Ct
    from fedliver.image import Volume
    from fedliver.slicer.scene import Box

STRATEGIES = ("first-come", "uncertainty", "diversity")
"""In the order of the panel's list."""


class WorklistWork:
    """``strategy``: which of :data:`STRATEGIES` tells the next case. ``opened_ct``: the volume node of a case or scan that was opened, until the face has
    put it into its selector and sets this to None."""

    def __init__(self, session: PanelSession, desk: SiteDesk, packages: PackagesWork, case: CaseWork) -> None:
        self._session, self._desk, self._packages, self._case = session, desk, packages, case
        self._ = session.translated
        self.strategy = STRATEGIES[0]
        self.opened_ct: Any = None
        self._opened_by_us: set[str] = set()

    def choose_strategy(self, number: int) -> None:
        """By its number in :data:`STRATEGIES`."""
        if 0 <= number < len(STRATEGIES):
            self.strategy = STRATEGIES[number]

    def press_next(self) -> None:
        """Open the next case of the worklist; corrections to the one in hand are kept as a draft."""
        if self._session.is_live(Control.NEXT) and self._packages.ensure():
            self._session.guarded(self._start_opening)

    def _start_opening(self) -> None:
        state, case = self._session.state, self._case
        unfinished = bool(state.case) and state.edited and not state.approved and case.segmentation_node is not None
        self._open_next(state.case, case.submission() if unfinished else None)

    def _open_next(self, current: str, draft: Submission | None = None, before: Callable[[], None] = lambda: None) -> None:
        """``before``: done first, in the worker thread."""
        strategy, case = self.strategy, self._case
        ours = case.ct_node is not None and case.ct_node.GetID() in self._opened_by_us
        kept = (case.ct_node, case.segmentation_node) if ours else ()  # it is in the case store, and need not stay in the scene

        def work(watcher: Watcher) -> _Found:
            before()
            return _found(self._desk.open_next(strategy, current, draft, watcher))

        self._session.run(Work.OPEN, work, lambda found: self._show_case(found, kept))

    def _show_case(self, found: "_Found", kept: tuple[Any, ...]) -> Iterator[None]:
        """In steps, each of which the window hardly feels."""
        from fedliver.slicer import scene

        session, case, opened = self._session, self._case, found.opened
        if opened is None:
            session.tell(on.WorkStopped(self._("No other case waits in the worklist."), Tone.INFORMATION), on.WaitingCounted(0))
            return
        case.use_segmentation(None)
        for node in kept:
            if node is not None and node.GetScene() is not None:
                node.GetScene().RemoveNode(node)
        yield
        ct_node = scene.node_from_volume(opened.ct, opened.case)
        ct_node.SetAttribute(scene.CASE_ATTRIBUTE, opened.case)
        self._opened_by_us.add(ct_node.GetID())
        scene.show_in_slices(ct_node)
        self.opened_ct = ct_node
        case.choose_ct(ct_node)
        yield
        if opened.labels is not None:
            yield from self._show_labels(opened, opened.labels, found, ct_node)
        session.tell(on.WorkStopped(""), on.WaitingCounted(opened.waiting))
        session.show_again()

    def _show_labels(self, opened: OpenedCase, labels: "Volume", found: "_Found", ct_node: Any) -> Iterator[None]:
        case, made = self._case, found.drawn
        if made is not None:
            node = case.add_segmentation(made, ct_node, opened.seconds_spent)
        else:
            node = case.add_by_hand(labels, ct_node, self._("Liver, by hand"), found.box, opened.seconds_spent)
        yield
        case.use_segmentation(node)
        if made is not None and not opened.edited:
            case.show_result(node, made)
        case.tell_doubt()

    def open_scan(self, read: Callable[[Watcher], "Ct"], name: str) -> None:
        """Read a scan beside the window, and choose it: for a face whose host has no reader of its own. It is kept at its approval, not before."""
        if self._session.is_live(Control.CT):
            self._session.run(Work.OPEN, read, lambda ct: self._show_scan(ct, name))

    def _show_scan(self, ct: "Ct", name: str) -> None:
        from fedliver.slicer import scene

        node = scene.node_from_volume(ct.volume, name)
        self._case.keep_source(node, (ct.identity.patient, ct.identity.study, ct.identity.series))
        scene.show_in_slices(node)
        self.opened_ct = node
        self._session.tell(on.WorkStopped(""))
        self._case.choose_ct(node)
        if ct.warnings:
            self._session.tell(on.Noticed(" ".join(ct.warnings), Tone.WARNING))
        self._session.show_again()

    def press_exclude(self) -> None:
        """Take the open case out of the worklist, after asking, and open the next one."""
        question = self._("Exclude this case? It leaves the worklist, and neither trains nor judges. “fedliver case include” brings it back.")
        if self._session.is_live(Control.EXCLUDE) and self._session.ask(question):
            self._session.guarded(self._start_excluding)

    def _start_excluding(self) -> None:
        case = self._session.state.case
        self._open_next(case, before=lambda: self._desk.exclude(case))

    # ---- to the archive

    def press_export(self) -> None:
        """The approved case as DICOM SEG into Slicer's DICOM database."""
        if self._session.is_live(Control.EXPORT) and self._packages.ensure() and self._packages.ensure(("highdicom",)):
            self._session.guarded(self._start_exporting)

    def _start_exporting(self) -> None:
        from fedliver.slicer.dicom_database import files_of

        case, files = self._session.state.case, files_of(self._case.ct_node)
        folder = tempfile.TemporaryDirectory(prefix="fedliver-seg-")  # it holds a patient's name for a moment; for the owner's eyes only
        target = Path(folder.name) / "segmentation.dcm"
        self._session.run(Work.EXPORT, lambda watcher: self._desk.export(case, files, target, watcher), lambda instance: self._file_away(folder, instance))

    def _file_away(self, folder: "tempfile.TemporaryDirectory[str]", instance: str) -> None:
        from fedliver.slicer.dicom_database import add_to_database

        with folder:
            add_to_database(Path(folder.name), instance)
        done = self._("The DICOM SEG is in Slicer's DICOM database, beside its scan. Send it to the archive (PACS) from the module DICOM.")
        self._session.tell(on.CaseExported(), on.Noticed(done, Tone.SUCCESS))


@dataclass(frozen=True)
class _Found:
    """An opened case. ``drawn``: None where no teacher has drawn it; ``box``: where its labels lie then."""

    opened: OpenedCase | None
    drawn: Drawn | None = None
    box: "Box | None" = None


def _found(opened: OpenedCase | None) -> _Found:
    """For a worker thread."""
    from fedliver.slicer.scene import drawn_box

    if opened is None or opened.labels is None:
        return _Found(opened)
    if opened.proposal is None:
        return _Found(opened, box=drawn_box(opened.labels))
    return _Found(opened, drawn(opened.proposal, opened.labels))
