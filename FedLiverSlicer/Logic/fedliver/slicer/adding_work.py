"""Scans into the worklist by the panel: those of a folder, or the one that is loaded. No Qt."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from fedliver.slicer import panel_events as on
from fedliver.slicer.ahead_work import AheadWork
from fedliver.slicer.panel_state import Tone, Work
from fedliver.slicer.panel_view import Control
from fedliver.slicer.site_desk import Added, AddedScan, Objection

_REASONS = 3  # in one sentence


class AddingWork(AheadWork):
    """See :class:`~fedliver.slicer.panel_work.PanelWork` for the parameters."""

    def press_add_scans(self, choose: Callable[[], Path | None]) -> None:
        """Ask for a folder and add its scans, or stop adding. ``choose``: None where the user thinks better of it."""
        if self.state.work is Work.ADD:
            self._cancel()
        elif self.is_live(Control.ADD_SCANS) and self._install_if_needed():
            folder = choose()
            if folder is not None:
                self.add_scans(folder)

    def add_scans(self, folder: Path) -> None:
        """Add the scans of ``folder`` to the worklist."""
        if self.is_live(Control.ADD_SCANS):
            self._run(Work.ADD, lambda watcher: self._desk.add_scans(folder, watcher), self._show_added)

    def press_add_this(self) -> None:
        """Make the CT on show a case of the worklist."""
        if self.is_live(Control.ADD_THIS) and self._install_if_needed():
            self._guarded(self._start_adding_this)

    def _start_adding_this(self) -> None:
        from fedliver.slicer.scene import source_identity, volume_from_node

        node, ct = self.ct_node, volume_from_node(self.ct_node)
        source = self._sources.get(node.GetID()) or source_identity(node)
        self._run(Work.ADD, lambda watcher: self._desk.add_scan(ct, source, watcher), lambda added: self._show_added_scan(added, node))

    def _show_added_scan(self, added: AddedScan, node: Any) -> None:
        from fedliver.slicer.scene import CASE_ATTRIBUTE

        if node.GetScene() is not None:
            node.SetAttribute(CASE_ATTRIBUTE, added.case)
            self.choose_ct(self.ct_node)
        said = self._("This scan was a case on this computer already.") if added.known else self._("This scan is a case of the worklist now.")
        self._tell(on.WorkStopped(said, Tone.INFORMATION if added.known else Tone.SUCCESS))

    def _show_added(self, added: Added) -> None:
        clean = not (added.refused or added.without_outlines)
        self._tell(on.WorkStopped(self._added_in_words(added), Tone.SUCCESS if clean else Tone.WARNING))

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

    def _stopped_in_words(self) -> str:
        if self.state.work is Work.ADD:
            return self._("Stopped. What was added stays, and the scan that was being read may still come in; the same folder again adds the rest.")
        return super()._stopped_in_words()

    # ---- however it ended, what is in the worklist is counted anew

    def tick(self) -> None:
        was = self.state.work
        super().tick()
        if was is Work.ADD and not self.state.busy:
            self._count_added()

    def _abandon(self) -> None:
        was = self.state.work
        super()._abandon()
        if was is Work.ADD:
            self._count_added()

    def _count_added(self) -> None:
        """At once, and again when a scan that was being read has come in."""
        self._count()
        self._look_aside("added", lambda _watcher: self._desk.settle_adding(), lambda _: self._count(), looks=0)
