"""From a task to its images."""

from pathlib import Path

from fedliver.errors import FedLiverError
from fedliver.study.federated.pictures import Pictures, class_folders, table_of_pictures
from fedliver.study.federated.prepared import Reader
from fedliver.study.federated.task import Task
from fedliver.study.federated.volumes import FileVolumes, GeneratedHearts, GeneratedLivers, scans_in_csv, scans_in_layout, scans_mm_whs, scans_msd


def reader_of(task: Task) -> Reader:
    """What reads the task's images.

    Raises
    ------
    FedLiverError
        ``no-data`` where the task needs a data set and nobody said where it is, and what the readers raise.
    """
    data = task.data
    if data.generates:
        if data.generated < 3:
            raise FedLiverError("too-few-patients", "The task says how many patients to generate in data.generated: at least 3.")
        return GeneratedHearts(data) if data.reader == "heart-phantom" else GeneratedLivers(data)
    path = _there(data.path)
    if task.kind == "classification":
        return Pictures(class_folders(path) if data.reader == "class-folders" else table_of_pictures(path), data)
    scans = {"scans": scans_in_layout, "msd": scans_msd, "mm-whs": scans_mm_whs, "csv": scans_in_csv}[data.reader](path)
    return FileVolumes(scans, data, task.label_count)


def _there(path: Path | None) -> Path:
    if path is None:
        raise FedLiverError("no-data", "The task does not say where its images are: give --data.")
    if not path.exists():
        raise FedLiverError("no-data", f"There is nothing at {path}: give --data.")
    return path
