"""Slicer's own Segment Editor in the panel, bound to the case. Only widget calls that Slicer 5.8 (PythonQt) and later have."""

from typing import Any

from fedliver.labels import TUMOUR_STRUCTURE, structure_of
from fedliver.slicer.scene import terminology_of

SINGLETON_TAG = "FedLiverSlicer"
_UNDO_STATES = 10
SOFT_TISSUE_HU = (-50.0, 250.0)
"""Liver, fatty or enhanced, and its tumours; neither gas and fat nor bone."""


class RefineEditor:
    """Parameters
    ----------
    widget:
        A ``slicer.qMRMLSegmentEditorWidget``, made by the panel.
    scene:
        The scene of the panel.
    """

    def __init__(self, widget: Any, scene: Any) -> None:
        self._widget = widget
        self._scene = scene
        self._node: Any = None
        self._observer: int | None = None
        self._keep_inside = True
        self._soft_tissue = False
        self._applying = False
        widget.setMaximumNumberOfUndoStates(_UNDO_STATES)
        self._choose_node()
        widget.setMRMLScene(scene)
        widget.setSegmentationNodeSelectorVisible(False)
        widget.setSourceVolumeNodeSelectorVisible(False)
        widget.setSwitchToSegmentationsButtonVisible(False)

    def bind(self, segmentation: Any, ct: Any) -> None:
        """Edit ``segmentation`` (or nothing, for None) over ``ct``."""
        self._choose_node()
        if self._widget.segmentationNode() is not segmentation:
            self._widget.setSegmentationNode(segmentation)
        if segmentation is not None and self._widget.sourceVolumeNode() is not ct:
            self._widget.setSourceVolumeNode(ct)
        self._mask()

    def keep_inside(self, wanted: bool) -> None:
        """Whether strokes on a tumour segment have effect inside liver and tumour only."""
        self._keep_inside = wanted
        self._mask()

    def soft_tissue_only(self, wanted: bool) -> None:
        """Whether strokes have effect on soft tissue only. A range that the clinician set in the editor's own list is left alone."""
        if wanted == self._soft_tissue:
            return
        self._soft_tissue = wanted
        self._limit_range()

    def _limit_range(self) -> None:
        if self._node is None:
            return
        if self._soft_tissue:
            self._node.SetSourceVolumeIntensityMaskRange(*SOFT_TISSUE_HU)
            self._node.SourceVolumeIntensityMaskOn()
        elif tuple(self._node.GetSourceVolumeIntensityMaskRange()) == SOFT_TISSUE_HU:
            self._node.SourceVolumeIntensityMaskOff()

    def enter(self) -> None:
        """The panel is shown."""
        self._choose_node()
        self._widget.installKeyboardShortcuts()
        self._widget.setupViewObservations()

    def exit(self) -> None:
        """The panel is hidden: no effect may go on painting in the views."""
        self._widget.setActiveEffect(None)
        self._widget.uninstallKeyboardShortcuts()
        self._widget.removeViewObservations()

    def close(self) -> None:
        """The panel goes away, or the scene does."""
        self._stop_observing()
        self._widget.setActiveEffect(None)
        self._widget.setSegmentationNode(None)
        self._widget.removeViewObservations()
        self._node = None

    def _choose_node(self) -> None:
        """A Segment Editor node of our own, so that the Segment Editor module keeps its settings and we keep ours."""
        node = self._scene.GetSingletonNode(SINGLETON_TAG, "vtkMRMLSegmentEditorNode")
        if node is None:
            node = self._scene.CreateNodeByClass("vtkMRMLSegmentEditorNode")
            node.UnRegister(None)
            node.SetSingletonTag(SINGLETON_TAG)
            node = self._scene.AddNode(node)
        if node is self._node:
            return
        self._stop_observing()
        self._node = node
        self._observer = node.AddObserver("ModifiedEvent", self._on_modified)
        self._widget.setMRMLSegmentEditorNode(node)
        if self._soft_tissue:
            self._limit_range()

    def _stop_observing(self) -> None:
        if self._node is not None and self._observer is not None:
            self._node.RemoveObserver(self._observer)
        self._observer = None

    def _on_modified(self, _caller: Any, _event: Any) -> None:
        if not self._applying:
            self._mask()

    def _mask(self) -> None:
        import slicer

        if self._node is None:
            return
        modes = slicer.vtkMRMLSegmentationNode
        ours = (modes.EditAllowedInsideAllSegments, modes.EditAllowedEverywhere)
        if self._node.GetMaskMode() not in ours:
            return  # the clinician chose a mask in the editor's own list: it stays
        inside = self._keep_inside and self._tumour_is_selected()
        self._applying = True
        try:
            self._node.SetMaskMode(ours[0] if inside else ours[1])
        finally:
            self._applying = False

    def _tumour_is_selected(self) -> bool:
        segmentation = self._node.GetSegmentationNode()
        identifier = self._node.GetSelectedSegmentID()
        segment = segmentation.GetSegmentation().GetSegment(identifier) if segmentation is not None and identifier else None
        return segment is not None and structure_of(segment.GetName(), terminology_of(segment)) is TUMOUR_STRUCTURE
