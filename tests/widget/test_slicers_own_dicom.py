"""The way into Slicer's DICOM database, with Slicer's own DICOMUtils: only CTK's indexer and database are stand-ins, and they take what CTK's do."""

import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from fedliver.slicer.dicom_database import add_to_database

BASE_PYTHON = Path(os.environ.get("SLICER_PYTHON_DIR") or "/Slicer/Base/Python")
UTILITIES = BASE_PYTHON.parent.parent / "Modules" / "Scripted" / "DICOMLib" / "DICOMUtils.py"

pytestmark = pytest.mark.skipif(not UTILITIES.is_file(), reason="SLICER_PYTHON_DIR is not set (Base/Python of Slicer's source), or has no DICOMLib beside it")


class Indexer:
    """ctkDICOMIndexer, as ctkDICOMIndexer.h declares it: it works in the background, so the database has nothing before it was waited for."""

    asked: tuple[Any, ...] = ()

    def addDirectory(self, database: Any, folder: str, copy: bool = False, hidden: bool = True) -> None:  # noqa: N802
        self.asked = (database, folder, copy)

    def waitForImportFinished(self, milliseconds: int = -1) -> None:  # noqa: N802
        database, folder, copy = self.asked
        assert copy, "the folder is about to go"
        database.files |= {path.stem: str(path) for path in Path(folder).iterdir()}


@pytest.fixture
def database(monkeypatch: pytest.MonkeyPatch) -> Any:
    import slicer

    made = SimpleNamespace(isOpen=True, files={})
    made.fileForInstance = lambda instance: made.files.get(instance, "")
    ctk, library = ModuleType("ctk"), ModuleType("DICOMLib")
    ctk.ctkDICOMIndexer = Indexer  # type: ignore[attr-defined]
    for name, module in {"ctk": ctk, "qt": ModuleType("qt"), "DICOMLib": library}.items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(slicer, "dicomDatabase", made, raising=False)
    specification = importlib.util.spec_from_file_location("DICOMLib.DICOMUtils", UTILITIES)
    assert specification is not None
    assert specification.loader is not None
    utilities = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(utilities)
    library.DICOMUtils = utilities  # type: ignore[attr-defined]
    return made


def test_slicers_own_import_takes_the_folder_copies_it_and_is_waited_for(database: Any, tmp_path: Path) -> None:
    (tmp_path / "1.2.3.dcm").write_bytes(b"a SEG")
    add_to_database(tmp_path, "1.2.3")
    assert set(database.files) == {"1.2.3"}
