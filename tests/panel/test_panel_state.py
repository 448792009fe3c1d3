"""The panel's state machine, as plain Python: every control in every state, and every event in every state."""

import itertools
import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from fedliver.slicer import panel_events as on
from fedliver.slicer.panel_advance import advance
from fedliver.slicer.panel_state import (
    Account,
    Candidate,
    Check,
    Effort,
    Environment,
    Measurements,
    Membership,
    PanelState,
    Place,
    Processor,
    Progress,
    Requirements,
    Round,
    Tone,
    Work,
)
from fedliver.slicer.panel_view import Control, time_left, view

PASSED = Check("same-grid", True, "The segmentation lies on the CT's grid.")
FAILED = Check("soft-tissue", False, "The values are all positive.")
OVERRULABLE = Check("liver-volume", False, "The liver measures 7200 ml.", can_override=True)
MEASURED = Measurements(1500.0, 12.5, 31.0)


def every_state() -> list[PanelState]:
    """The product of all that decides about a control, with impossible mixtures too: the view must not fall over any of them."""
    axes = {
        "requirements": list(Requirements),
        "ct": ["", "CT"],
        "ct_problem": ["", "This is no CT."],
        "segmentation": ["", "Liver"],
        "work": list(Work),
        "cancelling": [False, True],
        "measurements": [None, MEASURED, Measurements(0.0, 0.0, 9.0)],
        "checks": [(), (PASSED,), (PASSED, FAILED), (PASSED, OVERRULABLE)],
        "override_reason": ["", "polycystic liver"],
        "approved": [False, True],
    }
    clinical = [PanelState(**dict(zip(axes, values, strict=True))) for values in itertools.product(*axes.values())]
    federal = [
        PanelState(membership=membership, opted_in=opted_in, approved_cases=cases, candidate=candidate, work=work, federation="North", round=at)
        for membership, opted_in, cases, candidate, work, at in itertools.product(
            Membership,
            (False, True),
            (0, 1, 7),
            (None, Candidate("T 2"), Candidate("T 2", 0.9, 0.8)),
            Work,
            (Round(), Round(1, 3), Round(2, 3, 10, 40, 0.31, 0.88)),
        )
    ]
    return clinical + federal


@pytest.fixture(scope="module")
def states() -> list[PanelState]:
    return every_state()


@pytest.fixture(scope="module")
def views(states: list[PanelState]) -> list:
    return [(state, view(state)) for state in states]


def test_scans_without_approval_are_enough_to_join_only_where_the_federation_learns_from_them() -> None:
    def may_join(learns: bool, waiting: int) -> bool:
        invited = advance(PanelState(waiting=waiting), on.InvitationOpened("North", learns))
        return view(advance(invited, on.OptInChanged(True))).controls[Control.JOIN].live

    assert [may_join(learns, waiting) for learns, waiting in ((True, 2), (True, 0), (False, 2))] == [True, False, False]


def test_every_control_in_every_state_is_live_or_says_why_not(views: list) -> None:
    assert len(views) > 5000
    for state, look in views:
        assert set(look.controls) == set(Control)
        for control, shown in look.controls.items():
            assert shown.hint, (control, state)
            assert shown.hint[0].isupper() or shown.hint == state.ct_problem, (control, shown.hint)
            assert shown.hint.endswith("."), (control, shown.hint)
        assert look.status, state


def test_nothing_but_cancel_is_live_on_the_case_while_work_runs_unless_it_only_learns_or_adds(views: list) -> None:
    looking = {Control.SHOW_3D, Control.EDITOR, Control.KEEP_INSIDE, Control.SOFT_TISSUE, Control.LOOK, Control.DOUBT}
    for state, look in views:
        if state.busy:
            live = {control for control, shown in look.controls.items() if shown.live}
            assert not live & {Control.NEXT, Control.STRATEGY, Control.EXPORT, Control.TEST}
            assert not live & {Control.CT, Control.APPROVE, Control.REASON, Control.ADOPT, Control.KEEP}
            aside = state.work in (Work.LEARN, Work.ADD)
            assert aside or not live & looking
            assert not aside or not state.segmentation or Control.EDITOR in live
            assert (Control.ADD_SCANS in live) == (state.work is Work.ADD and not state.cancelling)
            assert Control.ADD_THIS not in live
            assert (Control.SEGMENT in live) == (state.work in (Work.SEGMENT, Work.COMPARE) and not state.cancelling)


def test_join_is_live_only_after_invitation_opt_in_and_an_approved_case(views: list) -> None:
    for state, look in views:
        allowed = state.membership is Membership.INVITED and state.opted_in and state.approved_cases > 0
        assert look.controls[Control.JOIN].live == allowed, state


def test_leave_is_live_exactly_while_this_site_is_connected_or_connecting(views: list) -> None:
    for state, look in views:
        assert look.controls[Control.LEAVE].live == (state.membership in (Membership.JOINING, Membership.MEMBER)), state


def test_auto_segment_is_live_exactly_with_a_usable_ct_and_nothing_running(views: list) -> None:
    for state, look in views:
        if not state.busy:
            assert look.controls[Control.SEGMENT].live == bool(state.ct and not state.ct_problem), state
            assert look.controls[Control.SEGMENT].label == "Auto-segment"


def test_approve_is_never_live_twice_for_the_same_segmentation(views: list) -> None:
    for state, look in views:
        if state.approved or not state.segmentation:
            assert not look.controls[Control.APPROVE].live, state


def test_a_check_that_may_be_overruled_asks_for_a_reason_before_approval() -> None:
    state = PanelState(ct="CT", segmentation="Liver", checks=(PASSED, OVERRULABLE))
    assert view(state).controls[Control.REASON].visible
    assert not view(state).controls[Control.APPROVE].live
    state = advance(state, on.OverrideReasonWritten("  polycystic liver "))
    assert state.override_reason == "polycystic liver"
    assert view(state).controls[Control.APPROVE].live
    assert [line.mark for line in view(state).checklist] == ["passed", "overridden"]


def test_a_reason_cannot_overrule_a_check_that_may_not_be_overruled() -> None:
    state = PanelState(ct="CT", segmentation="Liver", checks=(FAILED, OVERRULABLE), override_reason="I insist")
    assert not state.needs_reason
    assert not view(state).controls[Control.REASON].visible
    assert view(state).checklist[0].mark == "failed"


def test_the_clinicians_day_from_ct_to_approval() -> None:
    state = PanelState()
    state = advance(state, on.CtSelected("CT"))
    state = advance(state, on.WorkStarted(Work.SEGMENT, at=100.0))
    assert view(state).controls[Control.SEGMENT].label == "Cancel"
    state = advance(state, on.WorkProgressed("Liver", 0.25, at=110.0))
    assert state.progress.seconds_left == pytest.approx(30.0)
    assert view(state).progress_text == "Liver · about 30 s left"
    assert view(state).percent == 25
    state = advance(state, on.Segmented("Liver (teacher 1.0)", MEASURED))
    assert view(state).result == "Liver 1500 ml (with tumour), tumour 12.5 ml, in 31 s"
    assert view(state).percent is None
    state = advance(state, on.SegmentationEdited())
    assert state.edited
    assert view(state).result == ""
    state = advance(state, on.WorkStarted(Work.APPROVE, at=200.0))
    state = advance(state, on.CaseChecked((PASSED,), approved_cases=1))
    assert state.approved
    assert view(state).status == "Approved. 1 case approved on this computer."
    assert view(advance(state, on.SegmentationEdited())).controls[Control.APPROVE].live


def test_the_federations_day_from_invitation_to_leaving() -> None:
    state = PanelState(approved_cases=2)
    state = advance(state, on.InvitationOpened("North"))
    assert not view(state).controls[Control.JOIN].live
    assert advance(state, on.JoinStarted()) == state, "Join without opt-in changes nothing"
    state = advance(advance(state, on.OptInChanged(True)), on.JoinStarted())
    assert state.membership is Membership.JOINING
    state = advance(state, on.RoundReported(Round(2, 3, 10, 40, 0.31)))
    assert view(state).federation == "Round 2 of 3 · step 10 of 40 · loss 0.310"
    assert view(state).round_percent == 25
    state = advance(advance(state, on.LeaveStarted()), on.Left())
    assert state.membership is Membership.INVITED
    assert not state.opted_in, "who leaves takes the consent back"


def test_opening_another_invitation_takes_the_consent_back() -> None:
    state = advance(advance(PanelState(approved_cases=1), on.InvitationOpened("North")), on.OptInChanged(True))
    assert state.opted_in
    assert not advance(state, on.InvitationOpened("South")).opted_in


def test_a_late_round_report_after_leaving_does_not_make_a_member_again() -> None:
    state = PanelState(membership=Membership.LEAVING, federation="North")
    assert advance(state, on.RoundReported(Round(1, 2))) == state
    assert advance(advance(state, on.Left()), on.RoundReported(Round(1, 2))).membership is Membership.INVITED


def test_a_worse_teacher_is_not_adopted_and_both_numbers_are_shown() -> None:
    state = advance(PanelState(teacher="T 1"), on.TeacherOffered("T 2"))
    assert view(state).controls[Control.ADOPT].live
    worse = advance(state, on.TeacherCompared(0.93, 0.90, adopted=False))
    assert worse.teacher == "T 1"
    assert "0.900" in view(worse).candidate
    assert "0.930" in view(worse).candidate
    assert not view(worse).controls[Control.ADOPT].live
    assert view(worse).controls[Control.KEEP].live
    better = advance(state, on.TeacherCompared(0.90, 0.93, adopted=True))
    assert (better.teacher, better.candidate) == ("T 2", None)


def test_an_offer_repeated_by_the_poll_keeps_the_comparison() -> None:
    state = advance(advance(PanelState(), on.TeacherOffered("T 2")), on.TeacherCompared(0.93, 0.90, adopted=False))
    assert advance(state, on.TeacherOffered("T 2")) == state
    assert advance(state, on.TeacherOffered("T 3")).candidate == Candidate("T 3")


def test_closing_the_scene_clears_the_case_and_keeps_the_federation() -> None:
    state = PanelState(
        ct="CT", segmentation="Liver", work=Work.SEGMENT, measurements=MEASURED, membership=Membership.MEMBER, federation="North", approved_cases=3
    )
    after = advance(state, on.SceneClosed())
    assert after == PanelState(membership=Membership.MEMBER, federation="North", approved_cases=3)


def test_choosing_another_ct_forgets_the_result_and_choosing_the_same_keeps_it() -> None:
    state = advance(advance(PanelState(), on.CtSelected("A")), on.Segmented("Liver", MEASURED))
    assert advance(state, on.CtSelected("A")) == state
    assert advance(state, on.CtSelected("B")).measurements is None


def test_an_empty_result_says_so_instead_of_a_grey_3d_button_without_a_word() -> None:
    state = PanelState(ct="CT", segmentation="Liver", measurements=Measurements(0.0, 0.0, 5.0))
    assert "no liver was found" in view(state).controls[Control.SHOW_3D].hint
    assert view(state).result.startswith("No liver was found")


def _events() -> list[object]:
    return [
        on.RequirementsKnown(Requirements.MISSING),
        on.RequirementsKnown(Requirements.READY),
        on.TeacherKnown("T"),
        on.CtSelected("A"),
        on.CtSelected("B", "This is no CT."),
        on.CtSelected(""),
        on.SegmentationSelected("S"),
        on.SegmentationSelected(""),
        on.SegmentationEdited(),
        *[on.WorkStarted(work, 1.0) for work in Work if work is not Work.NONE],
        on.WorkProgressed("x", 0.5, 9.0),
        on.WorkProgressed("x", float("1e9"), 9.0),
        on.CancelRequested(),
        on.WorkStopped("Cancelled.", Tone.INFORMATION),
        on.Installed(),
        on.Segmented("S2", MEASURED),
        on.CaseChecked((PASSED, FAILED)),
        on.CaseChecked((OVERRULABLE,)),
        on.CaseChecked((PASSED,), 4),
        on.CaseChecked((PASSED,), 4, "C-1", Effort(95.0, 12.5, 3, 40, 812.0), MEASURED),
        on.ResultRecalled(MEASURED, (PASSED,), Effort(95.0, 12.5, 3, 40, 812.0), True),
        on.ResultRecalled(None),
        on.PlacesKnown((Place((1.0, 2.0, 3.0), "liver"), Place((4.0, 5.0, 6.0), "tumour")), True),
        on.PlacesKnown(()),
        on.PlaceShown(1),
        on.PlaceShown(7),
        on.WaitingCounted(3),
        on.WaitingCounted(0),
        on.NewCounted(2),
        on.AheadWished(True),
        on.AheadWished(False),
        on.AheadReported(0.4),
        on.AheadReported(None, "This is no CT."),
        on.CorrectionTimed(130.0),
        on.CaseExported(),
        on.CurvesKnown(True),
        on.ConnectionTested((PASSED, FAILED)),
        on.ProcessorKnown(Processor(2, True)),
        on.EnvironmentKnown(Environment(True, True, "It is whole.")),
        on.EnvironmentKnown(Environment()),
        on.LedgerRead(Account(2, 3.5, 7.0, 1.2, ("Round 1: an update left.",))),
        on.ApprovedCasesCounted(2),
        on.ApprovedCasesCounted(4, 1),
        on.Learnt("Learned 20 steps in 15 min. Adopted."),
        on.OverrideReasonWritten("because"),
        on.InvitationOpened("North"),
        on.OptInChanged(True),
        on.OptInChanged(False),
        on.JoinStarted(),
        on.Joined("North"),
        on.RoundReported(Round(1, 2, 3, 4)),
        on.LeaveStarted(),
        on.Left(),
        on.Left("The coordinator does not answer."),
        on.TeacherOffered("T 2"),
        on.TeacherCompared(0.5, 0.6, True),
        on.TeacherCompared(0.6, 0.5, False),
        on.TeacherKept(),
        on.SceneClosed(),
        on.Noticed("Hello."),
    ]


def test_every_kind_of_event_is_tried_below() -> None:
    declared = {value for name, value in vars(on).items() if isinstance(value, type) and value.__module__ == on.__name__}
    assert declared == {type(event) for event in _events()}


def test_every_event_in_states_reached_by_any_order_of_events_leaves_a_panel_that_can_be_shown() -> None:
    chance = random.Random(7)  # noqa: S311 (a test's shuffle)
    events = _events()
    for _ in range(300):
        state = PanelState()
        for event in chance.choices(events, k=30):
            state = advance(state, event)
            look = view(state)
            assert look.status
            assert state.progress == Progress() or state.busy, "progress lasts no longer than the work"
            assert not (state.cancelling and not state.busy)
            assert not (state.membership is Membership.MEMBER and not state.federation)
            if state.membership is Membership.JOINING:
                assert state.opted_in, "no way to connect without opt-in"


def test_what_is_no_event_is_refused() -> None:
    with pytest.raises(TypeError, match="no event"):
        advance(PanelState(), "clicked")


def test_states_are_immutable() -> None:
    with pytest.raises(AttributeError):
        PanelState().ct = "CT"  # type: ignore[misc]
    assert replace(PanelState(), ct="CT").ct == "CT"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(1, "a few seconds left"), (12, "about 10 s left"), (54, "about 55 s left"), (58, "about 1 min left"), (200, "about 3 min left")],
)
def test_time_left_is_rounded_to_what_a_person_wants_to_know(seconds: float, words: str) -> None:
    assert time_left(seconds) == words


def test_every_sentence_of_the_view_can_be_translated() -> None:
    seen: set[str] = set()

    def shout(text: str) -> str:
        seen.add(text)
        return "¿" + text

    for state in (PanelState(), PanelState(ct="CT", segmentation="L", measurements=MEASURED), PanelState(membership=Membership.MEMBER, federation="North")):
        look = view(state, shout)
        for shown in look.controls.values():
            assert shown.hint.startswith("¿")
        assert look.status.startswith("¿")
        assert look.federation.startswith("¿")
        assert all(sentence.startswith("¿") for sentence in look.stays)
    assert len(seen) > 25


def test_the_state_machine_imports_the_standard_library_only() -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import fedliver.slicer.panel_view, fedliver.slicer.panel_advance, fedliver.slicer.panel_show;"
        "print([m for m in sys.modules if m.split('.')[0] in ('numpy', 'SimpleITK', 'slicer', 'vtk', 'qt', 'PySide6', 'pydantic', 'torch')])"
    )
    logic = Path(on.__file__).parents[2]
    answer = subprocess.run([sys.executable, "-c", code, str(logic)], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


def test_the_panel_opens_before_any_package_is_installed() -> None:
    """What the module imports to open: with numpy, SimpleITK and Slicer's own, and none of what is installed at the first press."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "class Absent:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] in ('pydantic', 'filelock', 'torch', 'monai', 'nibabel', 'psutil', 'highdicom', 'pydicom', 'matplotlib', 'flwr'):\n"
        "            raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Absent())\n"
        "import fedliver.slicer.workflow, fedliver.slicer.home_desk, fedliver.slicer.panel_show, fedliver.slicer.editor, fedliver.slicer.installation"
    )
    subprocess.run([sys.executable, "-c", code, str(Path(on.__file__).parents[2])], capture_output=True, text=True, check=True)


def test_a_graphics_card_is_named_where_the_network_ran_on_one() -> None:
    known = advance(PanelState(), on.ProcessorKnown(Processor(2, True, "Imaginary 9000")))
    assert view(known).processor == "the graphics card Imaginary 9000 (bfloat16)"
