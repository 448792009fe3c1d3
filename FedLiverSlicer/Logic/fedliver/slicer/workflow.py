"""The clinician's work as one object: what each press of a button does to the scene, the site and the panel's state. No Qt.

A face (the desktop's panel, the browser's page) calls a method of a part per control, as ``workflow.worklist.press_next()``, shows
:attr:`Workflow.state` whenever ``changed`` is called, and calls :meth:`Workflow.tick` from a fast timer while work runs, and
:meth:`Workflow.check_nodes` and :meth:`Workflow.poll_federation` from a slow one.
"""

from fedliver.slicer import panel_events as on
from fedliver.slicer.adding_work import AddingWork
from fedliver.slicer.ahead_work import AheadWork
from fedliver.slicer.approving_work import ApprovingWork
from fedliver.slicer.background import POLL_MILLISECONDS
from fedliver.slicer.case_work import CaseWork
from fedliver.slicer.doubt_work import DoubtWork
from fedliver.slicer.environment_work import EnvironmentWork
from fedliver.slicer.federation_link import FederationLink
from fedliver.slicer.federation_work import FederationWork
from fedliver.slicer.installation import Installation
from fedliver.slicer.learning_work import LearningWork
from fedliver.slicer.packages_work import PackagesWork
from fedliver.slicer.panel_session import PanelSession
from fedliver.slicer.panel_state import PanelState
from fedliver.slicer.panel_view import Control, PanelView
from fedliver.slicer.preload import import_records, records_are_imported
from fedliver.slicer.segmenting_work import SegmentingWork
from fedliver.slicer.site_desk import SiteDesk
from fedliver.slicer.worklist_counts import WorklistCounts
from fedliver.slicer.worklist_work import WorklistWork


class Workflow:
    """Puts the parts together, and does what concerns several of them: refresh, time, the end of the scene and of the panel.

    Parameters
    ----------
    desk, link, installation:
        The site, the federation, and what must be installed first.
    session:
        How the panel shows, asks and works.
    """

    tick_milliseconds = POLL_MILLISECONDS
    """How often :meth:`tick` wants to be called while :attr:`needs_ticks`."""

    def __init__(self, desk: SiteDesk, link: FederationLink, installation: Installation, session: PanelSession) -> None:
        self.desk, self.link, self.installation, self.session = desk, link, installation, session
        self.packages = PackagesWork(session, installation, self.refresh)
        self.doubt = DoubtWork(session)
        self.case = CaseWork(session, desk, self.doubt)
        self.segmenting = SegmentingWork(session, desk, self.packages, self.case)
        self.approving = ApprovingWork(session, desk, self.packages, self.case)
        self.worklist = WorklistWork(session, desk, self.packages, self.case)
        self.counts = WorklistCounts(session, desk)
        self.ahead = AheadWork(session, desk, self.worklist, self.counts)
        self.adding = AddingWork(session, desk, self.packages, self.case, self.counts)
        self.learning = LearningWork(session, desk, self.packages)
        self.environment = EnvironmentWork(session, link)
        self.federation = FederationWork(session, desk, link, self.packages, self.environment)

    # ---- what a face shows

    @property
    def state(self) -> PanelState:
        return self.session.state

    @property
    def view(self) -> PanelView:
        return self.session.view

    def is_live(self, control: Control) -> bool:
        return self.session.is_live(control)

    # ---- time

    @property
    def working(self) -> bool:
        """Whether the panel is busy with what the user asked for."""
        return self.session.working

    @property
    def needs_ticks(self) -> bool:
        """Whether anything runs that :meth:`tick` has to look at."""
        return self.session.needs_ticks or self.ahead.needs_ticks

    def tick(self) -> None:
        """What a fast timer calls while :attr:`needs_ticks`: shows progress, and takes the result when it is there."""
        self.session.tick()
        self.ahead.tick()

    def check_nodes(self) -> None:
        """What a slow timer calls: let go of a node that was deleted elsewhere, and go ahead where nothing else is to be done."""
        self.case.check_nodes()
        self.ahead.tick()
        self.ahead.go_on()

    def poll_federation(self) -> None:
        """What a slow timer calls: what the federation has brought since."""
        if not self.session.is_looking("site"):
            self.federation.poll()

    # ---- the site

    def refresh(self) -> None:
        """Look at what may have changed outside the panel: what is installed, the teacher, the cases, the federation."""
        if not self.packages.look():
            return
        session = self.session
        if records_are_imported():
            session.guarded(self._look_at_the_site)
        elif not session.is_looking("site"):  # the panel is on show before that is over
            session.look_aside("site", lambda _watcher: import_records(), lambda _: session.guarded(self._look_at_the_site), looks=0)

    def _look_at_the_site(self) -> None:
        self.session.tell(on.TeacherKnown(self.desk.teacher_name()))
        self.environment.look()
        self.ahead.recall_wish()
        self.counts.count()
        self.federation.resume()

    # ---- the end

    def scene_closed(self) -> None:
        """Forget every node. What runs is asked to stop, and its result is not looked at."""
        self.session.abandon()
        self.case.scene_closed()
        self.session.tell(on.SceneClosed())

    def close(self) -> None:
        """The panel goes away: nothing of ours may call it any more. A joined site stays joined, it does not need the panel."""
        self.session.close()
        self.ahead.stop()
        self.case.close()
