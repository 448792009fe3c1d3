"""The clock of a correction: it counts work, and not a coffee break."""

from fedliver.slicer.correction_clock import PAUSE_SECONDS, CorrectionClock


class Time:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_time_between_edits_counts_and_a_break_counts_as_one_pause_at_most() -> None:
    time = Time()
    clock = CorrectionClock(time)
    clock.begin("A")
    for wait, total in ((30, 30), (60, 90), (3600, 90 + PAUSE_SECONDS), (5, 95 + PAUSE_SECONDS)):
        time.now += wait
        assert clock.seconds("A") == total
        clock.touch("A")
        assert clock.seconds("A") == total


def test_a_case_is_taken_up_with_the_time_it_has_cost_already() -> None:
    time = Time()
    clock = CorrectionClock(time)
    clock.begin("A", 300.0)
    time.now += 20
    assert clock.seconds("A") == 320


def test_cases_are_counted_apart_and_what_nobody_began_is_unknown() -> None:
    time = Time()
    clock = CorrectionClock(time)
    clock.begin("A")
    assert clock.seconds("B") is None
    time.now += 10
    clock.touch("B")
    time.now += 7
    assert (clock.seconds("A"), clock.seconds("B")) == (17, 7)
    clock.forget()
    assert clock.seconds("A") is None
