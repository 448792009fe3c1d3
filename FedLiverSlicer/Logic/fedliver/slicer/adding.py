"""Scans of a folder, or one of the scene, into the worklist: the work of a thread. What it says names no file, no folder and nobody."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from fedliver.errors import Cancelled, FedLiverError
from fedliver.slicer.background import ThreadJob
from fedliver.slicer.site_desk import Added, AddedScan, Objection
from fedliver.watch import Watcher, report

if TYPE_CHECKING:
    from fedliver.cases.store import CaseStore
    from fedliver.ct_reader import Ct
    from fedliver.datasets.importing import Found

T = TypeVar("T")


class Beside:
    """Work that cannot stop in its midst, as reading a scan: whoever cancels it does not wait for its next safe place, where it stops by itself."""

    def __init__(self) -> None:
        self._job: ThreadJob[object] | None = None

    def run(self, work: Callable[[Watcher], T], watcher: Watcher) -> T:
        """The result of ``work``, done in a thread of its own. Raises Cancelled at once when ``watcher`` wants it, and what ``work`` raises."""
        self._follow(watcher)
        job = ThreadJob(work, gentle=True)
        self._job = job  # type: ignore[assignment]
        self._follow(watcher)
        snapshot = job.poll()
        if snapshot.error is not None:
            raise snapshot.error
        return snapshot.result  # type: ignore[return-value]

    def settle(self) -> None:
        """Until what was cancelled has come to its safe place."""
        if self._job is not None:
            self._job.wait()

    def _follow(self, watcher: Watcher) -> None:
        while self._job is not None and not (snapshot := self._job.poll()).finished:
            watcher.report(snapshot.phase, snapshot.fraction)
            if watcher.cancelled():
                self._job.cancel()
                raise Cancelled(snapshot.phase)


def add_folder(store: "CaseStore", folder: Path, watcher: Watcher) -> Added:
    """Add every scan of a folder as ``fedliver case import`` does, and the image files that lie loose in it. One that is refused does not stop the rest.

    Raises
    ------
    FedLiverError
        Where there is no scan in it. Cancelled between two scans: what was added stays.
    """
    from fedliver.datasets.importing import import_scans

    report(watcher, "Looking for scans", 0.0)
    scans = _scans_of(folder)
    known = {case.pseudonym for case in store.cases()}
    added = there = 0
    refused: list[Objection] = []
    without_outlines: list[Objection] = []
    number = 0  # among those that are no series
    for scan, done in zip(scans, import_scans(store, scans, watcher), strict=True):
        number += scan.series is None
        if done.problem:
            objection = Objection(
                int(scan.series.key) if scan.series else number, scan.series is not None, _nameless(done.problem, folder, scan.ct, scan.labels)
            )
            (refused if done.case is None else without_outlines).append(objection)
        if done.case is not None:
            there += done.case.pseudonym in known
            added += done.case.pseudonym not in known
            known.add(done.case.pseudonym)
    return Added(added, there, tuple(refused), tuple(without_outlines))


def add_scan(store: "CaseStore", ct: "Ct", watcher: Watcher) -> AddedScan:
    """Add one scan that has been read. Raises what :meth:`fedliver.cases.store.CaseStore.add` raises."""
    report(watcher, "Keeping the scan on this computer", 0.3)
    known = {case.pseudonym for case in store.cases()}
    case = store.add(ct)
    return AddedScan(case.pseudonym, case.pseudonym in known)


def _scans_of(folder: Path) -> "list[Found]":
    from fedliver.datasets.importing import scans_in

    if not folder.is_dir():
        raise FedLiverError("no-such-file", "That folder is not there any more: choose another one.")
    loose = _loose_in(folder)
    try:
        found = scans_in(folder)
    except FedLiverError as error:
        if error.code not in ("no-dicom", "not-ct"):
            raise FedLiverError(error.code, _nameless(error.sentence, folder)) from error
        found = []
    taken = {path for scan in found for path in (scan.ct, scan.labels)}
    scans = [*found, *(scan for scan in loose if scan.ct not in taken)]
    if not scans:
        raise FedLiverError("no-scan-here", "There is no CT in this folder: choose one with the DICOM files of a study, or with NIfTI files.")
    return scans


def _loose_in(folder: Path) -> "list[Found]":
    """Image files directly in the folder; a file ``labels`` is of the file ``ct`` beside it."""
    from fedliver.datasets.importing import Found
    from fedliver.datasets.layouts import ENDINGS

    try:
        files = sorted(path for path in folder.iterdir() if path.name.endswith(ENDINGS) and not path.name.startswith(".") and path.is_file())
    except OSError:
        return []  # the reading of the folder says it in words
    labels = next((path for path in files if _stem(path) == "labels"), None)
    scans = [path for path in files if path != labels and not path.name.endswith(".seg.nrrd") and not path.name.startswith("segmentation-")]
    return [Found(path.name, path, labels=labels if _stem(path) == "ct" else None) for path in scans]


def _stem(path: Path) -> str:
    return path.name.partition(".")[0]


def _nameless(sentence: str, folder: Path, *files: Path | None) -> str:
    """The sentence without the names of these: people call files by the names of patients."""
    for path in files:
        if path is not None and path != folder:
            sentence = sentence.replace(str(path), "this file")
            sentence = re.sub(rf"(?<!\w){re.escape(path.name)}(?!\w)", "this file", sentence)
    sentence = re.sub(rf"{re.escape(str(folder))}(/\S+)?", "this folder", sentence)
    if folder.name and sentence.startswith(folder.name):
        sentence = "this folder" + sentence.removeprefix(folder.name)
    return sentence[:1].upper() + sentence[1:]
