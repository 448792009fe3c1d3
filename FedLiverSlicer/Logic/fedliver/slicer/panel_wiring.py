"""Which control calls what of the workflow. No import of Qt: PythonQt connects signals by their signatures, and that is all this needs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any


def wire(ui: Any, workflow: Any, open_invitation: Callable[[], None], choose_folder: Callable[[], Path | None] = lambda: None) -> None:
    """Connect every control of the panel. ``ui``: the widgets by their names; ``open_invitation``: asks for a file and opens it; ``choose_folder``: asks for
    the folder whose scans are to be added, None where there is none to be had."""
    for button, press in (
        (ui.segmentButton, workflow.press_segment),
        (ui.nextButton, workflow.press_next),
        (ui.excludeButton, workflow.press_exclude),
        (ui.addScansButton, lambda: workflow.press_add_scans(choose_folder)),
        (ui.addThisButton, workflow.press_add_this),
        (ui.exportButton, workflow.press_export),
        (ui.lookButton, workflow.press_look),
        (ui.approveButton, workflow.press_approve),
        (ui.learnButton, workflow.press_learn),
        (ui.invitationButton, open_invitation),
        (ui.testButton, workflow.press_test),
        (ui.joinButton, workflow.press_join),
        (ui.leaveButton, workflow.press_leave),
        (ui.curvesButton, workflow.press_curves),
        (ui.environmentCheckButton, workflow.press_examine_environment),
        (ui.environmentMakeButton, workflow.press_make_environment),
        (ui.environmentRemoveButton, workflow.press_remove_environment),
        (ui.adoptButton, workflow.press_adopt),
        (ui.keepButton, workflow.press_keep),
    ):
        button.connect("clicked(bool)", _pressed(press))
    ui.strategyBox.connect("currentIndexChanged(int)", workflow.choose_strategy)
    ui.lesionsLabel.connect("linkActivated(QString)", lambda link: workflow.go_to_lesion(int(link.rpartition(":")[2])))
    ui.aheadCheckBox.connect("toggled(bool)", workflow.wish_ahead)
    ui.learnTimeBox.connect("currentIndexChanged(int)", workflow.choose_minutes)
    ui.learnFromWaitingCheckBox.connect("toggled(bool)", workflow.learn_from_waiting)
    ui.show3DCheckBox.connect("toggled(bool)", workflow.show_in_3d)
    ui.doubtCheckBox.connect("toggled(bool)", workflow.show_doubt)
    ui.reasonEdit.connect("textEdited(QString)", workflow.write_reason)
    ui.optInCheckBox.connect("toggled(bool)", workflow.opt_in)


def _pressed(press: Callable[[], None]) -> Callable[[bool], None]:
    return lambda _checked: press()
