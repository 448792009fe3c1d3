"""The fidelity job: with ``SLICER_PYTHON_DIR`` set to Base/Python of Slicer's source, all widget tests run on Slicer's own Python layer."""

import os
from pathlib import Path
from typing import Any

import pytest
from seams import seams

FOLDER = os.environ.get("SLICER_PYTHON_DIR")

pytestmark = pytest.mark.skipif(not FOLDER, reason="SLICER_PYTHON_DIR is not set (Base/Python of Slicer's source): the other widget tests use our stand-ins")


def test_the_layer_in_use_is_slicers_own(desktop: Any) -> None:
    import inspect
    import sys

    panel = desktop.open_panel(**seams())
    for name in ("slicer.ScriptedLoadableModule", "slicer.parameterNodeWrapper", "slicer.i18n"):
        assert Path(inspect.getfile(sys.modules[name])).is_relative_to(Path(FOLDER or ""))
    assert type(panel._parameterNode).allParameters["ct"].serializer is not None


def test_slicers_own_wrapper_stores_the_panels_choices_in_the_scene(desktop: Any) -> None:
    panel = desktop.open_panel(**seams())
    panel._parameterNode.keepInside = False
    again = panel.logic.getParameterNode()
    assert again.keepInside is False
    assert again.show3D is False
    assert again.ct is None
