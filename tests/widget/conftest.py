"""The widget tests run the real module file and .ui on our own shim (tests/shim), which is a stand-in for the desktop."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "shim"))
pytest.importorskip("slicer", reason="slicer-core is not installed (pip install '.[scene]')")
pytest.importorskip("PySide6.QtUiTools", reason="PySide6 is not installed")


@pytest.fixture(scope="session", autouse=True)
def records() -> None:
    """Imported beforehand, as in every panel but the first of a session: so that a panel knows its site at once."""
    from fedliver.slicer.preload import import_records

    import_records()


@pytest.fixture
def desktop() -> Iterator["Desktop"]:  # noqa: F821
    from extraction import misplaced

    from desktop import Desktop

    with Desktop() as made:
        yield made
    assert misplaced(made.app.looked_up) == [], "a sentence was looked up where Slicer's tools did not put it"


@pytest.fixture(scope="session")
def patient() -> tuple[Any, Any]:
    """CT and labels. Not to be written to."""
    from fedliver.phantom import PhantomSettings, generate

    return generate(PhantomSettings(seed=5, spacing_mm=(4.0, 4.0, 6.0), oblique_degrees=8.0, lesions=2))
