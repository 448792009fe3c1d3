"""Learning here, from this computer's own cases and without any federation: the panel's part. No Qt."""

from fedliver.slicer import panel_events as on
from fedliver.slicer.controls import Control
from fedliver.slicer.packages_work import PackagesWork
from fedliver.slicer.panel_session import PanelSession
from fedliver.slicer.panel_state import Tone, Work
from fedliver.slicer.site_desk import Lesson, SiteDesk

LEARN_MINUTES = (5.0, 15.0, 60.0, 480.0)
"""In the order of the panel's list."""
_USUAL = 1


class LearningWork:
    """``minutes``: for how long it learns at most. ``from_waiting``: whether scans that nobody has approved teach, too."""

    def __init__(self, session: PanelSession, desk: SiteDesk, packages: PackagesWork) -> None:
        self._session, self._desk, self._packages = session, desk, packages
        self._ = session.translated
        self.minutes = LEARN_MINUTES[_USUAL]
        self.from_waiting = False

    def choose_minutes(self, number: int) -> None:
        """For how long at most: which of :data:`LEARN_MINUTES`."""
        if 0 <= number < len(LEARN_MINUTES):
            self.minutes = LEARN_MINUTES[number]

    def learn_from_waiting(self, wanted: bool) -> None:
        """Whether scans that nobody has approved teach, too."""
        self.from_waiting = wanted

    def press_learn(self) -> None:
        """Learn, or stop learning."""
        if self._session.state.work is Work.LEARN:
            self._session.cancel()
        elif self._session.is_live(Control.LEARN) and self._packages.ensure():
            self._session.guarded(self._start_learning)

    def _start_learning(self) -> None:
        minutes, unlabelled = self.minutes, self.from_waiting
        stopped = self._("Stopped. What was learned so far is kept: press Learn again, for the same time, and it goes on from there.")
        self._session.run(Work.LEARN, lambda watcher: self._desk.learn(minutes, unlabelled, watcher), self._show_lesson, stopped=stopped)

    def _show_lesson(self, lesson: Lesson) -> None:
        self._session.tell(on.Learnt(lesson.sentence), on.Noticed(lesson.sentence, Tone.SUCCESS if lesson.adopted else Tone.INFORMATION))
        self._session.tell(on.TeacherKnown(self._desk.teacher_name()))
