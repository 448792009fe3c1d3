"""The page: shows the workflow's view, passes presses on. What FedLiverSlicer.py is on the desktop."""

import asyncio
import logging
from pathlib import Path
from typing import Any

from fedliver.errors import FedLiverError
from fedliver.slicer.background import ThreadJob
from fedliver.slicer.federation_link import FederationLink
from fedliver.slicer.home_desk import HomeDesk
from fedliver.slicer.installation import Installation
from fedliver.slicer.panel_view import Control
from fedliver.slicer.workflow import Workflow
from fedliver.web.opening import Opening
from fedliver.web.page_view import in_a_browser, shown
from fedliver.web.presses import Presses
from fedliver.web.settings import WorkbenchSettings
from fedliver.web.stage import SLICES, Stage
from fedliver.web.words import PAGE_WORDS, panel_words

_PAGE = Path(__file__).resolve().parent / "assets" / "page.html"
_TICK_SECONDS = 0.1
_SLOW_SECONDS = 1.0
_LOG = logging.getLogger("fedliver")


class Page:
    """One page over one workflow; however many browser windows show it, they show the same.

    ``server``: a trame server that has not been started.
    """

    def __init__(self, server: Any, settings: WorkbenchSettings) -> None:
        self._server = server
        self._state = server.state
        self._words = panel_words()
        self._told: dict[str, Any] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._stage = Stage(server, self._on_moved)
        self._presses = Presses(self._show)
        desk = HomeDesk(settings.home)
        self._link = FederationLink(desk.home)
        installation = Installation(Path("requirements.txt"), self._presses.ask, _Refused(), _Refused())
        self.workflow = Workflow(
            desk,
            self._link,
            installation,
            changed=self._on_changed,
            ask=self._presses.ask,
            start_job=lambda work: ThreadJob(work, lend_seconds=0.0),  # asyncio waits without Python's lock: nothing needs to be lent
            translate=in_a_browser,
        )
        self._opening = Opening(self.workflow, settings.inbox, settings.data)
        self._make_template()
        self._make_presses()
        self._tell(words=self._words.text, words_of_page=PAGE_WORDS, choices={name: list(entries) for name, entries in self._words.choices.items()})
        self._tell(slice_names=list(SLICES), slices={name: self._position(name) for name in SLICES}, strategy=0, show_3d=False, data_name="")
        self._tell(open_sections={"segmentSection": True, "refineSection": False, "approveSection": False, "federationSection": False})
        self._state.trame__title = "FedLiver"
        self._state.trame__favicon = None
        self._show()

    def begin(self) -> None:
        """The server listens: look at the site, and let time pass."""
        self.workflow.refresh()
        self._tasks = [asyncio.ensure_future(self._pass(_TICK_SECONDS, self._tick)), asyncio.ensure_future(self._pass(_SLOW_SECONDS, self._tick_slowly))]

    def close(self) -> None:
        """The process ends. A site that has joined stays joined: its node does not need the page."""
        self.workflow.close()
        self._opening.forget()

    # ---- time

    async def _pass(self, seconds: float, tick: Any) -> None:
        while True:
            await asyncio.sleep(seconds)
            try:
                tick()
            except Exception:  # the page must live on
                _LOG.exception("the page's timer failed")

    def _tick(self) -> None:
        if self.workflow.working:
            self.workflow.tick()
        self._show()

    def _tick_slowly(self) -> None:
        self._opening.look()
        self.workflow.check_nodes()
        self.workflow.poll_federation()

    # ---- presses

    def _make_template(self) -> None:
        from trame.ui.html import DivLayout

        with DivLayout(self._server) as layout:
            layout.root.add_child(_PAGE.read_text())

    def _make_presses(self) -> None:
        presses, workflow = self._presses, self.workflow
        presses.on(Control.SEGMENT.value, workflow.press_segment)
        presses.on(Control.NEXT.value, workflow.press_next)
        presses.on(Control.EXCLUDE.value, workflow.press_exclude)
        presses.on(Control.CT.value, self._choose_ct)
        presses.on("lesion", lambda number: workflow.go_to_lesion(int(number)))
        presses.on("open_data", self._opening.open_data)
        presses.on("open_series", self._opening.choose_series)
        trigger = self._server.trigger
        trigger("press")(presses.press)
        trigger("go")(lambda name, at: self._stage.go(str(name), float(at)))
        trigger("move")(self._move)
        trigger("uploading")(self._opening.report)
        trigger("uploaded")(self._opening.ended)
        trigger("open_upload")(self._opening.open_upload)
        self._state.change("strategy")(lambda strategy, **_others: workflow.choose_strategy(int(strategy)))
        self._state.change("show_3d")(lambda show_3d, **_others: self._show_3d(bool(show_3d)))

    def _move(self, name: str, way: str, much: Any) -> None:
        if way == "scroll" and name in SLICES:
            self._stage.scroll(name, int(much))
        elif way == "zoom":
            self._stage.zoom(name, bool(much))

    def _choose_ct(self, identifier: str) -> None:
        from fedliver.slicer import scene

        node = self._stage.scene.GetNodeByID(identifier) if identifier else None
        if self.workflow.is_live(Control.CT):
            self.workflow.choose_ct(node)
            if node is not None:
                scene.show_in_slices(node)

    def _show_3d(self, wanted: bool) -> None:
        self._stage.show_3d_view(wanted)
        self.workflow.show_in_3d(wanted)
        self._show()

    # ---- showing

    def _on_changed(self) -> None:
        self._show()

    def _on_moved(self, name: str) -> None:
        if "slices" in self._told:
            self._tell(slices={**self._told["slices"], name: self._position(name)})

    def _position(self, name: str) -> dict[str, Any]:
        at = self._stage.position(name)
        return {"first": at.first, "last": at.last, "step": at.step, "at": at.at, "said": f"{at.at:.1f} mm"}

    def _show(self) -> None:
        """Tell the browser what has changed since it was last told."""
        if not hasattr(self, "_opening"):
            return
        self._stage.show_only(self.workflow.segmentation_node)
        self._tell(**shown(self.workflow.view, self.workflow.state, self._words), **self._opening.shown(), **self._presses.shown())
        self._tell(cts=self._cts(), ct=self.workflow.ct_node.GetID() if self.workflow.ct_node is not None else "")

    def _cts(self) -> list[dict[str, str]]:
        import slicer

        nodes = [node for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode") if not node.IsA("vtkMRMLLabelMapVolumeNode")]
        return [{"id": node.GetID(), "name": node.GetName()} for node in nodes if not node.GetHideFromEditors()]

    def _tell(self, **values: Any) -> None:
        news = {name: value for name, value in values.items() if name not in self._told or self._told[name] != value}
        if news:
            self._told.update(news)
            with self._state:
                self._state.update(news)


class _Refused:
    """Nothing is installed from a browser: whoever set the workbench up does that."""

    def install(self, _requirements: Path | None = None) -> None:
        raise FedLiverError("installation-failed", "Packages are missing on the workbench's computer: set it up again with “make app”.")
