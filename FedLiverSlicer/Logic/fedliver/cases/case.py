"""The record of one case: what ``case.json`` holds. Every model is frozen and refuses fields that it does not know."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator

from fedliver.cases.pseudonym import CASE_PATTERN, PATIENT_PATTERN
from fedliver.image import Geometry

SCHEMA_VERSION: Literal[2] = 2
_STILL_READ = (1,)

CasePseudonym = Annotated[str, StringConstraints(pattern=CASE_PATTERN)]
PatientPseudonym = Annotated[str, StringConstraints(pattern=PATIENT_PATTERN)]
DoubtFile = Annotated[str, StringConstraints(pattern=r"^doubt-\d{1,6}\.nii\.gz$")]
LabelsFile = Annotated[str, StringConstraints(pattern=r"^(labels|presegmentation)-\d{1,6}\.nii\.gz$")]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class State(StrEnum):
    """How far a case has come."""

    NEW = "new"
    PRE_SEGMENTED = "pre-segmented"
    IN_CORRECTION = "in correction"
    APPROVED = "approved"
    EXCLUDED = "excluded"


class Role(StrEnum):
    """What an approved case is for. Decided once per patient, never changed."""

    TRAINING = "training"
    HELD_OUT = "held-out"


class Record(BaseModel):
    """A part of the record."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Grid(Record):
    """A CT's exact geometry: LPS, millimetres, (i, j, k). NIfTI keeps only single precision, so the record is the reference."""

    size: tuple[int, int, int]
    spacing: tuple[float, float, float]
    origin: tuple[float, float, float]
    direction: tuple[float, float, float, float, float, float, float, float, float]

    @classmethod
    def of(cls, geometry: Geometry) -> "Grid":
        return cls(size=geometry.size, spacing=geometry.spacing, origin=geometry.origin, direction=geometry.direction)

    @property
    def geometry(self) -> Geometry:
        return Geometry(size=self.size, spacing=self.spacing, origin=self.origin, direction=self.direction)


class TeacherProvenance(Record):
    """Which teacher made the pre-segmentation."""

    name: str
    version: str
    sha256: Sha256


class LookAt(Record):
    """A place where the teacher was not sure. LPS millimetres."""

    position_mm: tuple[float, float, float]
    about: Literal["liver", "tumour"]


class Attached(Record):
    """A segmentation that lies beside the CT, and where it came from.

    ``expected_dice`` is what the teacher expects of its own pre-segmentation, without knowing the truth; ``places`` are where it was
    least sure, the most doubtful first, and ``doubt_file`` the map of it. ``edited``: whether a person changed anything; None in records of the
    first version, which did not say.
    """

    labels_file: LabelsFile
    presegmentation_file: LabelsFile | None = None
    doubt_file: DoubtFile | None = None
    teacher: TeacherProvenance | None = None
    expected_dice: float | None = Field(default=None, ge=0, le=1)
    places: tuple[LookAt, ...] = Field(default=(), max_length=20)
    edited: bool | None = None
    seconds_spent: float | None = Field(default=None, ge=0)
    attached_at: datetime

    @property
    def number(self) -> int:
        """Which version of the case's segmentation this is, from 1."""
        return _number(self.labels_file)

    @property
    def touched(self) -> bool:
        """Whether these labels are a person's, and not as the teacher drew them."""
        if self.edited is not None:
            return self.edited
        return self.presegmentation_file is None or _number(self.presegmentation_file) != self.number


class Change(Record):
    """What the clinician changed in one structure. Dice is between pre-segmentation and approved labels; 1 where both are empty."""

    dice: float
    ml_added: float
    ml_removed: float


class Effort(Record):
    """How much a person changed, as :func:`fedliver.cases.effort.effort` counts it. ``slices``: how many show any label, before or after."""

    ml_changed: float = Field(ge=0)
    slices_touched: int = Field(ge=0)
    slices: int = Field(ge=0)
    added_path_length_mm: float = Field(ge=0)


class Correction(Record):
    """What the clinician changed. *Liver* is label 1 or 2. ``effort`` is None in records of the first version."""

    liver: Change
    tumour: Change
    effort: Effort | None = None


class Appearance(Record):
    """What a scan looks like: see :func:`fedliver.cases.appearance.appearance`."""

    hu: tuple[float, ...] = Field(max_length=16)


class Fingerprint(Record):
    """By what the same scan is known again: see :func:`fedliver.cases.fingerprint.fingerprint`."""

    liver_ml: float
    tumour_ml: float
    hu: tuple[int, ...] = Field(max_length=64)


class Approval(Record):
    """A segmentation that a clinician stands for."""

    segmentation: Attached
    correction: Correction | None = None
    fingerprint: Fingerprint
    approved_at: datetime
    overridden: tuple[str, ...] = ()
    override_reason: str | None = None


class Case(Record):
    """One scan at one site.

    ``draft`` is a segmentation that waits for approval; ``approval`` is the one that counts; both may be there, when an approved
    case is being corrected again. ``earlier`` are approvals that no longer count: their files stay, so that what a past round
    trained on can be told. ``role`` is set at the first approval and stays even when the case is excluded.
    """

    schema_version: Literal[2] = SCHEMA_VERSION
    pseudonym: CasePseudonym
    patient: PatientPseudonym
    added_at: datetime
    ct_sha256: Sha256
    grid: Grid
    draft: Attached | None = None
    approval: Approval | None = None
    earlier: tuple[Approval, ...] = ()
    role: Role | None = None
    appearance: Appearance | None = None
    withdrawn_at: datetime | None = None
    """When the case was excluded; the name is that of the first version of the record."""
    exclusion_reason: str | None = Field(default=None, max_length=1000)

    @field_validator("schema_version", mode="before")
    @classmethod
    def _take_up(cls, version: object) -> object:
        """Records of earlier versions are records of this one with less in them; the next write makes them so."""
        return SCHEMA_VERSION if version in _STILL_READ else version

    @property
    def state(self) -> State:
        if self.withdrawn_at is not None:
            return State.EXCLUDED
        if self.approval is not None:
            return State.APPROVED
        if self.draft is None:
            return State.NEW
        return State.IN_CORRECTION if self.draft.touched else State.PRE_SEGMENTED

    @property
    def revisions(self) -> int:
        """How many label files have been referred to so far: the next one gets the next number."""
        attached = [a.segmentation for a in self.earlier]
        attached += [self.approval.segmentation] if self.approval else []
        attached += [self.draft] if self.draft else []
        return max((a.number for a in attached), default=0)


def _number(labels_file: str) -> int:
    return int(labels_file.split("-")[1].split(".")[0])
