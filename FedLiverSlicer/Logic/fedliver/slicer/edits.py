"""Notices when the clinician changes a segmentation, with whichever tool."""

from collections.abc import Callable
from typing import Any


class EditWatch:
    """Calls ``edited`` after every change to the segmentation that it follows."""

    def __init__(self, edited: Callable[[], None]) -> None:
        self._edited = edited
        self._segmentation: Any = None
        self._tags: list[int] = []

    def follow(self, node: Any) -> None:
        """Follow the segmentation of ``node`` from now on, and no other; None to follow none."""
        for tag in self._tags:
            self._segmentation.RemoveObserver(tag)
        self._segmentation, self._tags = None, []
        if node is not None:
            self._segmentation = node.GetSegmentation()
            events = (self._segmentation.SourceRepresentationModified, self._segmentation.SegmentAdded, self._segmentation.SegmentRemoved)
            self._tags = [self._segmentation.AddObserver(event, lambda _caller, _event: self._edited()) for event in events]
