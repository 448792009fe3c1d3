"""The case in hand: choose, segment, correct, approve. No Qt; what a press does to the scene, the site and the panel's state."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fedliver.errors import FedLiverError
from fedliver.slicer import panel_events as on
from fedliver.slicer.correction_clock import CorrectionClock
from fedliver.slicer.edits import EditWatch
from fedliver.slicer.kept_proposal import keep, kept_by, pack, unpack
from fedliver.slicer.overlay import DoubtOverlay
from fedliver.slicer.panel_state import Measurements, Tone, Work
from fedliver.slicer.panel_view import Control
from fedliver.slicer.panel_work import PanelWork
from fedliver.slicer.remembered import Remembered, digest, forget, recall, recall_seconds, remember, remember_seconds
from fedliver.slicer.site_desk import Proposal, Submission, Verdict

if TYPE_CHECKING:
    from fedliver.image import Volume
    from fedliver.slicer.scene import Box


class CaseWork(PanelWork):
    """See :class:`~fedliver.slicer.panel_work.PanelWork` for the parameters."""

    def __init__(self, *seams: Any, **options: Any) -> None:
        super().__init__(*seams, **options)
        self.ct_node: Any = None
        self.segmentation_node: Any = None
        self._proposals: dict[str, Proposal] = {}
        self._sources: dict[str, tuple[str, str, str]] = {}  # of the CTs that were opened here, and not by Slicer's DICOM module
        self._untouched: set[str] = set()
        self._edits = EditWatch(self._on_edited)
        self._time = CorrectionClock(lambda: self._clock())
        self._overlay = DoubtOverlay()
        self._wants_doubt = False
        self._wants_3d = False

    def choose_ct(self, node: Any) -> None:
        from fedliver.slicer.dicom_database import is_from_database
        from fedliver.slicer.scene import CASE_ATTRIBUTE, ct_problem

        another = False
        if node is not self.ct_node:
            self.ct_node = node
            if self.segmentation_node is None or not self._belongs(self.segmentation_node, node):
                self._use_segmentation(self._newest_of(node))
                another = self.segmentation_node is not None
        if node is None:
            self._tell(on.CtSelected(""))
        else:
            self._tell(on.CtSelected(node.GetName(), ct_problem(node), node.GetAttribute(CASE_ATTRIBUTE) or "", is_from_database(node)))
        if another:
            self._recall()

    def choose_segmentation(self, node: Any) -> None:
        """Go on with a segmentation that is in the scene, for example after the scene was reopened."""
        if node is not self.segmentation_node:
            self._use_segmentation(node)
            self._recall()

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

        self._run(Work.SEGMENT, lambda watcher: drawn(self._desk.segment(ct, watcher)), lambda made: self._show_proposal(made, node))

    def _show_proposal(self, made: "Drawn", ct_node: Any) -> Iterator[None]:
        """In steps, each of which the window hardly feels."""
        proposal = made.proposal
        if ct_node.GetScene() is None or ct_node is not self.ct_node:
            self._tell(on.WorkStopped(self._("The CT was closed or changed meanwhile, so its segmentation was not added."), Tone.WARNING))
            return
        before = self.segmentation_node
        node = self._add_segmentation(made, ct_node)
        yield
        if node.GetScene() is not None:
            self._use_segmentation(node)
            yield
        if node.GetScene() is None:
            self._tell(on.WorkStopped(self._("The new segmentation was removed at once."), Tone.WARNING))
            return
        if before is not None and before.GetScene() is not None:
            self._put_aside(before)
        self._untouched.add(node.GetID())
        self._tell(on.Segmented(node.GetName(), measurements_of(proposal)))
        remember(node, Remembered(made.digest, measurements_of(proposal)))
        processor = self._desk.processor()
        if processor is not None:
            self._tell(on.ProcessorKnown(processor))
        self._tell_doubt()

    def _put_aside(self, before: Any) -> None:
        """What nobody has touched makes room for the new one; what a person has edited stays, hidden."""
        if before.GetID() in self._untouched:
            before.GetScene().RemoveNode(before)
        elif before.GetDisplayNode() is not None:
            before.GetDisplayNode().SetVisibility(False)

    def _add_segmentation(self, made: "Drawn", ct_node: Any, seconds: float = 0.0) -> Any:
        """A segmentation node that says which teacher drew its proposal, and keeps it; the clock of its correction begins."""
        from fedliver.slicer import scene

        proposal = made.proposal
        node = scene.segmentation_from_labels(made.labels, ct_node, scene.segmentation_name(str(proposal.teacher)), box=made.box)
        node.SetAttribute(scene.TEACHER_ATTRIBUTE, str(proposal.teacher))
        node.SetAttribute(scene.TEACHER_HASH_ATTRIBUTE, proposal.teacher.sha256)
        keep(node, made.packed)
        self._proposals[node.GetID()] = proposal
        self._time.begin(node.GetID(), seconds)
        return node

    def _tell_doubt(self) -> None:
        proposal = self._proposals.get(self.segmentation_node.GetID()) if self.segmentation_node is not None else None
        self._tell(on.PlacesKnown(proposal.places if proposal else (), proposal is not None and proposal.doubt is not None))
        self.show_doubt(self._wants_doubt)

    def show_doubt(self, wanted: bool) -> None:
        """Lay over the slice views where the teacher was not sure, as long as that is known of the segmentation in hand."""
        self._wants_doubt = wanted
        proposal = self._proposals.get(self.segmentation_node.GetID()) if self.segmentation_node is not None else None
        self._overlay.show(proposal.doubt if wanted and proposal is not None else None)

    def press_look(self) -> None:
        """Go to the next place where the teacher was not sure, and say what to decide there."""
        from fedliver.slicer.scene import go_to

        if not self.is_live(Control.LOOK):
            return
        places, before = self.state.places, self.state.place
        number = 0 if before is None else (before + 1) % len(places)
        go_to(places[number].position)
        question = self._("Is this liver?") if places[number].about == "liver" else self._("Is this tumour?")
        words = self._("Place {number} of {count}: {question}").format(number=number + 1, count=len(places), question=question)
        self._tell(on.PlaceShown(number), on.Noticed(words))

    def go_to_lesion(self, number: int) -> None:
        """Show the lesion with this number, from 0, in the slice views."""
        from fedliver.slicer.scene import go_to

        lesions = self.state.measurements.lesions if self.state.measurements else ()
        if 0 <= number < len(lesions):
            go_to(lesions[number].place)

    def show_in_3d(self, visible: bool) -> None:
        """Show the segmentation in hand, and every one that takes its place, in the 3D views; or hide it."""
        from fedliver.slicer import scene

        self._wants_3d = visible
        if self.segmentation_node is not None:
            scene.show_in_3d(self.segmentation_node, visible)

    def write_reason(self, reason: str) -> None:
        self._tell(on.OverrideReasonWritten(reason))

    def press_approve(self) -> None:
        if self.is_live(Control.APPROVE) and self._install_if_needed():
            self._guarded(self._start_approving)

    def _start_approving(self) -> None:
        submission = self._submission()
        self._untouched.discard(self.segmentation_node.GetID())
        node = self.segmentation_node

        def work(watcher: Any) -> tuple[Verdict, str]:
            verdict = self._desk.approve(submission, watcher)
            return verdict, digest(submission.labels)

        self._run(Work.APPROVE, work, lambda made: self._show_verdict(made[0], made[1], node))

    def _submission(self) -> Submission:
        """The case as it is in the scene now."""
        from fedliver.slicer.scene import labels_from_segmentation, source_identity, volume_from_node

        node = self.segmentation_node
        self._time.touch(node.GetID())
        return Submission(
            ct=volume_from_node(self.ct_node),
            labels=labels_from_segmentation(node, self.ct_node),
            source=self._sources.get(self.ct_node.GetID()) or source_identity(self.ct_node),
            proposal=self._proposals.get(node.GetID()),
            seconds_spent=self._time.seconds(node.GetID()),
            reason=self.state.override_reason,
            case=self.state.case,
        )

    def _show_verdict(self, verdict: Verdict, labels: str, node: Any) -> None:
        from fedliver.slicer.scene import CASE_ATTRIBUTE

        if verdict.case and self.ct_node is not None:
            self.ct_node.SetAttribute(CASE_ATTRIBUTE, verdict.case)
        self._tell(on.CaseChecked(verdict.checks, verdict.approved_cases, verdict.case, verdict.effort, verdict.measurements))
        if verdict.approved_cases is not None:
            self._tell(on.ApprovedCasesCounted(verdict.approved_cases, verdict.held_out))
        if verdict.waiting is not None:
            self._tell(on.WaitingCounted(verdict.waiting))
        state = self.state
        remember(node, Remembered(labels, state.measurements, state.checks, state.effort, verdict.approval))

    def _recall(self) -> None:
        """Show what the scene remembers of the segmentation in hand, if its labels are still the very ones."""
        from fedliver.slicer.scene import labels_from_segmentation

        self._recall_proposal()
        node, case = self.segmentation_node, self.state.case
        kept = recall(node) if node is not None and self.ct_node is not None else None
        if kept is None:
            return
        try:
            labels = labels_from_segmentation(node, self.ct_node)
        except FedLiverError:
            return  # it says so when it is to be approved
        look = lambda _watcher: (digest(labels), self._desk.approval(case) if kept.approval else "")  # noqa: E731
        self._look_aside("result", look, lambda seen: self._show_recalled(node, kept, *seen))

    def _show_recalled(self, node: Any, kept: Remembered, labels: str, approval: str) -> None:
        if node is not self.segmentation_node or self.state.edited or self.state.busy:
            return
        if labels != kept.labels:
            forget(node)
            return
        self._tell(on.ResultRecalled(kept.measurements, kept.checks, kept.effort, bool(approval) and approval == kept.approval))

    def _recall_proposal(self) -> None:
        """Take up again what the teacher drew, before anyone changed it, and how long it has been worked on: as the scene has kept it."""
        from fedliver.slicer.scene import ct_problem, geometry_of_node

        node = self.segmentation_node
        if node is None or self.ct_node is None or ct_problem(self.ct_node) or node.GetID() in self._proposals:
            return
        packed, seconds = kept_by(node), recall_seconds(node)
        if seconds is not None and self._time.seconds(node.GetID()) is None:
            self._time.begin(node.GetID(), seconds)
        if packed:
            try:
                grid = geometry_of_node(self.ct_node)
            except FedLiverError:
                return  # it says so when it is to be approved
            self._look_aside("proposal", lambda _watcher: unpack(packed, grid), lambda proposal: self._take_up_proposal(node, proposal))

    def _take_up_proposal(self, node: Any, proposal: Proposal | None) -> None:
        if proposal is not None and node.GetScene() is not None:
            self._proposals.setdefault(node.GetID(), proposal)
            self._tell_doubt()

    def check_nodes(self) -> None:
        """What a slow timer calls: let go of a node that was deleted elsewhere."""
        if self.segmentation_node is not None and self.segmentation_node.GetScene() is None:
            self._use_segmentation(None)
        if self.ct_node is not None and self.ct_node.GetScene() is None:
            self.choose_ct(None)
        self._show_time()

    def _show_time(self) -> None:
        """To ten seconds: a panel that ticks every second draws the eye from the images."""
        node = self.segmentation_node
        seconds = self._time.seconds(node.GetID()) if node is not None else None
        if seconds is not None and not self.state.approved and not self.state.busy:
            shown = 10.0 * int(seconds / 10)
            if shown != self.state.seconds:
                remember_seconds(node, shown)
            self._tell(on.CorrectionTimed(shown))

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
        if node is not None and self._wants_3d:
            self.show_in_3d(True)
        self._tell(on.SegmentationSelected(node.GetName() if node is not None else ""))
        self._tell_doubt()
        self._changed()

    def _on_edited(self) -> None:
        if self.segmentation_node is not None:
            self._untouched.discard(self.segmentation_node.GetID())
            forget(self.segmentation_node)
            self._time.touch(self.segmentation_node.GetID())
            self._tell(on.SegmentationEdited())


@dataclass(frozen=True)
class Drawn:
    """A proposal, and ``labels`` that are it or were made from it, with what takes too long to be found out in the window's thread."""

    proposal: Proposal
    labels: "Volume"
    digest: str
    box: "Box"
    packed: str


def drawn(proposal: Proposal, labels: "Volume | None" = None) -> Drawn:
    """For a worker thread."""
    from fedliver.slicer.scene import drawn_box

    labels = labels or proposal.labels
    return Drawn(proposal, labels, digest(labels), drawn_box(labels), pack(proposal))


def measurements_of(proposal: Proposal) -> Measurements:
    """What the panel shows of a proposal."""
    return Measurements(proposal.liver_ml, proposal.tumour_ml, proposal.seconds, proposal.lesions)
