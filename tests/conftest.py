"""What every test shares: one thread per test process, the modules beside the tests, and the real images where there are any."""

import os
import sys
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
os.environ.pop("FEDLIVER_HOME", None)
sys.path.insert(0, str(Path(__file__).parent))

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The real images of this machine; skips where they are absent. They are never committed."""
    data = Path(os.environ.get("FEDLIVER_DATA", REPOSITORY.parent / "shared" / "data"))
    if not (data / "liver_ct").is_dir():
        pytest.skip(f"no real images at {data} (set FEDLIVER_DATA)")
    return data


@pytest.fixture(scope="session")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of an untrained tiny teacher. Not to be written to."""
    from tiny_site import tiny_bundle

    return tiny_bundle(tmp_path_factory.mktemp("teacher") / "tiny")


@pytest.fixture(autouse=True)
def site_home_is_never_the_users_own(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEDLIVER_HOME", str(tmp_path_factory.mktemp("home")))
