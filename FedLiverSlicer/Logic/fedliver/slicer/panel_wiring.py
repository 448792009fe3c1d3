"""Which control calls what of the workflow. No import of Qt: PythonQt connects signals by their signatures, and that is all this needs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any


def wire(ui: Any, workflow: Any, open_invitation: Callable[[], None], choose_folder: Callable[[], Path | None] = lambda: None) -> None:
    """Connect every control of the panel. ``ui``: the widgets by their names; ``open_invitation``: asks for a file and opens it; ``choose_folder``: asks for
    the folder whose scans are to be added, None where there is none to be had."""
    for button, press in (
        (ui.segmentButton, workflow.segmenting.press_segment),
        (ui.nextButton, workflow.worklist.press_next),
        (ui.excludeButton, workflow.worklist.press_exclude),
        (ui.addScansButton, lambda: workflow.adding.press_add_scans(choose_folder)),
        (ui.addThisButton, workflow.adding.press_add_this),
        (ui.exportButton, workflow.worklist.press_export),
        (ui.lookButton, workflow.doubt.press_look),
        (ui.approveButton, workflow.approving.press_approve),
        (ui.learnButton, workflow.learning.press_learn),
        (ui.invitationButton, open_invitation),
        (ui.testButton, workflow.federation.press_test),
        (ui.joinButton, workflow.federation.press_join),
        (ui.leaveButton, workflow.federation.press_leave),
        (ui.curvesButton, workflow.federation.press_curves),
        (ui.environmentCheckButton, workflow.environment.press_examine),
        (ui.environmentMakeButton, workflow.environment.press_make),
        (ui.environmentRemoveButton, workflow.environment.press_remove),
        (ui.adoptButton, workflow.federation.press_adopt),
        (ui.keepButton, workflow.federation.press_keep),
    ):
        button.connect("clicked(bool)", _pressed(press))
    ui.strategyBox.connect("currentIndexChanged(int)", workflow.worklist.choose_strategy)
    ui.lesionsLabel.connect("linkActivated(QString)", lambda link: workflow.case.go_to_lesion(int(link.rpartition(":")[2])))
    ui.aheadCheckBox.connect("toggled(bool)", workflow.ahead.wish)
    ui.learnTimeBox.connect("currentIndexChanged(int)", workflow.learning.choose_minutes)
    ui.learnFromWaitingCheckBox.connect("toggled(bool)", workflow.learning.learn_from_waiting)
    ui.show3DCheckBox.connect("toggled(bool)", workflow.case.show_in_3d)
    ui.doubtCheckBox.connect("toggled(bool)", workflow.doubt.show)
    ui.reasonEdit.connect("textEdited(QString)", workflow.approving.write_reason)
    ui.optInCheckBox.connect("toggled(bool)", workflow.federation.opt_in)


def _pressed(press: Callable[[], None]) -> Callable[[bool], None]:
    return lambda _checked: press()
