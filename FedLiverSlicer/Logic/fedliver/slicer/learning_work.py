"""Learning here, from this computer's own cases and without any federation: the panel's part. No Qt."""

from fedliver.slicer import panel_events as on
from fedliver.slicer.controls import Control
from fedliver.slicer.panel_state import Tone, Work
from fedliver.slicer.panel_work import PanelWork
from fedliver.slicer.site_desk import Lesson

LEARN_MINUTES = (5.0, 15.0, 60.0, 480.0)
"""In the order of the panel's list."""
_USUAL = 1


class LearningWork(PanelWork):
    """See :class:`~fedliver.slicer.panel_work.PanelWork` for the parameters."""

    _learn_minutes = LEARN_MINUTES[_USUAL]
    _learn_unlabelled = False

    def choose_minutes(self, number: int) -> None:
        """For how long at most: which of :data:`LEARN_MINUTES`."""
        if 0 <= number < len(LEARN_MINUTES):
            self._learn_minutes = LEARN_MINUTES[number]

    def learn_from_waiting(self, wanted: bool) -> None:
        """Whether scans that nobody has approved teach, too."""
        self._learn_unlabelled = wanted

    def press_learn(self) -> None:
        """Learn, or stop learning."""
        if self.state.work is Work.LEARN:
            self._cancel()
        elif self.is_live(Control.LEARN) and self._install_if_needed():
            self._guarded(self._start_learning)

    def _start_learning(self) -> None:
        minutes, unlabelled = self._learn_minutes, self._learn_unlabelled
        self._run(Work.LEARN, lambda watcher: self._desk.learn(minutes, unlabelled, watcher), self._show_lesson)

    def _show_lesson(self, lesson: Lesson) -> None:
        self._tell(on.Learnt(lesson.sentence), on.Noticed(lesson.sentence, Tone.SUCCESS if lesson.adopted else Tone.INFORMATION))
        self._tell(on.TeacherKnown(self._desk.teacher_name()))

    def _stopped_in_words(self) -> str:
        if self.state.work is Work.LEARN:
            return self._("Stopped. What was learned so far is kept: press Learn again, for the same time, and it goes on from there.")
        return super()._stopped_in_words()
