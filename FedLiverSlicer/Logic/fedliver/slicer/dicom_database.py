"""Slicer's DICOM database: where a volume's files lie, and how a new object gets in. In the thread of the window.

A Slicer that was built without the DICOM module has no database; then nothing came from it, and nothing can go into it.
"""

from pathlib import Path
from typing import Any

from fedliver.errors import FedLiverError


def is_from_database(node: Any) -> bool:
    """Whether this volume node was loaded from Slicer's DICOM database, and the database is there."""
    return node is not None and bool((node.GetAttribute("DICOM.instanceUIDs") or "").split()) and _database() is not None


def files_of(node: Any) -> tuple[Path, ...]:
    """The DICOM files that a volume node was loaded from. Raises FedLiverError ``not-in-database``."""
    database, instances = _database(), (node.GetAttribute("DICOM.instanceUIDs") or "").split()
    files = [str(database.fileForInstance(instance)) for instance in instances] if database is not None else []
    if not files or not all(files):
        raise FedLiverError("not-in-database", "The scan is not in Slicer's DICOM database any more: import it again with the module DICOM.")
    return tuple(Path(file) for file in files)


def add_to_database(folder: Path, instance: str) -> None:
    """Copy every DICOM file of ``folder`` into the database. Raises FedLiverError ``not-added`` if the object ``instance`` is not there then."""
    from DICOMLib import DICOMUtils

    DICOMUtils.importDicom(str(folder), None, True)
    database = _database()
    if database is None or not database.fileForInstance(instance):
        raise FedLiverError("not-added", "Slicer's DICOM database did not take the DICOM SEG: open the module DICOM, repair the database, and export again.")


def _database() -> Any:
    import slicer

    database = getattr(slicer, "dicomDatabase", None)
    return database if database is not None and database.isOpen else None
