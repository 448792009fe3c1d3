"""Let the teacher draw the case in hand. No Qt."""

from collections.abc import Iterator
from typing import Any

from fedliver.slicer import panel_events as on
from fedliver.slicer.case_work import CaseWork, Drawn, drawn
from fedliver.slicer.packages_work import PackagesWork
from fedliver.slicer.panel_session import PanelSession
from fedliver.slicer.panel_state import Tone, Work
from fedliver.slicer.panel_view import Control
from fedliver.slicer.site_desk import SiteDesk


class SegmentingWork:
    """The CT in hand to the site's teacher, and what it draws into the scene and in hand."""

    def __init__(self, session: PanelSession, desk: SiteDesk, packages: PackagesWork, case: CaseWork) -> None:
        self._session, self._desk, self._packages, self._case = session, desk, packages, case
        self._ = session.translated

    def press_segment(self) -> None:
        """Auto-segment, or Cancel while work runs."""
        if self._session.working:
            self._session.cancel()
        elif self._session.is_live(Control.SEGMENT) and self._packages.ensure():
            self._session.guarded(self._start)

    def _start(self) -> None:
        from fedliver.slicer.scene import volume_from_node

        node = self._case.ct_node
        ct = volume_from_node(node)
        self._session.run(Work.SEGMENT, lambda watcher: drawn(self._desk.segment(ct, watcher)), lambda made: self._show(made, node))

    def _show(self, made: Drawn, ct_node: Any) -> Iterator[None]:
        """In steps, each of which the window hardly feels."""
        session, case = self._session, self._case
        if ct_node.GetScene() is None or ct_node is not case.ct_node:
            session.tell(on.WorkStopped(self._("The CT was closed or changed meanwhile, so its segmentation was not added."), Tone.WARNING))
            return
        before = case.segmentation_node
        node = case.add_segmentation(made, ct_node)
        yield
        if node.GetScene() is not None:
            case.use_segmentation(node)
            yield
        if node.GetScene() is None:
            session.tell(on.WorkStopped(self._("The new segmentation was removed at once."), Tone.WARNING))
            return
        if before is not None and before.GetScene() is not None:
            case.put_aside(before)
        case.show_result(node, made)
        processor = self._desk.processor()
        if processor is not None:
            session.tell(on.ProcessorKnown(processor))
        case.tell_doubt()
