"""The workflow as the desktop panel uses it: over this computer's site, with Slicer's own installers and questions."""

from collections.abc import Callable
from pathlib import Path

from fedliver.slicer.federation_link import FederationLink
from fedliver.slicer.home_desk import HomeDesk
from fedliver.slicer.installation import Installation, SlicerPip, SlicerTorch, wheel_folder
from fedliver.slicer.workflow import Workflow


def desktop_workflow(requirements: str, changed: Callable[[], None], ask: Callable[[str], bool], translate: Callable[[str, str], str]) -> Workflow:
    """``requirements``: the file of what segmentation needs; the rest is as in :class:`~fedliver.slicer.panel_work.PanelWork`."""
    desk = HomeDesk()
    wheels = wheel_folder(desk.home)
    installation = Installation(Path(requirements), ask, SlicerPip(wheels), SlicerTorch(wheels))
    return Workflow(desk, FederationLink(desk.home), installation, changed=changed, ask=ask, translate=translate)
