"""The clinician's work as one object: what each press of a button does to the scene, the site and the panel's state. No Qt.

The panel calls a method per control, shows :attr:`Workflow.state` whenever ``changed`` is called, and calls :meth:`Workflow.tick`
from a fast timer while work runs, and :meth:`Workflow.poll_federation` from a slow one.
"""

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fedliver.errors import Cancelled, FedLiverError
from fedliver.slicer import panel_events as on
from fedliver.slicer.background import POLL_MILLISECONDS, Job, ThreadJob
from fedliver.slicer.edits import EditWatch
from fedliver.slicer.federation_link import FederationLink
from fedliver.slicer.installation import Installation
from fedliver.slicer.panel_events import advance
from fedliver.slicer.panel_state import Measurements, Membership, PanelState, Requirements, Tone, Work
from fedliver.slicer.panel_view import Control, PanelView, Translate, view
from fedliver.slicer.site_desk import Comparison, Proposal, SiteDesk, Submission, Verdict

_REDRAW_SECONDS = 0.5
_LOG = logging.getLogger("fedliver")


class Workflow:
    """Parameters
    ----------
    desk, link, installation:
        The site, the federation, and what must be installed first.
    changed:
        Called after every change of the state or of the chosen nodes.
    ask:
        Shows a question with OK and Cancel; True for OK.
    start_job:
        Runs work beside the window; a seam for tests.
    translate:
        ``slicer.i18n.translate``: context and text to text.
    """

    def __init__(
        self,
        desk: SiteDesk,
        link: FederationLink,
        installation: Installation,
        *,
        changed: Callable[[], None] = lambda: None,
        ask: Callable[[str], bool] = lambda question: False,
        start_job: Callable[[Callable[[Any], Any]], Job[Any]] = ThreadJob,
        clock: Callable[[], float] = time.monotonic,
        translate: Callable[[str, str], str] = lambda context, text: text,
    ) -> None:
        self.state = PanelState()
        self.ct_node: Any = None
        self.segmentation_node: Any = None
        self._desk, self._link, self._installation = desk, link, installation
        self._changed, self._ask, self._start_job, self._clock = changed, ask, start_job, clock
        self._: Translate = lambda text: translate("slicer.workflow", text)
        self._of_view: Translate = lambda text: translate("slicer.panel_view", text)
        self._job: Job[Any] | None = None
        self._finish: Callable[[Any], None] = lambda result: None
        self._proposals: dict[str, Proposal] = {}
        self._drawn_at: dict[str, float] = {}
        self._untouched: set[str] = set()
        self._edits = EditWatch(self._on_edited)
        self._candidate: Path | None = None

    # ---- what the panel shows

    @property
    def view(self) -> PanelView:
        return view(self.state, self._of_view)

    def is_live(self, control: Control) -> bool:
        return self.view.controls[control].live

    tick_milliseconds = POLL_MILLISECONDS
    """How often :meth:`tick` wants to be called while :attr:`working`."""

    @property
    def working(self) -> bool:
        return self._job is not None

    def refresh(self) -> None:
        """Look at what may have changed outside the panel: what is installed, the teacher, the cases, the federation."""
        missing = self._installation.missing().packages
        self._tell(on.RequirementsKnown(Requirements.MISSING if missing else Requirements.READY))
        if not missing:
            self._guarded(self._look_at_the_site)

    def _look_at_the_site(self) -> None:
        self._tell(on.TeacherKnown(self._desk.teacher_name()), on.ApprovedCasesCounted(self._desk.approved_cases()))
        if self.state.membership is Membership.OUTSIDE and self._link.available():
            self._tell(*self._link.resume())

    # ---- the case

    def choose_ct(self, node: Any) -> None:
        from fedliver.slicer.scene import ct_problem

        if node is not self.ct_node:
            self.ct_node = node
            if self.segmentation_node is None or not self._belongs(self.segmentation_node, node):
                self._use_segmentation(self._newest_of(node))
        self._tell(on.CtSelected(node.GetName() if node is not None else "", ct_problem(node)))

    def choose_segmentation(self, node: Any) -> None:
        """Go on with a segmentation that is in the scene, for example after the scene was reopened."""
        if node is not self.segmentation_node:
            self._use_segmentation(node)

    def take_up(self, ct_node: Any, segmentation: Any) -> None:
        """Go on where a scene's parameters say. Another CT's segmentation is not taken over, unless it was chosen for this very CT."""
        same_ct = ct_node is self.ct_node
        self.choose_ct(ct_node)
        if segmentation is not None and (same_ct or self._belongs(segmentation, ct_node)):
            self.choose_segmentation(segmentation)

    def press_segment(self) -> None:
        """Auto-segment, or Cancel while work runs."""
        if self.working:
            self._cancel()
        elif self.is_live(Control.SEGMENT) and self._install_if_needed():
            self._guarded(self._start_segmenting)

    def _start_segmenting(self) -> None:
        from fedliver.slicer.scene import volume_from_node

        ct, node = volume_from_node(self.ct_node), self.ct_node
        self._run(Work.SEGMENT, lambda watcher: self._desk.segment(ct, watcher), lambda proposal: self._show_proposal(proposal, node))

    def _show_proposal(self, proposal: Proposal, ct_node: Any) -> None:
        from fedliver.slicer import scene

        if ct_node.GetScene() is None or ct_node is not self.ct_node:
            self._tell(on.WorkStopped(self._("The CT was closed or changed meanwhile, so its segmentation was not added."), Tone.WARNING))
            return
        before = self.segmentation_node
        node = scene.segmentation_from_labels(proposal.labels, ct_node, scene.segmentation_name(str(proposal.teacher)))
        node.SetAttribute(scene.TEACHER_ATTRIBUTE, str(proposal.teacher))
        node.SetAttribute(scene.TEACHER_HASH_ATTRIBUTE, proposal.teacher.sha256)
        if before is not None and before.GetID() in self._untouched:
            self._use_segmentation(None)
            before.GetScene().RemoveNode(before)
        elif before is not None and before.GetDisplayNode() is not None:
            before.GetDisplayNode().SetVisibility(False)
        self._use_segmentation(node)
        identifier = node.GetID()
        self._proposals[identifier], self._drawn_at[identifier] = proposal, self._clock()
        self._untouched.add(identifier)
        self._tell(on.Segmented(node.GetName(), Measurements(proposal.liver_ml, proposal.tumour_ml, proposal.seconds)))

    def show_in_3d(self, visible: bool) -> None:
        from fedliver.slicer import scene

        if self.segmentation_node is not None:
            scene.show_in_3d(self.segmentation_node, visible)

    def write_reason(self, reason: str) -> None:
        self._tell(on.OverrideReasonWritten(reason))

    def press_approve(self) -> None:
        if self.is_live(Control.APPROVE) and self._install_if_needed():
            self._guarded(self._start_approving)

    def _start_approving(self) -> None:
        from fedliver.slicer.scene import labels_from_segmentation, source_identity, volume_from_node

        node = self.segmentation_node
        drawn_at = self._drawn_at.get(node.GetID())
        submission = Submission(
            ct=volume_from_node(self.ct_node),
            labels=labels_from_segmentation(node, self.ct_node),
            source=source_identity(self.ct_node),
            proposal=self._proposals.get(node.GetID()),
            seconds_spent=None if drawn_at is None else self._clock() - drawn_at,
            reason=self.state.override_reason,
        )
        self._untouched.discard(node.GetID())
        self._run(Work.APPROVE, lambda watcher: self._desk.approve(submission, watcher), self._show_verdict)

    def _show_verdict(self, verdict: Verdict) -> None:
        self._tell(on.CaseChecked(verdict.checks, verdict.approved_cases))

    # ---- the federation

    def open_invitation(self, path: Path) -> None:
        if self.is_live(Control.INVITATION) and self._install_if_needed():
            self._guarded(lambda: self._link.enrol(path))

    def opt_in(self, agreed: bool) -> None:
        self._tell(on.OptInChanged(agreed))

    def press_join(self) -> None:
        if not self.is_live(Control.JOIN) or self.working:
            return
        if self._link.environment_ready():
            self._guarded(self._join)
        elif self._ask(self._("The federation needs a Python environment of its own in your FedLiver folder (about 1 GB). Make it now?")):
            self._run(Work.INSTALL, self._make_environment, lambda _result: self._after_environment())
        else:
            self._tell(on.Noticed(self._("Not joined: the federation's environment was not installed.")))

    def _make_environment(self, watcher: Any) -> None:
        from fedliver.site.environment import create_environment

        lines = iter(range(1, 10_000))
        create_environment(self._link.home, show=lambda line: watcher.report(line[:80], min(0.95, next(lines) / 120)))

    def _after_environment(self) -> None:
        self._tell(on.Installed())
        self._guarded(self._join)

    def _join(self) -> None:
        self._link.join()
        self._tell(on.JoinStarted())

    def press_leave(self) -> None:
        if self.is_live(Control.LEAVE):
            self._guarded(self._leave)

    def _leave(self) -> None:
        self._link.leave()
        self._tell(on.LeaveStarted())

    def poll_federation(self) -> None:
        """What a slow timer calls. Costs a few file looks; does nothing before the packages are installed."""
        if self.state.requirements is Requirements.READY and self._link.available():
            self._guarded(self._look_at_the_federation)

    def _look_at_the_federation(self) -> None:
        self._tell(*self._link.poll())
        candidate = self._link.newest_candidate() if self.state.membership is not Membership.OUTSIDE else None
        if candidate is not None and not self._desk.knows(candidate):
            self._candidate = candidate
            self._tell(on.TeacherOffered(f"{self.state.federation}, {candidate.name.replace('-', ' ')}"))

    def press_adopt(self) -> None:
        candidate = self._candidate
        if candidate is not None and self.is_live(Control.ADOPT):
            self._run(Work.COMPARE, lambda watcher: self._desk.compare(candidate, watcher), self._show_comparison)

    def _show_comparison(self, comparison: Comparison) -> None:
        if comparison.current_dice is not None and comparison.candidate_dice is not None:
            self._tell(on.TeacherCompared(comparison.current_dice, comparison.candidate_dice, comparison.adopted))
            self._tell(on.Noticed(comparison.sentence, Tone.SUCCESS if comparison.adopted else Tone.WARNING))
        else:
            self._tell(on.WorkStopped(comparison.sentence, Tone.WARNING))
        self._tell(on.TeacherKnown(self._desk.teacher_name()))

    def press_keep(self) -> None:
        self._candidate = None
        self._tell(on.TeacherKept())

    # ---- time, and the end

    def tick(self) -> None:
        """What a fast timer calls while :attr:`working`: shows progress, and takes the result when it is there."""
        job = self._job
        if job is None:
            return
        snapshot = job.poll()
        if not snapshot.finished:
            self._show_progress(snapshot.phase, snapshot.fraction)
            return
        self._job = None
        if snapshot.error is not None:
            self._tell(on.WorkStopped(*self._in_words(snapshot.error)))
        else:
            self._guarded(lambda: self._finish(snapshot.result))

    def _show_progress(self, phase: str, fraction: float) -> None:
        """Some forty looks a second are for the worker's sake; the panel is redrawn when there is something new to see."""
        shown, now = self.state.progress, self._clock()
        if (phase, fraction) != (shown.phase, shown.fraction) or now - shown.now >= _REDRAW_SECONDS:
            self._tell(on.WorkProgressed(phase, fraction, now))

    def scene_closed(self) -> None:
        """Forget every node. What runs is asked to stop, and its result is not looked at."""
        self._abandon()
        self._use_segmentation(None)
        self.ct_node = None
        self._proposals.clear()
        self._drawn_at.clear()
        self._untouched.clear()
        self._tell(on.SceneClosed())

    def close(self) -> None:
        """The panel goes away: nothing of ours may call it any more. A joined site stays joined, it does not need the panel."""
        self._changed = lambda: None
        self._abandon()
        self._edits.follow(None)

    def _cancel(self) -> None:
        if self._job is not None:
            self._job.cancel()
            self._tell(on.CancelRequested())

    def _abandon(self) -> None:
        if self._job is not None:
            self._job.cancel()
            self._job = None

    def _run(self, work: Work, task: Callable[[Any], Any], finish: Callable[[Any], None]) -> None:
        self._tell(on.WorkStarted(work, self._clock()))
        self._finish = finish
        self._job = self._start_job(task)
        self._changed()

    def _install_if_needed(self) -> bool:
        if self.state.requirements is Requirements.READY:
            return True
        # Slicer's installers let the window live meanwhile: while the panel is busy, no button can start a second installation.
        self._tell(on.WorkStarted(Work.INSTALL, self._clock()), on.WorkProgressed(self._("Installing"), 0.0, self._clock()))
        try:
            installed = self._installation.ensure(self._)
        except FedLiverError as error:
            self._tell(on.WorkStopped(error.sentence))
            return False
        if not installed:
            declined = self._("Nothing was installed. You can outline by hand with Slicer's Segment Editor, or press Auto-segment again to install.")
            self._tell(on.WorkStopped(declined, Tone.INFORMATION))
            return False
        self._tell(on.Installed())
        self.refresh()
        return True

    def _guarded(self, act: Callable[[], None]) -> None:
        """Whatever goes wrong becomes a sentence in the panel: an exception in a Qt slot would only reach the Python console."""
        try:
            act()
        except Exception as error:
            self._abandon()
            words, tone = self._in_words(error)
            self._tell(on.WorkStopped(words, tone) if self.state.busy else on.Noticed(words, tone))

    def _in_words(self, error: BaseException) -> tuple[str, Tone]:
        if isinstance(error, Cancelled):
            return self._("Cancelled. Nothing was changed."), Tone.INFORMATION
        if isinstance(error, FedLiverError):
            return error.sentence, Tone.ERROR
        if isinstance(error, MemoryError):
            return self._("There is not enough memory: close other scans and programs, and try again."), Tone.ERROR
        _LOG.error("unexpected error in the panel", exc_info=error)
        return self._("Something unexpected went wrong ({kind}); the Python console has the details.").format(kind=type(error).__name__), Tone.ERROR

    def _tell(self, *events: object) -> None:
        before = self.state
        for event in events:
            self.state = advance(self.state, event)
        if self.state != before:
            self._changed()

    def check_nodes(self) -> None:
        """What a slow timer calls: let go of a node that was deleted elsewhere."""
        if self.segmentation_node is not None and self.segmentation_node.GetScene() is None:
            self._use_segmentation(None)
        if self.ct_node is not None and self.ct_node.GetScene() is None:
            self.choose_ct(None)

    # ---- the segmentation node and its edits

    def _newest_of(self, ct_node: Any) -> Any:
        """The newest segmentation of ours for this CT that is in the scene: going back to a patient goes back to the work."""
        import slicer

        from fedliver.slicer.scene import TEACHER_ATTRIBUTE

        ours = [
            node for node in slicer.util.getNodesByClass("vtkMRMLSegmentationNode") if node.GetAttribute(TEACHER_ATTRIBUTE) and self._belongs(node, ct_node)
        ]
        return ours[-1] if ours else None

    @staticmethod
    def _belongs(segmentation: Any, ct_node: Any) -> bool:
        import slicer

        role = slicer.vtkMRMLSegmentationNode.GetReferenceImageGeometryReferenceRole()
        return ct_node is not None and segmentation.GetNodeReference(role) is ct_node

    def _use_segmentation(self, node: Any) -> None:
        self._edits.follow(node)
        self.segmentation_node = node
        self._tell(on.SegmentationSelected(node.GetName() if node is not None else ""))
        self._changed()

    def _on_edited(self) -> None:
        if self.segmentation_node is not None:
            self._untouched.discard(self.segmentation_node.GetID())
            self._tell(on.SegmentationEdited())
