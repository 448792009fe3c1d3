"""The federation's own Python environment, from the panel: look at it, make it or make it anew, remove it. No Qt."""

from collections.abc import Callable
from typing import Any

from fedliver.slicer import panel_events as on
from fedliver.slicer.controls import Control
from fedliver.slicer.installation import wheel_folder
from fedliver.slicer.panel_state import Environment, Tone, Work
from fedliver.slicer.panel_work import PanelWork
from fedliver.watch import Watcher, report

_LINES = 120  # that an installer says, about


class EnvironmentWork(PanelWork):
    """See :class:`~fedliver.slicer.panel_work.PanelWork` for the parameters."""

    def press_examine_environment(self) -> None:
        """Let it import what it needs, and say whether it is whole."""
        if self.is_live(Control.ENVIRONMENT_CHECK):
            variables = self._link.variables_for_another_python()
            self._run(Work.ENVIRONMENT, lambda watcher: self._link.examine_environment(variables, watcher), self._show_environment)

    def press_make_environment(self) -> None:
        """Make it, or make it anew, after asking; or cancel that."""
        if self.state.work is Work.ENVIRONMENT:
            self._cancel()
        elif self.is_live(Control.ENVIRONMENT_MAKE) and self._ask(self._question()):
            self._make_environment(self._show_environment)

    def _question(self) -> str:
        if self.state.environment.own:
            return self._("Remove the federation's environment and make it anew (about 1 GB to download, unless a wheel folder is there)?")
        return self._("The federation needs a Python environment of its own in your FedLiver folder (about 1 GB). Make it now?")

    def _make_environment(self, finish: Callable[[Environment], None]) -> None:
        wheels, variables = wheel_folder(self._link.home), self._link.variables_for_another_python()

        def work(watcher: Watcher) -> Environment:
            lines = iter(range(1, 1_000_000))
            self._link.make_environment(variables, wheels, lambda line: report(watcher, line[:80], min(0.95, next(lines) / _LINES)))
            return self._link.environment()

        self._run(Work.ENVIRONMENT, work, finish)

    def press_remove_environment(self) -> None:
        """Remove what was made in the site's own folder, after asking."""
        question = self._("Remove the federation's environment from this computer? Your cases, teachers and membership stay; it can be made again.")
        if self.is_live(Control.ENVIRONMENT_REMOVE) and self._ask(question):
            self._run(Work.ENVIRONMENT, lambda _watcher: self._removed(), self._show_environment)

    def _removed(self) -> Environment:
        self._link.remove_environment()
        return self._link.environment()

    def _show_environment(self, environment: Environment) -> None:
        self._tell(on.WorkStopped("", Tone.INFORMATION), on.EnvironmentKnown(environment))

    def _look_at_the_environment(self, *_: Any) -> None:
        """Whether it is there; what was found out by looking into it stays as long as that is so."""
        now, before = self._link.environment(), self.state.environment
        if (now.there, now.own) != (before.there, before.own):
            self._tell(on.EnvironmentKnown(now))
