"""The federation's files and pictures in a page: the invitation comes as text, the request goes as text, the curves are drawn. No trame."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from fedliver.slicer.federation_link import FederationLink
from fedliver.slicer.panel_state import Membership, Round
from fedliver.slicer.workflow import Workflow
from fedliver.web.curves_svg import svg_of

_LONGEST = 1_000_000


class Invitations:
    """``link``: the federation that ``workflow`` speaks with."""

    def __init__(self, workflow: Workflow, link: FederationLink) -> None:
        self._workflow = workflow
        self._link = link
        self._folder: TemporaryDirectory[str] | None = None
        self._request: Path | None = None
        self._wants_curves = True
        self._drawn: tuple[Round, bool] | None = None
        self._curves = ""

    def open(self, text: str) -> None:
        """An invitation's text, as the browser read it. What it is worth is judged by the code that judges the desktop's file."""
        self.forget()
        self._folder = TemporaryDirectory(prefix="fedliver-invitation-")  # for the owner's eyes only; the command that reads it runs for a moment yet
        file = Path(self._folder.name) / "invitation.json"
        file.write_text(str(text)[: _LONGEST + 1], encoding="utf-8")
        self._workflow.federation.open_invitation(file)

    def request(self) -> str:
        """The enrolment request, for the person to hand to the coordinator; empty where there is none. It holds a public key, no secret."""
        return self._request.read_text(encoding="utf-8") if self._request is not None and self._request.is_file() else ""

    def look(self) -> None:
        """What a slow timer calls: is there a request to save, and are there new rounds to draw?"""
        state = self._workflow.state
        wanted = state.membership is Membership.INVITED and self._link.available()
        self._request = self._link.request_file if wanted and self._link.request_file.is_file() else None
        standing = (state.round, state.has_curves)
        if standing != self._drawn:
            self._drawn = standing
            self._curves = svg_of(self._workflow.federation.curves(), "FedLiver: rounds on this computer", "Round") if state.has_curves else ""

    def turn_curves(self) -> None:
        """Show the curves, or hide them."""
        self._wants_curves = not self._wants_curves

    def forget(self) -> None:
        """Remove the invitation's file."""
        if self._folder is not None:
            self._folder.cleanup()
        self._folder = None

    def shown(self) -> dict[str, Any]:
        """For the page: the curves as SVG, and whether there is a request to save."""
        return {"curves": self._curves if self._wants_curves else "", "has_request": self._request is not None}
