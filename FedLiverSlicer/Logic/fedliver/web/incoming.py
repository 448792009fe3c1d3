"""A scan that was uploaded, or that lies in the data folder: found, read, and its series offered where there are several. No trame, no Slicer."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fedliver.errors import FedLiverError
from fedliver.watch import Watcher, report

if TYPE_CHECKING:
    from fedliver.ct_reader import Ct

_MOST_SERIES = 30
_MOST_NAMES = 200


@dataclass(frozen=True)
class SeriesOffer:
    """A series to choose: ``key`` is what :func:`~fedliver.ct_reader.read_ct` takes; ``text`` names no patient."""

    key: str
    text: str


def inside(folder: Path, name: str) -> Path:
    """The entry of ``folder`` called ``name``. Raises FedLiverError ``no-such-upload`` for anything else, links and paths among it."""
    plain = bool(name) and name not in (".", "..") and not set(name) & set("/\\\0")
    path = folder / name if plain else folder
    if not plain or path.is_symlink() or not path.exists():
        raise FedLiverError("no-such-upload", "That upload is not here any more: open the files again.")
    return path


def names_in(folder: Path | None) -> list[str]:
    """What the data folder offers: its files and folders by name, hidden ones and links left out, a bounded number of them."""
    if folder is None or not folder.is_dir():
        return []
    found = sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith(".") and not entry.is_symlink())
    return found[:_MOST_NAMES]


def read_scan(path: Path, series: str | None, offer: Callable[[list[SeriesOffer]], None], watcher: Watcher, alone: bool = False) -> "Ct":
    """Read a CT from a file, or from a folder that holds one file, a MetaImage with its data, or DICOM. For a worker thread.

    ``offer`` is called with the series where there are several and none was chosen. ``alone``: no file may have its voxels in another one.

    Raises
    ------
    FedLiverError
        What :func:`~fedliver.ct_reader.read_ct` raises.
    """
    from fedliver.ct_reader import list_series, read_ct
    from fedliver.image_file import check_alone

    report(watcher, "Reading the scan", 0.1)
    source = _only_image_of(path)
    if alone and source.is_file():
        check_alone(source)
    try:
        ct = read_ct(source, series)
    except FedLiverError as error:
        if error.code != "several-series":
            raise
        offer([SeriesOffer(one.key, one.description) for one in list_series(source) if one.is_ct][:_MOST_SERIES])
        raise FedLiverError("several-series", "There are several series here: choose one of those listed.") from error
    report(watcher, "Reading the scan", 0.9)
    return ct


def sample_scan(watcher: Watcher) -> "Ct":
    """A generated CT, for whoever has none at hand: a body with a liver and lesions, no patient's; the one that the desktop's Sample Data makes."""
    from fedliver.ct_reader import Ct, SourceIdentity, content_hash
    from fedliver.phantom import PhantomSettings, generate

    report(watcher, "Making a CT", 0.1)
    volume, _labels = generate(PhantomSettings(seed=0, spacing_mm=(1.5, 1.5, 3.0)))
    content = content_hash(volume)
    return Ct(volume, SourceIdentity(content, content, content), ())


def _only_image_of(path: Path) -> Path:
    """The one file of a folder, or its MetaImage header; else the folder, which is taken for DICOM."""
    if not path.is_dir():
        return path
    files = [file for file in path.rglob("*") if file.is_file()]
    headers = [file for file in files if file.suffix.lower() == ".mhd"]
    if len(headers) == 1:
        return headers[0]
    return files[0] if len(files) == 1 else path
