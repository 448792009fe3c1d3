"""The federation's files and curves in the page: an invitation as text, the request as text, the curves when there is news."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from fedliver.slicer.charts import Curve
from fedliver.slicer.panel_state import Membership, PanelState, Round
from fedliver.web.invitations import Invitations


class Workflow:
    def __init__(self) -> None:
        self.state = PanelState()
        self.federation = self
        self.opened: list[str] = []
        self.asked_for_curves = 0

    def open_invitation(self, path: Path) -> None:
        self.opened.append(path.read_text())
        self.path = path

    def curves(self) -> list[Curve]:
        self.asked_for_curves += 1
        return [Curve("Loss", ((1.0, 0.5),))]


def made(tmp_path: Path) -> tuple[Invitations, Workflow, Any]:
    workflow = Workflow()
    link = SimpleNamespace(available=lambda: True, request_file=tmp_path / "request.json")
    return Invitations(workflow, link), workflow, link


def test_an_invitation_is_opened_from_a_file_that_nobody_else_can_reach_and_that_goes(tmp_path: Path) -> None:
    invitations, workflow, _link = made(tmp_path)
    invitations.open('{"coordinator_name": "North"}')
    assert json.loads(workflow.opened[0]) == {"coordinator_name": "North"}
    assert (workflow.path.parent.stat().st_mode & 0o077) == 0
    invitations.forget()
    assert not workflow.path.exists()


def test_an_invitation_of_any_length_is_cut(tmp_path: Path) -> None:
    invitations, workflow, _link = made(tmp_path)
    invitations.open("x" * 3_000_000)
    assert len(workflow.opened[0]) == 1_000_001
    invitations.forget()


def test_the_request_is_handed_out_to_the_invited_and_to_nobody_else(tmp_path: Path) -> None:
    invitations, workflow, link = made(tmp_path)
    link.request_file.write_text("a public key")
    invitations.look()
    assert invitations.request() == ""
    assert not invitations.shown()["has_request"]
    workflow.state = PanelState(membership=Membership.INVITED)
    invitations.look()
    assert invitations.request() == "a public key"
    assert invitations.shown()["has_request"]


def test_curves_are_drawn_when_a_round_has_moved_and_not_otherwise_and_can_be_hidden(tmp_path: Path) -> None:
    invitations, workflow, _link = made(tmp_path)
    invitations.look()
    assert invitations.shown()["curves"] == ""
    workflow.state = PanelState(membership=Membership.MEMBER, has_curves=True, round=Round(1, 3, 5, 10))
    invitations.look()
    invitations.look()
    assert workflow.asked_for_curves == 1
    assert "<svg" in invitations.shown()["curves"]
    workflow.state = PanelState(membership=Membership.MEMBER, has_curves=True, round=Round(1, 3, 6, 10))
    invitations.look()
    assert workflow.asked_for_curves == 2
    invitations.turn_curves()
    assert invitations.shown()["curves"] == ""
    invitations.turn_curves()
    assert "<svg" in invitations.shown()["curves"]
