"""From case to case: open the next one of the worklist, and send an approved one to the archive. No Qt."""

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedliver.slicer import panel_events as on
from fedliver.slicer.case_work import CaseWork, Drawn, drawn, measurements_of
from fedliver.slicer.panel_state import Tone, Work
from fedliver.slicer.panel_view import Control
from fedliver.slicer.remembered import Remembered, remember
from fedliver.slicer.site_desk import OpenedCase
from fedliver.watch import Watcher

if TYPE_CHECKING:
    from fedliver.ct_reader import Ct
    from fedliver.image import Volume
    from fedliver.slicer.scene import Box

STRATEGIES = ("first-come", "uncertainty", "diversity")
"""In the order of the panel's list."""


class WorklistWork(CaseWork):
    """See :class:`~fedliver.slicer.panel_work.PanelWork` for the parameters.

    ``opened_ct``: the volume node of a case that was opened and that the panel has not put into its selector yet.
    """

    strategy = STRATEGIES[0]
    opened_ct: Any = None

    def __init__(self, *seams: Any, **options: Any) -> None:
        super().__init__(*seams, **options)
        self._opened_by_us: set[str] = set()

    def choose_strategy(self, number: int) -> None:
        """Which of :data:`STRATEGIES` tells the next case."""
        if 0 <= number < len(STRATEGIES):
            self.strategy = STRATEGIES[number]

    def press_next(self) -> None:
        if self.is_live(Control.NEXT) and self._install_if_needed():
            self._guarded(self._start_opening)

    def _start_opening(self) -> None:
        state, strategy = self.state, self.strategy
        unfinished = bool(state.case) and state.edited and not state.approved and self.segmentation_node is not None
        draft = self._submission() if unfinished else None
        ours = self.ct_node is not None and self.ct_node.GetID() in self._opened_by_us
        kept = (self.ct_node, self.segmentation_node) if ours else ()  # it is in the case store, and need not stay in the scene
        work = lambda watcher: _found(self._desk.open_next(strategy, state.case, draft, watcher))  # noqa: E731
        self._run(Work.OPEN, work, lambda found: self._show_case(found, kept))

    def _show_case(self, found: "_Found", kept: tuple[Any, ...]) -> Iterator[None]:
        """In steps, each of which the window hardly feels."""
        from fedliver.slicer import scene

        opened = found.opened
        if opened is None:
            self._tell(on.WorkStopped(self._("No other case waits in the worklist."), Tone.INFORMATION), on.WaitingCounted(0))
            return
        self._use_segmentation(None)
        for node in kept:
            if node is not None and node.GetScene() is not None:
                node.GetScene().RemoveNode(node)
        yield
        ct_node = scene.node_from_volume(opened.ct, opened.case)
        ct_node.SetAttribute(scene.CASE_ATTRIBUTE, opened.case)
        self._opened_by_us.add(ct_node.GetID())
        scene.show_in_slices(ct_node)
        self.opened_ct = ct_node
        self.choose_ct(ct_node)
        yield
        if opened.labels is not None:
            yield from self._show_labels(opened, opened.labels, found, ct_node)
        self._tell(on.WorkStopped(""), on.WaitingCounted(opened.waiting))
        self._changed()

    def _show_labels(self, opened: OpenedCase, labels: "Volume", found: "_Found", ct_node: Any) -> Iterator[None]:
        from fedliver.slicer import scene

        made = found.drawn
        if made is not None:
            node = self._add_segmentation(made, ct_node, opened.seconds_spent)
        else:
            node = scene.segmentation_from_labels(labels, ct_node, self._("Liver, by hand"), box=found.box)
            self._time.begin(node.GetID(), opened.seconds_spent)
        yield
        self._use_segmentation(node)
        if made is not None and not opened.edited:
            self._untouched.add(node.GetID())
            self._tell(on.Segmented(node.GetName(), measurements_of(made.proposal)))
            remember(node, Remembered(made.digest, measurements_of(made.proposal)))
        self._tell_doubt()

    def open_scan(self, read: Callable[[Watcher], "Ct"], name: str) -> None:
        """Read a scan beside the window, and choose it: for a face whose host has no reader of its own. It is kept at its approval, not before."""
        if self.is_live(Control.CT):
            self._run(Work.OPEN, read, lambda ct: self._show_scan(ct, name))

    def _show_scan(self, ct: "Ct", name: str) -> None:
        from fedliver.slicer import scene

        node = scene.node_from_volume(ct.volume, name)
        self._sources[node.GetID()] = (ct.identity.patient, ct.identity.study, ct.identity.series)
        scene.show_in_slices(node)
        self.opened_ct = node
        self._tell(on.WorkStopped(""))
        self.choose_ct(node)
        if ct.warnings:
            self._tell(on.Noticed(" ".join(ct.warnings), Tone.WARNING))
        self._changed()

    def press_exclude(self) -> None:
        """Take the open case out of the worklist, after asking, and open the next one."""
        question = self._("Exclude this case? It leaves the worklist, and neither trains nor judges. “fedliver case include” brings it back.")
        if self.is_live(Control.EXCLUDE) and self._ask(question):
            self._guarded(self._start_excluding)

    def _start_excluding(self) -> None:
        case, strategy = self.state.case, self.strategy
        ours = self.ct_node is not None and self.ct_node.GetID() in self._opened_by_us
        kept = (self.ct_node, self.segmentation_node) if ours else ()

        def work(watcher: Any) -> _Found:
            self._desk.exclude(case)
            return _found(self._desk.open_next(strategy, case, None, watcher))

        self._run(Work.OPEN, work, lambda found: self._show_case(found, kept))

    # ---- to the archive

    def press_export(self) -> None:
        if self.is_live(Control.EXPORT) and self._install_if_needed() and self._install_if_needed(("highdicom",)):
            self._guarded(self._start_exporting)

    def _start_exporting(self) -> None:
        from fedliver.slicer.dicom_database import files_of

        case, files = self.state.case, files_of(self.ct_node)
        folder = tempfile.TemporaryDirectory(prefix="fedliver-seg-")  # it holds a patient's name for a moment; for the owner's eyes only
        target = Path(folder.name) / "segmentation.dcm"
        self._run(Work.EXPORT, lambda watcher: self._desk.export(case, files, target, watcher), lambda instance: self._file_away(folder, instance))

    def _file_away(self, folder: "tempfile.TemporaryDirectory[str]", instance: str) -> None:
        from fedliver.slicer.dicom_database import add_to_database

        with folder:
            add_to_database(Path(folder.name), instance)
        done = self._("The DICOM SEG is in Slicer's DICOM database, beside its scan. Send it to the archive (PACS) from the module DICOM.")
        self._tell(on.CaseExported(), on.Noticed(done, Tone.SUCCESS))


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
