"""Opening a scan from the page: the upload as the browser reports it, the scan it becomes, the series to choose from. No trame."""

import shutil
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from fedliver.errors import Cancelled, FedLiverError
from fedliver.slicer.worklist_work import WorklistWork
from fedliver.watch import Watcher
from fedliver.web.incoming import SeriesOffer, inside, names_in, read_scan, sample_scan

_NOT_ARRIVED = "The upload did not arrive: check the connection and open the files again."
_STOPPED = "The upload was stopped. Nothing was changed."


class Opening:
    """``inbox``: where the front puts uploads; what was read from there is removed at once. ``data``: scans on this computer, which stay."""

    def __init__(self, worklist: WorklistWork, inbox: Path, data: Path | None) -> None:
        self._worklist = worklist
        self._inbox = inbox
        self._data = data
        self._uploading: dict[str, Any] | None = None
        self._said = ""
        self._source: Path | None = None
        self._offers: list[SeriesOffer] = []
        self._names: list[str] = []
        self.look()

    def look(self) -> None:
        """Look into the data folder: scans may have come."""
        self._names = names_in(self._data)

    def report(self, percent: float) -> None:
        """How much of an upload has left the browser."""
        whole = min(100, max(0, int(percent)))
        self._said = ""
        self._uploading = {"percent": whole, "said": f"{whole} %" if whole < 100 else "…"}

    def ended(self, upload: str, sentence: str) -> None:
        """The upload has ended: ``upload`` is its name, or ``sentence`` says why there is none."""
        self._uploading = None
        if upload:
            self.open_upload(upload)
        else:
            self._said = {"": _NOT_ARRIVED, "stopped": _STOPPED}.get(sentence, sentence)

    def open_upload(self, name: str) -> None:
        """Read an upload that the front has put into the inbox."""
        self.forget()
        self._open(self._inbox, str(name))

    def open_data(self, name: str) -> None:
        """Read a scan of the data folder."""
        self.forget()
        if self._data is not None:
            self._open(self._data, str(name))

    def open_sample(self) -> None:
        """Make a CT, and open it."""
        self.forget()
        self._worklist.open_scan(sample_scan, "Generated CT")

    def choose_series(self, key: str) -> None:
        """Read this series of the scan that had several."""
        if self._source is not None and any(offer.key == key for offer in self._offers):
            self._offers = []
            self._read(self._source, str(key))

    def forget(self) -> None:
        """Let go of a scan whose series was not chosen; an upload goes from the disk."""
        self._offers, self._said = [], ""
        if self._source is not None:
            self._remove(self._source)
        self._source = None

    def shown(self) -> dict[str, Any]:
        """For the page: the upload, the data folder's names, the series to choose from."""
        offers = [{"key": offer.key, "text": offer.text} for offer in self._offers]
        return {"uploading": self._uploading, "data_names": self._names, "series": offers, "upload_said": self._said}

    def _open(self, folder: Path, name: str) -> None:
        try:
            source = inside(folder, name)
        except FedLiverError as error:
            self._said = error.sentence
            return
        self._read(source, None)

    def _read(self, source: Path, series: str | None) -> None:
        self._source = source
        self._worklist.open_scan(partial(self._in_a_thread, source, series), f"CT opened at {datetime.now():%H:%M:%S}")

    def _in_a_thread(self, source: Path, series: str | None, watcher: Watcher) -> Any:
        try:
            ct = read_scan(source, series, self._offer, watcher, alone=source.parent == self._inbox)  # whoever uploads says nothing about files here
        except FedLiverError as error:
            if error.code != "several-series":
                self._remove(source)
            raise
        except Cancelled:
            self._remove(source)
            raise
        self._remove(source)
        return ct

    def _offer(self, offers: list[SeriesOffer]) -> None:
        self._offers = offers

    def _remove(self, source: Path) -> None:
        """An upload is a copy; nothing of a patient stays where nobody looks. What lies in the data folder is not ours to remove."""
        if source.parent == self._inbox:
            shutil.rmtree(source, ignore_errors=True) if source.is_dir() else source.unlink(missing_ok=True)
