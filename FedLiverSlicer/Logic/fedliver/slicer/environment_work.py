"""The federation's own Python environment, from the panel: look at it, make it or make it anew, remove it. No Qt."""

from collections.abc import Callable

from fedliver.slicer import panel_events as on
from fedliver.slicer.controls import Control
from fedliver.slicer.federation_link import FederationLink
from fedliver.slicer.installation import wheel_folder
from fedliver.slicer.panel_session import PanelSession
from fedliver.slicer.panel_state import Environment, Tone, Work
from fedliver.watch import Watcher, report

_LINES = 120  # that an installer says, about


class EnvironmentWork:
    """The environment is the link's: this asks, waits and says what came of it."""

    def __init__(self, session: PanelSession, link: FederationLink) -> None:
        self._session, self._link = session, link
        self._ = session.translated

    def press_examine(self) -> None:
        """Let it import what it needs, and say whether it is whole."""
        if self._session.is_live(Control.ENVIRONMENT_CHECK):
            variables = self._link.variables_for_another_python()
            self._session.run(Work.ENVIRONMENT, lambda watcher: self._link.examine_environment(variables, watcher), self._show)

    def press_make(self) -> None:
        """Make it, or make it anew, after asking; or cancel that."""
        if self._session.state.work is Work.ENVIRONMENT:
            self._session.cancel()
        elif self._session.is_live(Control.ENVIRONMENT_MAKE) and self.may_be_made():
            self.make()

    def may_be_made(self) -> bool:
        """Ask for the disk space and the download."""
        if self._session.state.environment.own:
            question = self._("Remove the federation's environment and make it anew (about 1 GB to download, unless a wheel folder is there)?")
        else:
            question = self._("The federation needs a Python environment of its own in your FedLiver folder (about 1 GB). Make it now?")
        return self._session.ask(question)

    def make(self, then: Callable[[], None] = lambda: None) -> None:
        """Make it, or make it anew. ``then``: called when it is there."""
        wheels, variables = wheel_folder(self._link.home), self._link.variables_for_another_python()

        def work(watcher: Watcher) -> Environment:
            lines = iter(range(1, 1_000_000))
            self._link.make_environment(variables, wheels, lambda line: report(watcher, line[:80], min(0.95, next(lines) / _LINES)))
            return self._link.environment()

        def finish(environment: Environment) -> None:
            self._show(environment)
            then()

        self._session.run(Work.ENVIRONMENT, work, finish)

    def press_remove(self) -> None:
        """Remove what was made in the site's own folder, after asking."""
        question = self._("Remove the federation's environment from this computer? Your cases, teachers and membership stay; it can be made again.")
        if self._session.is_live(Control.ENVIRONMENT_REMOVE) and self._session.ask(question):
            self._session.run(Work.ENVIRONMENT, lambda _watcher: self._removed(), self._show)

    def _removed(self) -> Environment:
        self._link.remove_environment()
        return self._link.environment()

    def _show(self, environment: Environment) -> None:
        self._session.tell(on.WorkStopped("", Tone.INFORMATION), on.EnvironmentKnown(environment))

    def look(self) -> None:
        """Whether it is there; what was found out by looking into it stays as long as that is so."""
        now, before = self._link.environment(), self._session.state.environment
        if (now.there, now.own) != (before.there, before.own):
            self._session.tell(on.EnvironmentKnown(now))
