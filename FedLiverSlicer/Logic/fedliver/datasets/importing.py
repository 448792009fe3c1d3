"""Many scans into the case store at once: a data set with or without labels, or a folder of DICOM series."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from fedliver.cases.case import Case, State
from fedliver.cases.store import CaseStore
from fedliver.error_details import details_of
from fedliver.errors import FedLiverError
from fedliver.watch import Watcher, report

if TYPE_CHECKING:
    from fedliver.ct_reader import Ct, Series

_LOG = logging.getLogger("fedliver")


@dataclass(frozen=True)
class Found:
    """A scan to import. ``name`` is what the folder calls it, for this computer's own screen; ``labels`` is None where nobody drew any."""

    name: str
    ct: Path
    series: "Series | None" = None
    """Of the DICOM folder ``ct``; None of a file."""
    labels: Path | None = None
    patient: str | None = None
    """Whose it is, where the data set says that a patient has several scans; else the scan itself says it."""


@dataclass(frozen=True)
class Imported:
    """What became of one scan: ``case`` is None where it was refused, and ``problem`` says why, or why its labels were not taken or not approved."""

    name: str
    case: Case | None
    problem: str = ""


def scans_in(folder: Path) -> list[Found]:
    """The scans of a data set of a known layout, or else the CT series of a folder of DICOM files.

    Raises
    ------
    FedLiverError
        Where there is neither: ``no-dicom``, ``no-such-file``; also what :func:`fedliver.datasets.layouts.read_layout` says of a damaged data set.
    """
    from fedliver.ct_reader import list_series
    from fedliver.datasets.layouts import read_layout

    try:
        images = read_layout(folder)
    except FedLiverError as error:
        if error.code != "no-dataset":
            raise
        return [Found(f"series {series.key}", folder, series=series) for series in list_series(folder) if series.is_ct]
    patients = [image.patient for image in images]
    return [
        Found(image.name, image.example.ct, labels=image.example.labels, patient=image.patient if patients.count(image.patient) > 1 else None)
        for image in images
    ]


def import_scans(store: CaseStore, scans: list[Found], watcher: Watcher, *, approve: bool = False) -> Iterator[Imported]:
    """Add every scan, its labels as a draft; with ``approve`` the labels that pass the checks are approved.

    One that is refused does not stop the others. A scan that is here already stays the case that it is, and labels that a person has drawn since are
    not replaced; so an import that was stopped is simply started again.

    Raises
    ------
    Cancelled
        Between two scans.
    """
    for number, scan in enumerate(scans):
        report(watcher, f"Importing {number + 1} of {len(scans)}", number / len(scans))
        try:
            case = store.add(_read(scan))
        except Exception as error:  # a library's own, too: one scan in a thousand must not end the import of the rest
            yield Imported(scan.name, None, _in_words(error))
            continue
        try:
            imported = Imported(scan.name, _with_labels(store, case, scan.labels, approve))
        except Exception as error:
            imported = Imported(scan.name, store.case(case.pseudonym), _in_words(error))
        yield imported


def _in_words(error: Exception) -> str:
    if isinstance(error, FedLiverError):
        return error.sentence
    if isinstance(error, MemoryError):
        return "There is not enough memory for this scan: close other programs, and import it again."
    _LOG.error("Unexpected error in an import.\n%s", details_of(error))
    return f"Something unexpected went wrong with this scan ({type(error).__name__}): export it again, or convert it to NIfTI."


def _read(scan: Found) -> "Ct":
    from fedliver.ct_reader import read_ct, read_series

    ct = read_series(scan.series) if scan.series else read_ct(scan.ct)
    return replace(ct, identity=replace(ct.identity, patient=scan.patient)) if scan.patient else ct


def _with_labels(store: CaseStore, case: Case, labels: Path | None, approve: bool) -> Case:
    from fedliver.segmentation_file import read_segmentation

    if labels is None or case.state in (State.APPROVED, State.EXCLUDED):
        return case
    if case.state in (State.NEW, State.PRE_SEGMENTED):
        case = store.attach(case, read_segmentation(labels, onto=case.grid.geometry))
    return store.approve(case) if approve else case
