"""The packages that the panel's work needs: whether they are there, and their installation at the press that needs them. No Qt."""

from collections.abc import Callable

from fedliver.errors import FedLiverError
from fedliver.slicer import panel_events as on
from fedliver.slicer.installation import Installation
from fedliver.slicer.panel_session import PanelSession
from fedliver.slicer.panel_state import Requirements, Tone, Work


class PackagesWork:
    """``installed``: called after an installation; what the panel knows of its site may be another then."""

    def __init__(self, session: PanelSession, installation: Installation, installed: Callable[[], None]) -> None:
        self._session, self._installation, self._installed = session, installation, installed
        self._ = session.translated

    def look(self) -> bool:
        """Whether what segmentation needs is there, as the panel knows from now on."""
        missing = self._installation.missing().packages
        self._session.tell(on.RequirementsKnown(Requirements.MISSING if missing else Requirements.READY))
        return not missing

    def ensure(self, also: tuple[str, ...] = ()) -> bool:
        """Install what segmentation needs, or what ``also`` names; False where the user declined or it failed."""
        session = self._session
        if not also and session.state.requirements is Requirements.READY:
            return True
        if also and not self._installation.missing(also).packages:
            return True
        # Slicer's installers let the window live meanwhile: while the panel is busy, no button can start a second installation.
        session.tell(on.WorkStarted(Work.INSTALL, session.clock()), on.WorkProgressed(self._("Installing"), 0.0, session.clock()))
        try:
            installed = self._installation.ensure(self._, also)
        except FedLiverError as error:
            session.tell(on.WorkStopped(*session.in_words(error)))
            return False
        if not installed:
            declined = self._("Nothing was installed. You can outline by hand with Slicer's Segment Editor; press the button again to install.")
            session.tell(on.WorkStopped(declined, Tone.INFORMATION))
            return False
        session.tell(on.Installed())
        self._installed()
        return True
