"""Scans into the worklist by the panel: those of a folder, or the one that is loaded. No Qt."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from fedliver.slicer import panel_events as on
from fedliver.slicer.case_work import CaseWork
from fedliver.slicer.packages_work import PackagesWork
from fedliver.slicer.panel_session import Finish, PanelSession
from fedliver.slicer.panel_state import Tone, Work
from fedliver.slicer.panel_view import Control
from fedliver.slicer.site_desk import Added, AddedScan, Objection, SiteDesk
from fedliver.slicer.worklist_counts import WorklistCounts
from fedliver.watch import Watcher

_REASONS = 3  # in one sentence


class AddingWork:
    """Adds scans, says what became of them, and has the worklist counted anew, however it ended."""

    def __init__(self, session: PanelSession, desk: SiteDesk, packages: PackagesWork, case: CaseWork, counts: WorklistCounts) -> None:
        self._session, self._desk, self._packages, self._case, self._counts = session, desk, packages, case, counts
        self._ = session.translated

    def press_add_scans(self, choose: Callable[[], Path | None]) -> None:
        """Ask for a folder and add its scans, or stop adding. ``choose``: None where the user thinks better of it."""
        if self._session.state.work is Work.ADD:
            self._session.cancel()
        elif self._session.is_live(Control.ADD_SCANS) and self._packages.ensure():
            folder = choose()
            if folder is not None:
                self.add_scans(folder)

    def add_scans(self, folder: Path) -> None:
        """Add the scans of ``folder`` to the worklist."""
        if self._session.is_live(Control.ADD_SCANS):
            self._run(lambda watcher: self._desk.add_scans(folder, watcher), self._show_added)

    def press_add_this(self) -> None:
        """Make the CT on show a case of the worklist."""
        if self._session.is_live(Control.ADD_THIS) and self._packages.ensure():
            self._session.guarded(self._start_adding_this)

    def _start_adding_this(self) -> None:
        from fedliver.slicer.scene import volume_from_node

        node, ct, source = self._case.ct_node, volume_from_node(self._case.ct_node), self._case.source
        self._run(lambda watcher: self._desk.add_scan(ct, source, watcher), lambda added: self._show_added_scan(added, node))

    def _run(self, task: Callable[[Watcher], Any], finish: Finish) -> None:
        stopped = self._("Stopped. What was added stays, and the scan that was being read may still come in; the same folder again adds the rest.")
        self._session.run(Work.ADD, task, finish, stopped=stopped, ended=self._count)

    def _count(self) -> None:
        """What is in the worklist: at once, and again when a scan that was being read has come in."""
        self._counts.count()
        self._session.look_aside("added", lambda _watcher: self._desk.settle_adding(), lambda _: self._counts.count(), looks=0)

    def _show_added_scan(self, added: AddedScan, node: Any) -> None:
        from fedliver.slicer.scene import CASE_ATTRIBUTE

        if node.GetScene() is not None:
            node.SetAttribute(CASE_ATTRIBUTE, added.case)
            self._case.choose_ct(self._case.ct_node)
        said = self._("This scan was a case on this computer already.") if added.known else self._("This scan is a case of the worklist now.")
        self._session.tell(on.WorkStopped(said, Tone.INFORMATION if added.known else Tone.SUCCESS))

    def _show_added(self, added: Added) -> None:
        clean = not (added.refused or added.without_outlines)
        self._session.tell(on.WorkStopped(self._added_in_words(added), Tone.SUCCESS if clean else Tone.WARNING))

    def _added_in_words(self, added: Added) -> str:
        _ = self._
        if added.added == 0:
            parts = [_("No case was added")]
        elif added.added == 1:
            parts = [_("1 case was added to the worklist")]
        else:
            parts = [_("{count} cases were added to the worklist").format(count=added.added)]
        if added.known:
            parts.append(_("1 was there already") if added.known == 1 else _("{count} were there already").format(count=added.known))
        if added.refused:
            said = _("1 was refused ({reasons})") if len(added.refused) == 1 else _("{count} were refused ({reasons})")
            parts.append(said.format(count=len(added.refused), reasons=self._reasons(added.refused)))
        if added.without_outlines:
            parts.append(_("outlines that came along were not taken ({reasons})").format(reasons=self._reasons(added.without_outlines)))
        return ", ".join(parts) + "."

    def _reasons(self, objections: tuple[Objection, ...]) -> str:
        """Which scans, and why; scans of one reason together."""
        scans: dict[str, list[str]] = {}
        for one in objections:
            name = self._("series {number}") if one.is_series else self._("scan {number}")
            scans.setdefault(one.sentence.rstrip("."), []).append(name.format(number=one.number))
        said = [f"{', '.join(names)}: {why}" for why, names in list(scans.items())[:_REASONS]]
        more = sum(len(names) for names in list(scans.values())[_REASONS:])
        return "; ".join([*said, self._("and {count} more").format(count=more)] if more else said)
