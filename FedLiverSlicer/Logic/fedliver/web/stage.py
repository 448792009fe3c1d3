"""What the page shows of MRML: the scene, three slice views, a 3D view by choice. Slicer and trame-slicer are imported inside functions.

trame-slicer's view classes render off screen and send pictures; this module decides which views there are and what they show.
"""

from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

SLICES = ("Axial", "Coronal", "Sagittal")
THREE_D = "ThreeD"
_COLOURS = {"Axial": "#F34A33", "Coronal": "#6DAD4A", "Sagittal": "#EDD54C"}
_PICTURES_PER_SECOND = 30.0


@dataclass(frozen=True)
class SlicePosition:
    """Where a slice view stands, in millimetres along its own axis."""

    first: float
    last: float
    step: float
    at: float

    def moved(self, steps: int) -> float:
        """The position so many slices on, within the volume."""
        return min(max(self.at + steps * self.step, self.first), self.last)


class Stage:
    """Makes this process a Slicer application without a window: sets ``slicer.mrmlScene``, ``slicer.modules`` and ``slicer.app``.

    ``moved``: called with a view's name after it has moved.
    """

    def __init__(self, server: Any, moved: Callable[[str], None]) -> None:
        from trame_slicer.core import SlicerApp
        from trame_slicer.rca_view import register_rca_factories

        self._app = SlicerApp()
        self.scene = self._app.scene
        self.editor = self._app.segmentation_editor
        _be_slicer(self._app)
        register_rca_factories(
            self._app.view_manager, server, _nothing_more, _nothing_more, target_fps=_PICTURES_PER_SECOND, blur_fps=_PICTURES_PER_SECOND, interactive_quality=60
        )
        self._views = {name: self._app.view_manager.create_view(_definition(name)) for name in (*SLICES, THREE_D)}
        for name in SLICES:
            self._views[name].modified.connect(lambda _view, name=name: moved(name))
        self._with_3d = False
        self.show_3d_view(False)

    def view(self, name: str) -> Any:
        """The view called so, one of :data:`SLICES` or :data:`THREE_D`."""
        return self._views[name]

    # ---- the slices

    def position(self, name: str) -> SlicePosition:
        view = self._views[name]
        first, last = view.get_slice_range()
        return SlicePosition(first, last, view.get_slice_step(), view.get_slice_value())

    def go(self, name: str, at: float) -> None:
        """Move a slice view to this position, in millimetres along its axis."""
        self._views[name].set_slice_value(at)

    def scroll(self, name: str, steps: int) -> None:
        """Move a slice view so many slices on."""
        self.go(name, self.position(name).moved(steps))

    def zoom(self, name: str, closer: bool) -> None:
        view = self._views[name]
        view.zoom_in() if closer else view.zoom_out()

    def fit(self) -> None:
        """Let every view show all there is."""
        for name, view in self._views.items():
            if name != THREE_D or self._with_3d:
                view.fit_view_to_content()
                view.schedule_render()

    def show_only(self, segmentation: Any) -> None:
        """Of all segmentations in the scene, show the one in hand; another patient's would lie across this CT."""
        import slicer

        for node in slicer.util.getNodesByClass("vtkMRMLSegmentationNode"):
            display = node.GetDisplayNode()
            if display is not None and bool(display.GetVisibility()) != (node is segmentation):
                display.SetVisibility(node is segmentation)

    # ---- 3D, by choice

    def show_3d_view(self, wanted: bool) -> None:
        """A view that is not on the page is not rendered."""
        self._with_3d = wanted
        self._app.view_manager.set_current_view_ids([*SLICES, THREE_D] if wanted else list(SLICES))

    def render(self) -> None:
        """New pictures of all views, as after a page was loaded again."""
        for view in self._views.values():
            view.schedule_render()


def _nothing_more(*_view: Any) -> None:
    """The page has its own controls beside each view."""


def _definition(name: str) -> Any:
    from trame_slicer.views import ViewLayoutDefinition, ViewProps, ViewType

    if name == THREE_D:
        return ViewLayoutDefinition(name, ViewType.THREE_D_VIEW, ViewProps(label=name, background_color="black", box_visible=False))
    return ViewLayoutDefinition.slice_view(name, label=name, color=_COLOURS[name])


def _be_slicer(app: Any) -> None:
    """Let the code that is shared with the desktop find the scene, the logics and the application where it finds them there."""
    import slicer

    logics = {"volumes": app.volumes_logic, "segmentations": app.segmentations_logic, "subjecthierarchy": app.subject_hierarchy_logic}
    slicer.mrmlScene = app.scene
    slicer.modules = SimpleNamespace(**{name: SimpleNamespace(logic=lambda logic=logic: logic) for name, logic in logics.items()})
    slicer.app = SimpleNamespace(applicationLogic=lambda: app.app_logic)
