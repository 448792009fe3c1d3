"""The case in hand: a CT, the segmentation of it that is worked on, and what is known of both. No Qt."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fedliver.errors import FedLiverError
from fedliver.slicer import panel_events as on
from fedliver.slicer.correction_clock import CorrectionClock
from fedliver.slicer.doubt_work import DoubtWork
from fedliver.slicer.edits import EditWatch
from fedliver.slicer.kept_proposal import keep, kept_by, pack, unpack
from fedliver.slicer.panel_session import PanelSession
from fedliver.slicer.panel_state import Measurements
from fedliver.slicer.remembered import Remembered, digest, forget, recall, recall_seconds, remember, remember_seconds
from fedliver.slicer.site_desk import Proposal, SiteDesk, Submission

if TYPE_CHECKING:
    from fedliver.image import Volume
    from fedliver.slicer.scene import Box


class CaseWork:
    """``ct_node`` and ``segmentation_node``: the case in hand, None for none. Both change by this class alone."""

    def __init__(self, session: PanelSession, desk: SiteDesk, doubt: DoubtWork) -> None:
        self._session, self._desk, self._doubt = session, desk, doubt
        self.ct_node: Any = None
        self.segmentation_node: Any = None
        self._proposals: dict[str, Proposal] = {}
        self._sources: dict[str, tuple[str, str, str]] = {}  # of the CTs that were opened here, and not by Slicer's DICOM module
        self._untouched: set[str] = set()
        self._edits = EditWatch(self._on_edited)
        self._time = CorrectionClock(session.clock)
        self._wants_3d = False

    def choose_ct(self, node: Any) -> None:
        """Take another CT in hand, with the newest segmentation of ours that the scene has for it; None for none."""
        from fedliver.slicer.dicom_database import is_from_database
        from fedliver.slicer.scene import CASE_ATTRIBUTE, ct_problem

        another = False
        if node is not self.ct_node:
            self.ct_node = node
            if self.segmentation_node is None or not self._belongs(self.segmentation_node, node):
                self.use_segmentation(self._newest_of(node))
                another = self.segmentation_node is not None
        if node is None:
            self._session.tell(on.CtSelected(""))
        else:
            self._session.tell(on.CtSelected(node.GetName(), ct_problem(node), node.GetAttribute(CASE_ATTRIBUTE) or "", is_from_database(node)))
        if another:
            self._recall()

    def choose_segmentation(self, node: Any) -> None:
        """Go on with a segmentation that is in the scene, for example after the scene was reopened."""
        if node is not self.segmentation_node:
            self.use_segmentation(node)
            self._recall()

    def take_up(self, ct_node: Any, segmentation: Any) -> None:
        """Go on where a scene's parameters say. Another CT's segmentation is not taken over, unless it was chosen for this very CT."""
        same_ct = ct_node is self.ct_node
        self.choose_ct(ct_node)
        if segmentation is not None and (same_ct or self._belongs(segmentation, ct_node)):
            self.choose_segmentation(segmentation)

    # ---- for the parts that work on it

    def add_segmentation(self, made: "Drawn", ct_node: Any, seconds: float = 0.0) -> Any:
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

    def add_by_hand(self, labels: "Volume", ct_node: Any, name: str, box: "Box | None", seconds: float) -> Any:
        """A segmentation node with outlines that no teacher has drawn; ``seconds`` were spent on them earlier."""
        from fedliver.slicer import scene

        node = scene.segmentation_from_labels(labels, ct_node, name, box=box)
        self._time.begin(node.GetID(), seconds)
        return node

    def show_result(self, node: Any, made: "Drawn") -> None:
        """``node`` shows a proposal that nobody has touched yet: let the panel say what it measures, and the scene remember it."""
        self._untouched.add(node.GetID())
        measured = measurements_of(made.proposal)
        self._session.tell(on.Segmented(node.GetName(), measured))
        remember(node, Remembered(made.digest, measured))

    def put_aside(self, node: Any) -> None:
        """What nobody has touched makes room for another; what a person has edited stays, hidden."""
        if node.GetID() in self._untouched:
            node.GetScene().RemoveNode(node)
        elif node.GetDisplayNode() is not None:
            node.GetDisplayNode().SetVisibility(False)

    def mark_judged(self) -> None:
        """A person has judged the segmentation in hand: another one's coming does not remove it."""
        self._untouched.discard(self.segmentation_node.GetID())

    @property
    def proposal(self) -> Proposal | None:
        """What the teacher drew of the segmentation in hand, before anyone changed it; None where that is not known."""
        return self._proposals.get(self.segmentation_node.GetID()) if self.segmentation_node is not None else None

    def tell_doubt(self) -> None:
        """Let the panel know where the teacher was not sure of the segmentation in hand."""
        self._doubt.follow(self.proposal)

    # ---- what is shown of it

    def go_to_lesion(self, number: int) -> None:
        """Show the lesion with this number, from 0, in the slice views."""
        from fedliver.slicer.scene import go_to

        lesions = self._session.state.measurements.lesions if self._session.state.measurements else ()
        if 0 <= number < len(lesions):
            go_to(lesions[number].place)

    def show_in_3d(self, visible: bool) -> None:
        """Show the segmentation in hand, and every one that takes its place, in the 3D views; or hide it."""
        from fedliver.slicer import scene

        self._wants_3d = visible
        if self.segmentation_node is not None:
            scene.show_in_3d(self.segmentation_node, visible)

    @property
    def source(self) -> tuple[str, str, str] | None:
        """What the CT in hand is known by where it was made, as in :class:`~fedliver.slicer.site_desk.Submission`."""
        from fedliver.slicer.scene import source_identity

        return self._sources.get(self.ct_node.GetID()) or source_identity(self.ct_node)

    def keep_source(self, ct_node: Any, source: tuple[str, str, str]) -> None:
        """``ct_node`` was opened here, and its node does not say what it is known by."""
        self._sources[ct_node.GetID()] = source

    def submission(self) -> Submission:
        """The case as it is in the scene now."""
        from fedliver.slicer.scene import labels_from_segmentation, volume_from_node

        node = self.segmentation_node
        self._time.touch(node.GetID())
        return Submission(
            ct=volume_from_node(self.ct_node),
            labels=labels_from_segmentation(node, self.ct_node),
            source=self.source,
            proposal=self.proposal,
            seconds_spent=self._time.seconds(node.GetID()),
            reason=self._session.state.override_reason,
            case=self._session.state.case,
        )

    def _recall(self) -> None:
        """Show what the scene remembers of the segmentation in hand, if its labels are still the very ones."""
        from fedliver.slicer.scene import labels_from_segmentation

        self._recall_proposal()
        node, case = self.segmentation_node, self._session.state.case
        kept = recall(node) if node is not None and self.ct_node is not None else None
        if kept is None:
            return
        try:
            labels = labels_from_segmentation(node, self.ct_node)
        except FedLiverError:
            return  # it says so when it is to be approved
        look = lambda _watcher: (digest(labels), self._desk.approval(case) if kept.approval else "")  # noqa: E731
        self._session.look_aside("result", look, lambda seen: self._show_recalled(node, kept, *seen))

    def _show_recalled(self, node: Any, kept: Remembered, labels: str, approval: str) -> None:
        if node is not self.segmentation_node or self._session.state.edited or self._session.state.busy:
            return
        if labels != kept.labels:
            forget(node)
            return
        self._session.tell(on.ResultRecalled(kept.measurements, kept.checks, kept.effort, bool(approval) and approval == kept.approval))

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
            self._session.look_aside("proposal", lambda _watcher: unpack(packed, grid), lambda proposal: self._take_up_proposal(node, proposal))

    def _take_up_proposal(self, node: Any, proposal: Proposal | None) -> None:
        if proposal is not None and node.GetScene() is not None:
            self._proposals.setdefault(node.GetID(), proposal)
            self.tell_doubt()

    def check_nodes(self) -> None:
        """What a slow timer calls: let go of a node that was deleted elsewhere."""
        if self.segmentation_node is not None and self.segmentation_node.GetScene() is None:
            self.use_segmentation(None)
        if self.ct_node is not None and self.ct_node.GetScene() is None:
            self.choose_ct(None)
        self._show_time()

    def _show_time(self) -> None:
        """To ten seconds: a panel that ticks every second draws the eye from the images."""
        node = self.segmentation_node
        seconds = self._time.seconds(node.GetID()) if node is not None else None
        if seconds is not None and not self._session.state.approved and not self._session.state.busy:
            shown = 10.0 * int(seconds / 10)
            if shown != self._session.state.seconds:
                remember_seconds(node, shown)
            self._session.tell(on.CorrectionTimed(shown))

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

    def use_segmentation(self, node: Any) -> None:
        """Take ``node`` in hand, or none: nothing is recalled of it."""
        self._edits.follow(node)
        self.segmentation_node = node
        if node is not None and self._wants_3d:
            self.show_in_3d(True)
        self._session.tell(on.SegmentationSelected(node.GetName() if node is not None else ""))
        self.tell_doubt()
        self._session.show_again()

    def _on_edited(self) -> None:
        if self.segmentation_node is not None:
            self._untouched.discard(self.segmentation_node.GetID())
            forget(self.segmentation_node)
            self._time.touch(self.segmentation_node.GetID())
            self._session.tell(on.SegmentationEdited())

    # ---- the end

    def scene_closed(self) -> None:
        """Forget every node."""
        self._session.drop_looks("result", "proposal")
        self._doubt.scene_closed()
        self.use_segmentation(None)
        self.ct_node = None
        self._proposals.clear()
        self._sources.clear()
        self._time.forget()
        self._untouched.clear()

    def close(self) -> None:
        """The panel goes away: nothing here follows the scene any more."""
        self._doubt.close()
        self._edits.follow(None)


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
