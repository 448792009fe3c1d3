"""The page: shows the workflow's view, passes presses on. What FedLiverSlicer.py is on the desktop."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from fedliver.error_details import details_of
from fedliver.errors import FedLiverError
from fedliver.slicer.background import ThreadJob
from fedliver.slicer.controls import Control
from fedliver.slicer.federation_link import FederationLink
from fedliver.slicer.home_desk import HomeDesk
from fedliver.slicer.installation import Installation
from fedliver.slicer.panel_session import PanelSession
from fedliver.slicer.panel_wiring import wire
from fedliver.slicer.workflow import Workflow
from fedliver.web.invitations import Invitations
from fedliver.web.opening import Opening
from fedliver.web.page_view import in_a_browser, shown
from fedliver.web.presses import Presses, WidgetsByName
from fedliver.web.settings import WorkbenchSettings
from fedliver.web.stage import SLICES, THREE_D, Stage
from fedliver.web.surfaces import Surfaces
from fedliver.web.tools import NO_TOOL, Tools
from fedliver.web.windows import WINDOWS, apply_window, window_of
from fedliver.web.words import CUT_WORDS, KEY_WORDS, PAGE_WORDS, TOOL_KEYS, TOOL_WORDS, panel_words

_PAGE = Path(__file__).resolve().parent / "assets" / "page.html"
_TICK_SECONDS = 0.1
_SLOW_SECONDS = 1.0
_SMALLEST_STEP_MM = 1.0
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
        self._ready = False
        self._closed = {"refineSection", "approveSection", "learnSection", "federationSection"}
        self._tasks: list[asyncio.Task[None]] = []
        self._stage = Stage(server, self._on_moved)
        self._presses = Presses(self._show)
        self._data = settings.data
        self._tools = Tools(self._stage.editor, self._stage.scene, self._show, lambda: self.workflow.is_live(Control.EDITOR))
        self._surfaces = Surfaces(self._stage.scene, self._show, lambda: self._stage.view(THREE_D).fit_view_to_content())
        desk = HomeDesk(settings.home)
        self._link = FederationLink(desk.home)
        installation = Installation(Path("requirements.txt"), self._presses.ask, _Refused(), _Refused())
        session = PanelSession(
            changed=self._on_changed,
            ask=self._presses.ask,
            start_job=lambda work: ThreadJob(work, lend_seconds=0.0),  # asyncio waits without Python's lock: nothing needs to be lent
            translate=in_a_browser,
        )
        self.workflow = Workflow(desk, self._link, installation, session)
        self._opening = Opening(self.workflow.worklist, settings.inbox, settings.data)
        self._invitations = Invitations(self.workflow, self._link)
        self._make_template()
        self._make_presses()
        self._ready = True
        self._tell(words=self._words.text, words_of_page=PAGE_WORDS, choices={name: list(entries) for name, entries in self._words.choices.items()})
        self._tell(slice_names=list(SLICES), slices={name: self._position(name) for name in SLICES}, window_names=[window.name for window in WINDOWS])
        self._tell(tool_words=TOOL_WORDS, tool_keys=TOOL_KEYS, cut_words=CUT_WORDS, key_words=KEY_WORDS)
        self._tell(data_name="", has_request=False)
        self._tell(open_sections={"segmentSection": True, "refineSection": False, "approveSection": False, "learnSection": False, "federationSection": False})
        self._state.trame__title = "FedLiver"
        self._state.trame__favicon = None
        self._show()

    def begin(self) -> None:
        """The server listens: look at the site, and let time pass."""
        self.workflow.refresh()
        self._tasks = [asyncio.ensure_future(self._pass(_TICK_SECONDS, self._tick)), asyncio.ensure_future(self._pass(_SLOW_SECONDS, self._tick_slowly))]

    def someone_left(self) -> None:
        """A browser window was closed, or its connection broke: a stroke that it was drawing ends where it was."""
        self._tools.lay_down_the_stroke()
        self._show()

    def close(self) -> None:
        """The process ends. A site that has joined stays joined: its node does not need the page."""
        self.workflow.close()
        self._opening.forget()
        self._invitations.forget()

    # ---- time

    async def _pass(self, seconds: float, tick: Any) -> None:
        while True:
            await asyncio.sleep(seconds)
            try:
                tick()
            except Exception as error:  # the page must live on
                _LOG.error("The page's timer failed.\n%s", details_of(error))

    def _tick(self) -> None:
        if self.workflow.needs_ticks:
            self.workflow.tick()
        self._surfaces.look()
        self._show()

    def _tick_slowly(self) -> None:
        self._opening.look()
        self.workflow.check_nodes()
        self.workflow.poll_federation()
        self._invitations.look()

    # ---- presses

    def _make_template(self) -> None:
        from trame.ui.html import DivLayout

        with DivLayout(self._server) as layout:
            layout.root.add_child(_PAGE.read_text())
        lost = f'<div class="lost" role="alert"><p>{PAGE_WORDS["lost"]}</p><button class="main" data-do="reload">{PAGE_WORDS["reload"]}</button></div>'
        self._state.trame__template_error = self._state.trame__template_error_reconnect = lost

    def _make_presses(self) -> None:
        press, workflow, tools = self._presses.on, self.workflow, self._tools
        # An invitation comes as text, see below; the only folder that a browser may name is the one the workbench was started with.
        wire(WidgetsByName(self._presses, self._words.at), workflow, lambda: None, lambda: self._data)
        press(Control.CT.value, self._choose_ct)
        press("close_ct", self._close_ct)
        press("lesion", lambda number: workflow.case.go_to_lesion(int(number)))
        press(Control.SHOW_3D.value, self._show_3d, False)
        press(Control.KEEP_INSIDE.value, lambda wanted: tools.refine.keep_inside(wanted is True), True)
        press(Control.SOFT_TISSUE.value, lambda wanted: tools.refine.soft_tissue_only(wanted is True), False)
        press(Control.CURVES.value, self._invitations.turn_curves)
        press("open_sample", self._opening.open_sample)
        press("open_data", self._opening.open_data)
        press("open_series", self._opening.choose_series)
        press("window", lambda name: apply_window(workflow.case.ct_node, str(name)))
        press("fit", self._stage.fit)
        press("tool", partial(self._if_editing, tools.choose))
        press("set", tools.set)
        press("brush", lambda way: tools.set("brush_mm", tools.settings.brush_mm + int(way)))
        for name, action in (("segment", tools.choose_segment), ("apply", tools.apply), ("undo", tools.undo), ("redo", tools.redo)):
            press(name, partial(self._if_editing, action))
        trigger = self._server.trigger
        trigger("press")(self._presses.press)
        trigger("answer")(self._presses.answer)
        trigger("go")(lambda name, at: self._stage.go(str(name), float(at)) if name in SLICES else None)
        trigger("move")(self._move)
        trigger("uploading")(self._opening.report)
        trigger("uploaded")(self._opening.ended)
        trigger("open_upload")(self._opening.open_upload)
        trigger("invite")(self._invitations.open)
        trigger("request")(self._invitations.request)

    def _move(self, name: str, way: str, much: Any) -> None:
        """The keyboard in a view."""
        if name in SLICES and way == "scroll":
            self._stage.scroll(name, int(much))
        elif name in SLICES and way == "cross":
            step = max(_SMALLEST_STEP_MM, self._tools.settings.brush_mm / 4)
            self._stage.move_cross(name, step * float(much[0]), step * float(much[1]))
        elif name in SLICES and way == "dab":
            self._if_editing(lambda: self._tools.stamp(self._stage.cross_in(name), self._stage.view(name)))
        elif name in (*SLICES, THREE_D) and way == "zoom":
            self._stage.zoom(name, bool(much))

    def _if_editing(self, action: Callable[..., None], *values: str) -> None:
        """What changes outlines has no effect while they are being read, or where there are none."""
        if self.workflow.is_live(Control.EDITOR):
            action(*values)

    def _choose_ct(self, identifier: str) -> None:
        from fedliver.slicer import scene

        node = self._stage.scene.GetNodeByID(identifier) if identifier else None
        if self.workflow.is_live(Control.CT):
            self.workflow.case.choose_ct(node)
            if node is not None:
                scene.show_in_slices(node)

    def _close_ct(self) -> None:
        """Take the CT and its outlines out of memory; on the desktop, the module Data does that."""
        workflow, node = self.workflow, self.workflow.case.ct_node
        if node is None or not workflow.is_live(Control.CT):
            return
        at_risk = workflow.state.segmentation and not workflow.state.approved
        if not at_risk or self._presses.ask(PAGE_WORDS["close_question"]):
            self._tools.refine.bind(None, None)
            self._surfaces.follow(None)
            self._stage.close(node)
            workflow.check_nodes()

    def _show_3d(self, ticked: Any) -> None:
        wanted = ticked is True
        self._stage.show_3d_view(wanted)
        self._surfaces.show(wanted)

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
        if not self._ready:
            return
        workflow, case = self.workflow, self.workflow.case
        view = workflow.view
        self._stage.show_only(case.segmentation_node)
        self._tools.refine.bind(case.segmentation_node, case.ct_node)
        self._surfaces.follow(case.segmentation_node)
        if not view.controls[Control.EDITOR].live:
            self._tools.choose(NO_TOOL)
        self._tell(
            **shown(view, workflow.state, self._words), **self._opening.shown(), **self._presses.shown(), **self._tools.shown(), **self._invitations.shown()
        )
        self._tell(making_3d=self._surfaces.being_made)
        self._tell(cts=self._cts(), ct=case.ct_node.GetID() if case.ct_node is not None else "", window_name=window_of(case.ct_node))
        self._open_sections(view.sections_of_use)

    def _open_sections(self, of_use: Sequence[str]) -> None:
        """A section opens once, when it becomes of use; from then on it is the reader's to open and close."""
        news = self._closed & set(of_use)
        self._closed -= news
        if news:
            self._tell(open_sections={**self._told["open_sections"], **dict.fromkeys(news, True)})

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
