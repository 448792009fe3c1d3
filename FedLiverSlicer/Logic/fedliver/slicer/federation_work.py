"""The federation's part of the panel: invitation, join, rounds, leave, a new teacher. No Qt."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fedliver.slicer import panel_events as on
from fedliver.slicer.charts import Curve, show_curves
from fedliver.slicer.environment_work import EnvironmentWork
from fedliver.slicer.panel_state import Environment, Membership, Requirements, Tone, Work
from fedliver.slicer.panel_view import Control, Translate, unchanged
from fedliver.slicer.site_desk import Comparison

if TYPE_CHECKING:
    from fedliver.site.progress import ProgressEvent


class FederationWork(EnvironmentWork):
    """See :class:`~fedliver.slicer.panel_work.PanelWork` for the parameters."""

    _candidate: Path | None = None

    def open_invitation(self, path: Path) -> None:
        if self.is_live(Control.INVITATION) and self._install_if_needed():
            self._guarded(lambda: self._link.enrol(path))

    def press_test(self) -> None:
        """Try every step from here to the coordinator."""
        if self.is_live(Control.TEST):
            self._run(Work.TEST, self._link.examine, lambda steps: self._tell(on.ConnectionTested(steps)))

    def opt_in(self, agreed: bool) -> None:
        self._tell(on.OptInChanged(agreed))

    def press_join(self) -> None:
        if not self.is_live(Control.JOIN) or self.working:
            return
        if self._link.environment_ready():
            self._guarded(self._join)
        elif self._ask(self._question()):
            self._make_environment(self._join_after_all)
        else:
            self._tell(on.Noticed(self._("Not joined: the federation's environment was not installed.")))

    def _join_after_all(self, environment: Environment) -> None:
        self._show_environment(environment)
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
        news = self._link.poll()
        self._tell(*news)
        if any(isinstance(event, on.RoundReported) for event in news):
            self._tell(on.CurvesKnown(True))
            self._guarded(lambda: self._tell(on.LedgerRead(self._link.account())))
        candidate = self._link.newest_candidate() if self.state.membership is not Membership.OUTSIDE else None
        if candidate is not None and not self._desk.knows(candidate):
            self._candidate = candidate
            self._tell(on.TeacherOffered(f"{self.state.federation}, {candidate.name.replace('-', ' ')}"))

    def press_curves(self) -> None:
        """Draw loss and Dice of all rounds on this computer."""
        if self.is_live(Control.CURVES):
            self._guarded(self._show_curves)

    def curves(self) -> list[Curve]:
        """Loss and Dice of all rounds on this computer so far."""
        return curves_of(self._link.history(), self._)

    def _show_curves(self) -> None:
        show_curves(self._("FedLiver: rounds on this computer"), self._("Round"), self._("Loss, Dice"), self.curves())

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
