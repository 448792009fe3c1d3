"""What the page shows of MRML: the scene, three slice views, a 3D view by choice. Slicer and trame-slicer are imported inside functions.

trame-slicer's view classes render off screen and send pictures; this module decides which views there are and what they show.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace
from typing import Any

SLICES = ("Axial", "Coronal", "Sagittal")
THREE_D = "ThreeD"
_COLOURS = {"Axial": "#F34A33", "Coronal": "#6DAD4A", "Sagittal": "#EDD54C"}
_PICTURES_PER_SECOND = 30.0
_QUALITY = 60  # of the JPEG while something moves; when it rests, a better one follows


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

        self._app = SlicerApp()
        self.scene = self._app.scene
        self.editor = self._app.segmentation_editor
        _be_slicer(self._app)
        for factory in _factories(server):
            self._app.view_manager.register_factory(factory)
        self._views = {name: self._app.view_manager.create_view(_definition(name)) for name in (*SLICES, THREE_D)}
        for name in SLICES:
            self._views[name].modified.connect(lambda _view, name=name: moved(name))
        self._with_3d = False
        self._cross: tuple[float, ...] | None = None
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

    # ---- the cross, for whoever draws with the keyboard

    def move_cross(self, name: str, right: float, up: float) -> None:
        """Move the cross by so many millimetres in the plane of a slice view, and show it."""
        axes = self._views[name].get_view_node().GetSliceToRAS()
        place = self.cross_in(name)
        moved = [place[row] + right * axes.GetElement(row, 0) + up * axes.GetElement(row, 1) for row in range(3)]
        cross = self.scene.GetFirstNodeByClass("vtkMRMLCrosshairNode")
        cross.SetCrosshairMode(cross.ShowBasic)
        cross.SetCrosshairRAS(moved)
        self._cross = (moved[0], moved[1], moved[2])

    def cross_in(self, name: str) -> tuple[float, float, float]:
        """Where the cross stands in the plane of a slice view, RAS millimetres: the view's middle until it was moved."""
        axes = self._views[name].get_view_node().GetSliceToRAS()
        centre = [axes.GetElement(row, 3) for row in range(3)]
        place = self._cross or tuple(centre)
        off = sum((place[row] - centre[row]) * axes.GetElement(row, 2) for row in range(3))
        on = [place[row] - off * axes.GetElement(row, 2) for row in range(3)]
        return on[0], on[1], on[2]

    # ----

    def fit(self) -> None:
        """Let every view show all there is."""
        for name, view in self._views.items():
            if name != THREE_D or self._with_3d:
                view.fit_view_to_content()
                view.schedule_render()

    def close(self, ct: Any) -> None:
        """Take a CT and every segmentation that was drawn on it out of the scene, with all that shows them."""
        import slicer

        role = slicer.vtkMRMLSegmentationNode.GetReferenceImageGeometryReferenceRole()
        drawn = [node for node in slicer.util.getNodesByClass("vtkMRMLSegmentationNode") if node.GetNodeReference(role) is ct]
        for node in (*drawn, ct):
            for display in [node.GetNthDisplayNode(number) for number in range(node.GetNumberOfDisplayNodes())]:
                self.scene.RemoveNode(display)
            self.scene.RemoveNode(node)

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


def _factories(server: Any) -> list[Any]:
    from trame_slicer.rca_view.rca_view_factory import RemoteViewFactory
    from trame_slicer.views import SliceView, ThreeDView, ViewType

    kinds = ((SliceView, ViewType.SLICE_VIEW), (ThreeDView, ViewType.THREE_D_VIEW))
    speed = {"target_fps": _PICTURES_PER_SECOND, "blur_fps": _PICTURES_PER_SECOND, "interactive_quality": _QUALITY}
    return [RemoteViewFactory(server, partial(_quick, view), kind, populate_view_ui_f=_nothing_more, **speed) for view, kind in kinds]


def _quick(view_class: Any, **where: Any) -> Any:
    """A view that renders when it is asked to and not at each of its own settings, without eightfold sampling: a processor without a GPU draws it."""
    from trame_slicer.views.render_scheduler import NoScheduleRendering

    view = view_class(scheduled_render_strategy=NoScheduleRendering(), **where)
    view.render_window().SetMultiSamples(0)
    return view


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
