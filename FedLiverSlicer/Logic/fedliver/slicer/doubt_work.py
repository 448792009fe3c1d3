"""Where the teacher was not sure of the segmentation in hand: laid over the slice views, and gone to place by place. No Qt."""

from fedliver.slicer import panel_events as on
from fedliver.slicer.overlay import DoubtOverlay
from fedliver.slicer.panel_session import PanelSession
from fedliver.slicer.panel_view import Control
from fedliver.slicer.site_desk import Proposal


class DoubtWork:
    """Follows the proposal that the case in hand names; remembers whether the clinician wants to see its doubt."""

    def __init__(self, session: PanelSession) -> None:
        self._session = session
        self._ = session.translated
        self._overlay = DoubtOverlay()
        self._proposal: Proposal | None = None
        self._wanted = False

    def follow(self, proposal: Proposal | None) -> None:
        """``proposal``: what the teacher drew of the segmentation in hand, None where that is not known."""
        self._proposal = proposal
        self._session.tell(on.PlacesKnown(proposal.places if proposal else (), proposal is not None and proposal.doubt is not None))
        self.show(self._wanted)

    def show(self, wanted: bool) -> None:
        """Lay over the slice views where the teacher was not sure, as long as that is known of the segmentation in hand."""
        self._wanted = wanted
        self._overlay.show(self._proposal.doubt if wanted and self._proposal is not None else None)

    def press_look(self) -> None:
        """Go to the next place where the teacher was not sure, and say what to decide there."""
        from fedliver.slicer.scene import go_to

        session = self._session
        if not session.is_live(Control.LOOK):
            return
        places, before = session.state.places, session.state.place
        number = 0 if before is None else (before + 1) % len(places)
        go_to(places[number].position)
        question = self._("Is this liver?") if places[number].about == "liver" else self._("Is this tumour?")
        words = self._("Place {number} of {count}: {question}").format(number=number + 1, count=len(places), question=question)
        session.tell(on.PlaceShown(number), on.Noticed(words))

    def scene_closed(self) -> None:
        """The overlay's nodes go with the scene."""
        self._overlay.forget()

    def close(self) -> None:
        """The panel goes away, and its overlay with it."""
        self._overlay.show(None)
