"""The workflow as the desktop panel uses it: over this computer's site, with Slicer's own installers and questions."""

import time
from collections.abc import Callable
from pathlib import Path

from fedliver.slicer.federation_link import FederationLink
from fedliver.slicer.home_desk import HomeDesk
from fedliver.slicer.installation import Installation, SlicerPip, SlicerTorch, wheel_folder
from fedliver.slicer.panel_session import PanelSession
from fedliver.slicer.site_desk import SiteDesk
from fedliver.slicer.workflow import Workflow


def desktop_workflow(
    requirements: str,
    changed: Callable[[], None],
    ask: Callable[[str], bool],
    translate: Callable[[str, str], str],
    *,
    desk: SiteDesk | None = None,
    link: FederationLink | None = None,
    installation: Installation | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Workflow:
    """``requirements``: the file of what segmentation needs. ``desk``, ``link``, ``installation``: this computer's own unless given, as tests do.
    The rest is as in :class:`~fedliver.slicer.panel_session.PanelSession`."""
    own = HomeDesk()
    wheels = wheel_folder(own.home)
    return Workflow(
        desk or own,
        link or FederationLink(own.home),
        installation or Installation(Path(requirements), ask, SlicerPip(wheels), SlicerTorch(wheels)),
        PanelSession(changed=changed, ask=ask, clock=clock, translate=translate),
    )
