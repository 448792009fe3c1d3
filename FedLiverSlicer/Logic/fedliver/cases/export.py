"""An approved case for others to read: its labels as a file, or as a DICOM SEG beside the scan in the archive."""

from collections.abc import Sequence
from pathlib import Path

from fedliver.cases.case import Approval, Case
from fedliver.cases.fingerprint import ct_sha256
from fedliver.cases.store import CaseStore
from fedliver.ct_checks import clean
from fedliver.ct_reader import SourceIdentity
from fedliver.dicom_seg import Origin, write_dicom_seg
from fedliver.dicom_series import Stack, scan_folder
from fedliver.dicom_stack import read_stack
from fedliver.errors import FedLiverError


def approval_of(case: Case) -> Approval:
    """What a clinician stands for. Raises FedLiverError ``not-approved``: what nobody stands for does not go to others."""
    if case.approval is None:
        raise FedLiverError("not-approved", f"Case {case.pseudonym} is not approved: approve it first (`fedliver case approve {case.pseudonym}`).")
    return case.approval


def origin_of(approval: Approval) -> Origin:
    """Who drew the approved labels: a teacher, a teacher with a person's corrections, or a person."""
    teacher, change = approval.segmentation.teacher, approval.correction
    if teacher is None:
        return Origin()
    corrected = change is None or any(part.ml_added or part.ml_removed for part in (change.liver, change.tumour))
    return Origin(teacher.name, teacher.version, teacher.sha256, corrected)


def export_dicom_seg(store: CaseStore, case: Case, folder: Path, target: Path) -> str:
    """Write the approved labels of a case as DICOM SEG, and return its SOPInstanceUID.

    Parameters
    ----------
    folder:
        Where the case's DICOM series lies, alone or among others: it is found by its identifiers, or by its voxels.

    Raises
    ------
    FedLiverError
        ``not-approved``, ``other-series``, and what :func:`~fedliver.dicom_seg.write_dicom_seg` and :func:`~fedliver.dicom_series.scan_folder` raise.
    """
    approval_of(case)
    return write_seg_onto(store, case, [header.path for header in _source_of(store, case, folder).slices], target)


def write_seg_onto(store: CaseStore, case: Case, files: Sequence[Path], target: Path) -> str:
    """The same where the scan's files are known. Raises what :func:`export_dicom_seg` raises."""
    approval = approval_of(case)
    return write_dicom_seg(store.approved_labels(case), files, target, origin_of(approval), number=approval.segmentation.number)


def _source_of(store: CaseStore, case: Case, folder: Path) -> Stack:
    stacks = scan_folder(folder).stacks
    for stack in stacks:
        first = stack.first
        if store.is_scan_of(case, SourceIdentity(first.patient, first.study, first.series)):
            return stack
    for stack in stacks:
        if (*stack.first.size, len(stack.slices)) == case.grid.size and _holds_voxels_of(stack, case):
            return stack
    if not stacks:
        raise FedLiverError("other-series", f"{folder.name} holds no DICOM images: give the folder that case {case.pseudonym} was added from.")
    raise FedLiverError("other-series", f"No series in {folder.name} is the scan of case {case.pseudonym}: give the folder that it was added from.")


def _holds_voxels_of(stack: Stack, case: Case) -> bool:
    try:
        return ct_sha256(clean(read_stack(stack))[0]) == case.ct_sha256
    except FedLiverError:
        return False
