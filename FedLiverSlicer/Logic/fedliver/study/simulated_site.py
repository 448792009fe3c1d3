"""A site's case store, worked through by a simulated clinician who knows the truth."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fedliver.cases.case import Case, State, TeacherProvenance
from fedliver.cases.store import CaseStore
from fedliver.ct_reader import read_ct
from fedliver.datasets.layouts import DatasetImage
from fedliver.image import Volume
from fedliver.segmentation_file import read_segmentation
from fedliver.teacher.bundle import Teacher
from fedliver.teacher.inference import Segmentation, segment

if TYPE_CHECKING:
    from fedliver.cases.examples import Example

_REASON = "A study's reference."


class SimulatedSite:
    """Everything but the clinician is what a site uses.

    Parameters
    ----------
    home:
        The site's folder.
    secret:
        What pseudonyms are made with; the same for the same site.
    """

    def __init__(self, home: Path, secret: bytes) -> None:
        self.store = CaseStore(home, secret=secret)
        self._references: dict[str, Volume] = {}

    def admit(self, images: Sequence[DatasetImage]) -> list[Case]:
        """Annotated images, as cases that wait; the annotation is kept from the store."""
        return [self._admitted(image) for image in images]

    def _admitted(self, image: DatasetImage) -> Case:
        assert image.example.labels is not None  # noqa: S101 annotated images
        case = self.store.add(read_ct(image.example.ct))
        self._references[case.pseudonym] = read_segmentation(image.example.labels, onto=case.grid.geometry)
        return case

    def reference(self, case: Case) -> Volume:
        """The truth, on the case's grid."""
        return self._references[case.pseudonym]

    @property
    def waiting(self) -> list[Case]:
        """Cases that nobody has approved."""
        return [case for case in self.store.cases() if case.state is not State.APPROVED]

    def presegment(self, case: Case, teacher: Teacher) -> Segmentation:
        """The teacher's proposal, beside the case."""
        found = segment(teacher, self.store.ct(case))
        provenance = TeacherProvenance(name=teacher.name, version=teacher.version, sha256=teacher.sha256)
        self.store.attach(case, found.labels, found.labels, provenance, expected_dice=found.expected_dice)
        return found

    def approve(self, case: Case, labels: Volume) -> Case:
        """What the clinician made of it."""
        return self.store.approve(self.store.attach(case, labels), override_reason=_REASON)

    @property
    def examples(self) -> "list[Example]":
        """All approved cases. Other patients judge a study's teachers, so the cases that a site would hold out teach too."""
        return [*self.store.training_examples(), *self.store.held_out_examples()]
