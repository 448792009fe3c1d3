"""The federation's part of the panel: invitation, join, rounds, leave, a new teacher. No Qt."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fedliver.slicer import panel_events as on
from fedliver.slicer.charts import Curve, show_curves
from fedliver.slicer.environment_work import EnvironmentWork
from fedliver.slicer.federation_link import FederationLink
from fedliver.slicer.packages_work import PackagesWork
from fedliver.slicer.panel_session import PanelSession
from fedliver.slicer.panel_state import Membership, Requirements, Tone, Work
from fedliver.slicer.panel_view import Control
from fedliver.slicer.site_desk import Comparison, SiteDesk
from fedliver.slicer.translation import Translate, unchanged

if TYPE_CHECKING:
    from fedliver.site.progress import ProgressEvent


class FederationWork:
    """What the panel does as a site of a federation. ``link`` carries it out, ``desk`` judges the teachers that it brings."""

    def __init__(self, session: PanelSession, desk: SiteDesk, link: FederationLink, packages: PackagesWork, environment: EnvironmentWork) -> None:
        self._session, self._desk, self._link, self._packages, self._environment = session, desk, link, packages, environment
        self._ = session.translated
        self._candidate: Path | None = None

    def open_invitation(self, path: Path) -> None:
        """Enrol with the invitation in this file."""
        if self._session.is_live(Control.INVITATION) and self._packages.ensure():
            self._session.guarded(lambda: self._link.enrol(path))

    def press_test(self) -> None:
        """Try every step from here to the coordinator."""
        if self._session.is_live(Control.TEST):
            self._session.run(Work.TEST, self._link.examine, lambda steps: self._session.tell(on.ConnectionTested(steps)))

    def opt_in(self, agreed: bool) -> None:
        """The box under what leaves this computer and what stays."""
        self._session.tell(on.OptInChanged(agreed))

    def press_join(self) -> None:
        """Join, with the federation's environment made first where there is none yet."""
        if not self._session.is_live(Control.JOIN) or self._session.working:
            return
        if self._link.environment_ready():
            self._session.guarded(self._join)
        elif self._environment.may_be_made():
            self._environment.make(then=lambda: self._session.guarded(self._join))
        else:
            self._session.tell(on.Noticed(self._("Not joined: the federation's environment was not installed.")))

    def _join(self) -> None:
        self._link.join()
        self._session.tell(on.JoinStarted())

    def press_leave(self) -> None:
        """Leave the federation."""
        if self._session.is_live(Control.LEAVE):
            self._session.guarded(self._leave)

    def _leave(self) -> None:
        self._link.leave()
        self._session.tell(on.LeaveStarted())

    def resume(self) -> None:
        """Take up again a membership that an earlier panel has left behind."""
        if self._session.state.membership is Membership.OUTSIDE and self._link.available():
            self._session.tell(*self._link.resume(), on.CurvesKnown(bool(self._link.history())), on.LedgerRead(self._link.account()))

    def poll(self) -> None:
        """What a slow timer calls. Costs a few file looks; does nothing before the packages are installed."""
        if self._session.state.requirements is Requirements.READY and self._link.available():
            self._session.guarded(self._look)

    def _look(self) -> None:
        news = self._link.poll()
        self._session.tell(*news)
        if any(isinstance(event, on.RoundReported) for event in news):
            self._session.tell(on.CurvesKnown(True))
            self._session.guarded(lambda: self._session.tell(on.LedgerRead(self._link.account())))
        candidate = self._link.newest_candidate() if self._session.state.membership is not Membership.OUTSIDE else None
        if candidate is not None and not self._desk.knows(candidate):
            self._candidate = candidate
            self._session.tell(on.TeacherOffered(f"{self._session.state.federation}, {candidate.name.replace('-', ' ')}"))

    def press_curves(self) -> None:
        """Draw loss and Dice of all rounds on this computer."""
        if self._session.is_live(Control.CURVES):
            self._session.guarded(self._show_curves)

    def curves(self) -> list[Curve]:
        """Loss and Dice of all rounds on this computer so far."""
        return curves_of(self._link.history(), self._)

    def _show_curves(self) -> None:
        show_curves(self._("FedLiver: rounds on this computer"), self._("Round"), self._("Loss, Dice"), self.curves())

    def press_adopt(self) -> None:
        """Compare the new teacher with the present one, and adopt it if it is not worse."""
        candidate = self._candidate
        if candidate is not None and self._session.is_live(Control.ADOPT):
            self._session.run(Work.COMPARE, lambda watcher: self._desk.compare(candidate, watcher), self._show_comparison)

    def _show_comparison(self, comparison: Comparison) -> None:
        if comparison.current_dice is not None and comparison.candidate_dice is not None:
            self._session.tell(on.TeacherCompared(comparison.current_dice, comparison.candidate_dice, comparison.adopted))
            self._session.tell(on.Noticed(comparison.sentence, Tone.SUCCESS if comparison.adopted else Tone.WARNING))
        else:
            self._session.tell(on.WorkStopped(comparison.sentence, Tone.WARNING))
        self._session.tell(on.TeacherKnown(self._desk.teacher_name()))

    def press_keep(self) -> None:
        """Put the new teacher aside."""
        self._candidate = None
        self._session.tell(on.TeacherKept())


def curves_of(history: "Sequence[ProgressEvent]", _: Translate = unchanged) -> list[Curve]:
    """Loss by step, each round one unit wide, and the Dice of the model that each round began with.

    A round that is reported again, as when a run is started anew, replaces what came before: its later reports are the true ones.
    """
    loss: dict[float, float] = {}
    dice: dict[float, float] = {}
    for event in history:
        if event.phase == "training" and event.loss is not None and event.total:
            loss[event.round - 1 + event.step / event.total] = event.loss
        if event.dice is not None:
            dice[float(event.round)] = event.dice
    return [Curve(_("Loss"), tuple(sorted(loss.items()))), Curve(_("Dice on held-out cases"), tuple(sorted(dice.items())))]
