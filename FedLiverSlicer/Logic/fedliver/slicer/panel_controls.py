"""All controls of the panel: what each looks like in a state. Standard library only."""

from collections.abc import Mapping

from fedliver.slicer.case_controls import CASE_CONTROLS
from fedliver.slicer.controls import Control, ControlView, Look
from fedliver.slicer.federation_controls import FEDERATION_CONTROLS
from fedliver.slicer.teacher_controls import TEACHER_CONTROLS

__all__ = ["CONTROLS", "Control", "ControlView", "Look"]

CONTROLS: Mapping[Control, Look] = {**CASE_CONTROLS, **FEDERATION_CONTROLS, **TEACHER_CONTROLS}
