"""The federation in the panel: invitation, consent, connection, rounds, curves, ledger, a new teacher."""

from pathlib import Path
from typing import Any

from hands import press
from seams import Desk, Link, seams

from fedliver.errors import FedLiverError
from fedliver.site.progress import ProgressEvent
from fedliver.slicer import panel_events as on
from fedliver.slicer.panel_state import Account, Check, Membership, Round
from fedliver.slicer.site_desk import Comparison


def test_join_needs_an_invitation_an_approved_case_and_the_users_explicit_yes(desktop: Any) -> None:
    link, desk = Link(), Desk(approved=2)
    desktop.file_to_open = "/mail/invitation.json"
    panel = desktop.open_panel(**seams(link=link, desk=desk))
    assert not panel.ui.joinButton.enabled
    assert panel.ui.consentFrame.isHidden()
    panel.ui.invitationButton.click()
    assert link.asked == ["enrol invitation.json"]
    panel.onFederationTimer()
    assert not panel.ui.consentFrame.isHidden()
    assert panel.workflow.view.leaves
    for sentence in (*panel.workflow.view.leaves, *panel.workflow.view.rules, *panel.workflow.view.stays):
        assert sentence[:30] in panel.ui.leavesLabel.text.replace("&#x27;", "'")
    assert not panel.ui.joinButton.enabled
    panel.ui.joinButton.click()
    assert link.asked == ["enrol invitation.json"]
    panel.ui.optInCheckBox.checked = True
    assert panel.ui.joinButton.enabled
    panel.ui.optInCheckBox.checked = False
    assert not panel.ui.joinButton.enabled
    panel.ui.optInCheckBox.checked = True
    panel.ui.joinButton.click()
    assert link.asked[-1] == "join"
    assert panel.workflow.state.membership is Membership.JOINING


def test_rounds_are_shown_as_they_are_reported_and_leave_ends_them(desktop: Any) -> None:
    link = Link(before=[on.Joined("North")])
    panel = desktop.open_panel(**seams(link=link, desk=Desk(approved=1)))
    assert panel.ui.leaveButton.enabled
    link.news = [on.RoundReported(Round(2, 3, 10, 40, 0.31, 0.88))]
    panel.onFederationTimer()
    assert panel.ui.federationLabel.text == "Round 2 of 3 · step 10 of 40 · loss 0.310 · Dice 0.880"
    assert panel.ui.roundBar.value == 25
    panel.ui.leaveButton.click()
    assert link.asked == ["leave"]
    link.news = [on.Left()]
    panel.onFederationTimer()
    assert not panel.ui.leaveButton.enabled
    assert not panel.ui.optInCheckBox.checked, "to join again, the user must agree again"


def test_a_damaged_invitation_is_refused_in_words(desktop: Any) -> None:
    link = Link(bad_invitation=FedLiverError("not-an-invitation", "x.json is not an invitation: ask the coordinator."))
    desktop.file_to_open = "/mail/x.json"
    panel = desktop.open_panel(**seams(link=link))
    panel.ui.invitationButton.click()
    assert panel.ui.statusLabel.text == "x.json is not an invitation: ask the coordinator."
    assert link.asked == []
    assert panel.workflow.state.membership is Membership.OUTSIDE


def test_closing_the_file_dialog_does_nothing(desktop: Any) -> None:
    link = Link()
    panel = desktop.open_panel(**seams(link=link))
    panel.ui.invitationButton.click()
    assert link.asked == []


def test_a_missing_federation_environment_is_asked_for_before_join(desktop: Any) -> None:
    link = Link(before=[on.InvitationOpened("North")], has_environment=False)
    panel = desktop.open_panel(**seams(link=link, desk=Desk(approved=1)))
    panel.ui.optInCheckBox.checked = True
    panel.ui.joinButton.click()
    assert "1 GB" in desktop.questions[-1]
    assert link.asked == []
    assert panel.ui.joinButton.enabled


def test_a_new_teacher_is_offered_compared_and_adopted(desktop: Any) -> None:
    link, desk = Link(before=[on.Joined("North")], candidate=Path("/site/candidates/round-003")), Desk(approved=3)
    panel = desktop.open_panel(**seams(link=link, desk=desk))
    assert panel.ui.candidateFrame.isHidden()
    panel.onFederationTimer()
    assert not panel.ui.candidateFrame.isHidden()
    assert "round 003" in panel.ui.candidateLabel.text
    desk.comparison = Comparison(False, 0.93, 0.90, "Not adopted: liver Dice 0.900 against 0.930.")
    panel.ui.adoptButton.click()
    desktop.wait(lambda: not panel.workflow.working)
    assert desk.compared == [Path("/site/candidates/round-003")]
    assert "0.900" in panel.ui.candidateLabel.text
    assert "0.930" in panel.ui.candidateLabel.text
    assert not panel.ui.adoptButton.enabled
    panel.ui.keepButton.click()
    assert panel.ui.candidateFrame.isHidden()


def test_show_curves_draws_what_this_site_has_reported(desktop: Any) -> None:
    rounds = [ProgressEvent(phase="training", round=1, rounds=2, step=5, total=10, loss=0.5), ProgressEvent(phase="evaluating", round=1, rounds=2, dice=0.9)]
    link = Link(before=[on.Joined("North")])
    panel = desktop.open_panel(**seams(link=link))
    assert not panel.ui.curvesButton.enabled
    link.rounds = rounds
    panel.workflow.session.state = panel.workflow.state.__class__()
    panel.workflow.refresh()
    assert panel.ui.curvesButton.enabled
    panel.ui.curvesButton.click()
    chart = desktop.scene.GetFirstNodeByClass("vtkMRMLPlotChartNode")
    assert chart.GetNumberOfPlotSeriesNodes() == 2


def test_the_connection_is_tested_step_by_step_and_the_step_that_fails_is_named(desktop: Any) -> None:
    link = Link(before=[on.InvitationOpened("North")])
    link.steps = (Check("name", True, "The name is known."), Check("port", False, "Port 443 does not answer: ask your IT whether it is open."))
    panel = desktop.open_panel(**seams(link=link))
    press(desktop, panel, "testButton")
    assert link.asked == ["test"]
    assert panel.ui.connectionLabel.text.count("✓") == 1
    assert "ask your IT" in panel.ui.connectionLabel.text
    assert panel.workflow.state.membership.value == "invited"


def test_without_an_invitation_there_is_no_connection_to_test(desktop: Any) -> None:
    panel = desktop.open_panel(**seams())
    assert panel.ui.testButton.isHidden()


def test_the_ledger_tells_what_left_and_what_came_in(desktop: Any) -> None:
    link = Link(before=[on.Joined("North")])
    panel = desktop.open_panel(**seams(link=link))
    assert panel.ui.ledgerLabel.isHidden()
    link.ledger = Account(2, 3.46, 7.0, 1.234, ("Round 2: an update of 3 cases left, 1.7 MB.",))
    link.news = [on.RoundReported(Round(2, 5))]
    panel.onFederationTimer()
    text = panel.ui.ledgerLabel.text
    assert "updates sent: 2 (3.5 MB), 7.0 MB received, epsilon 1.23 spent" in text
    assert "an update of 3 cases left" in text
    link.ledger = Account(3, 5.2, 7.0, 1.234, (), without_noise=1)
    link.news = [on.RoundReported(Round(3, 5))]
    panel.onFederationTimer()
    assert "epsilon 1.23 spent; updates that left without noise, which no epsilon covers: 1." in panel.ui.ledgerLabel.text


# ---- the federation's own Python environment


def test_the_environment_is_looked_into_and_told_in_words(desktop: Any) -> None:
    link = Link()
    panel = desktop.open_panel(**seams(link=link))
    assert panel.ui.environmentLabel.text == "It is in your FedLiver folder."
    press(desktop, panel, "environmentCheckButton")
    assert panel.ui.environmentLabel.text == "The federation's environment is whole: Flower 1.41.0."
    assert link.asked == ["examine"]


def test_the_environment_is_removed_and_made_again_only_after_asking(desktop: Any) -> None:
    link = Link()
    panel = desktop.open_panel(**seams(link=link))
    press(desktop, panel, "environmentRemoveButton")
    assert link.asked == [], "the answer was no"
    desktop.answers.append(True)
    press(desktop, panel, "environmentRemoveButton")
    assert (link.asked, panel.ui.environmentRemoveButton.enabled) == (["remove"], False)
    assert panel.ui.environmentLabel.text.startswith("Not made yet")
    assert panel.ui.environmentMakeButton.text == "Make…"
    desktop.answers.append(True)
    press(desktop, panel, "environmentMakeButton")
    assert (link.asked, panel.ui.environmentMakeButton.text) == (["remove", "make"], "Make anew…")


def test_making_the_environment_can_be_cancelled(desktop: Any) -> None:
    link = Link(has_environment=False, slow_installer=True)
    panel = desktop.open_panel(**seams(link=link))
    desktop.answers.append(True)
    panel.ui.environmentMakeButton.click()
    desktop.wait(lambda: panel.ui.progressLabel.text.startswith("Still installing"))
    assert panel.ui.environmentMakeButton.text == "Cancel"
    panel.ui.environmentMakeButton.click()
    desktop.wait(lambda: not panel.workflow.working)
    assert "Cancelled" in panel.ui.statusLabel.text


def test_join_makes_the_missing_environment_and_then_joins(desktop: Any) -> None:
    link = Link(before=[on.InvitationOpened("North")], has_environment=False)
    panel = desktop.open_panel(**seams(link=link, desk=Desk(approved=1)))
    panel.ui.optInCheckBox.checked = True
    desktop.answers.append(True)
    press(desktop, panel, "joinButton")
    assert link.asked == ["make", "join"]
    assert panel.workflow.state.membership is Membership.JOINING


def test_while_this_site_is_a_member_its_environment_stays(desktop: Any) -> None:
    panel = desktop.open_panel(**seams(link=Link(before=[on.Joined("North")]), desk=Desk(approved=1)))
    for button in (panel.ui.environmentMakeButton, panel.ui.environmentRemoveButton):
        assert not button.enabled
        assert "Leave the federation first" in button.toolTip
    assert panel.ui.environmentCheckButton.enabled
