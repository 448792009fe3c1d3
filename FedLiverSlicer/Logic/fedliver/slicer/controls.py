"""What a control of the panel is: live or dead, with the sentence that says why. Standard library only.

Every sentence passes through ``_``, the translator that the caller brings: see :mod:`~fedliver.slicer.translation`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from fedliver.slicer.panel_state import PanelState, Work
from fedliver.slicer.translation import Translate


class Control(Enum):
    """The panel's controls, in the order of the clinician's work. The values are the widgets' names in the .ui file."""

    CT = "ctSelector"
    SEGMENT = "segmentButton"
    SHOW_3D = "show3DCheckBox"
    NEXT = "nextButton"
    EXCLUDE = "excludeButton"
    STRATEGY = "strategyBox"
    ADD_SCANS = "addScansButton"
    ADD_THIS = "addThisButton"
    AHEAD = "aheadCheckBox"
    EDITOR = "editorFrame"
    LOOK = "lookButton"
    DOUBT = "doubtCheckBox"
    KEEP_INSIDE = "keepInsideCheckBox"
    SOFT_TISSUE = "softTissueCheckBox"
    APPROVE = "approveButton"
    REASON = "reasonEdit"
    EXPORT = "exportButton"
    LEARN = "learnButton"
    LEARN_TIME = "learnTimeBox"
    LEARN_FROM_WAITING = "learnFromWaitingCheckBox"
    INVITATION = "invitationButton"
    TEST = "testButton"
    OPT_IN = "optInCheckBox"
    JOIN = "joinButton"
    LEAVE = "leaveButton"
    CURVES = "curvesButton"
    ENVIRONMENT_CHECK = "environmentCheckButton"
    ENVIRONMENT_MAKE = "environmentMakeButton"
    ENVIRONMENT_REMOVE = "environmentRemoveButton"
    ADOPT = "adoptButton"
    KEEP = "keepButton"


@dataclass(frozen=True)
class ControlView:
    """A control. ``hint``: what it does when live, why not when dead; never empty. ``label``: its text, empty to leave it alone."""

    live: bool
    hint: str
    label: str = ""
    visible: bool = True


Look = Callable[[PanelState, Translate], ControlView]
"""What a control looks like in a state."""


def live(hint: str, label: str = "", visible: bool = True) -> ControlView:
    return ControlView(True, hint, label, visible)


def dead(hint: str, label: str = "", visible: bool = True) -> ControlView:
    return ControlView(False, hint, label, visible)


def while_busy(state: PanelState, _: Translate) -> str:
    return {
        Work.INSTALL: _("Wait until the installation has finished."),
        Work.SEGMENT: _("Wait until the segmentation has finished, or cancel it."),
        Work.APPROVE: _("Wait until the case has been checked and stored."),
        Work.COMPARE: _("Wait until both teachers have been compared, or cancel the comparison."),
        Work.OPEN: _("Wait until the next case is open."),
        Work.ADD: _("Wait until the scans are added, or stop it: what was added stays."),
        Work.EXPORT: _("Wait until the DICOM SEG is in the database."),
        Work.TEST: _("Wait until the connection has been tested."),
        Work.ENVIRONMENT: _("Wait until the federation's environment has been looked after."),
        Work.LEARN: _("Wait until it has learned, or stop it: what it learned so far is kept."),
    }[state.work]
